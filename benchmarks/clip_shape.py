"""Write a CLIP ViT-B/32 with random weights, as transformers saves it.

    python benchmarks/clip_shape.py OUT

Its time, memory and size are those of the published model, which cannot be had without a download; what it
says of a photo means nothing. The tokenizer has letters only.
"""

from __future__ import annotations

import sys
from pathlib import Path


def make_random(folder: Path) -> None:
    """The checkpoint, its tokenizer and its processor, in the new folder ``folder``."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizerFast

    torch.manual_seed(0)
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *(chr(one) + end for one in range(97, 123) for end in ("", "</w>")),
    ]
    core = Tokenizer(
        models.BPE({word: number for number, word in enumerate(words)}, [], end_of_word_suffix="</w>")
    )
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    config = CLIPConfig(text_config={"vocab_size": 49408, "bos_token_id": 0, "eos_token_id": 1})
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    CLIPTokenizerFast(tokenizer_object=core).save_pretrained(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give OUT, a folder that does not exist yet")
    make_random(Path(sys.argv[1]))
