"""What makes a photo or a text unfit, one small function each."""
