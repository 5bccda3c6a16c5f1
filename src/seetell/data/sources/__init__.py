"""Readers of image-text data as it lies about: folders, tables, JSON, tars and parquet."""
