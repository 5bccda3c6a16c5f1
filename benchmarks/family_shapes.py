"""Write a checkpoint of a public family with random weights, as transformers saves it.

    python -m benchmarks.family_shapes FAMILY SHAPE TEXTS OUT

FAMILY is one of FAMILIES below. SHAPE is `base`, the published one, whose time, memory and size need no
trained weights, or `small`, which learns small pictures in a few minutes. TEXTS has one text a line; the
tokenizer's words are theirs. OUT is a new folder.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seetell.core.files import atomic_folder

FAMILIES = (
    "clip",
    "siglip",
    "chinese_clip",
    "blip_captions",
    "blip_answers",
    "blip_retrieval",
    "vilt",
)
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}
SMALL_TEXT = {**SMALL, "max_position_embeddings": 32}
SMALL_VISION = {**SMALL, "image_size": 64, "patch_size": 16}
# Questions of shapes need finer patches than telling scenes apart.
ASKED_VISION = {**SMALL_VISION, "patch_size": 8}
# ViLT's list of answers; training takes another from its data.
ANSWERS = {0: "yes", 1: "no"}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BERT_VOCABULARY = 30522
CHINESE_VOCABULARY = 21128


def make(family: str, small: bool, texts: Sequence[str], folder: Path) -> None:
    """The checkpoint in the new folder ``folder``."""
    import torch

    torch.manual_seed(0)
    makers: dict[str, Callable[[bool, Sequence[str], Path], None]] = {
        "clip": make_clip,
        "siglip": make_siglip,
        "chinese_clip": make_chinese_clip,
        "vilt": make_vilt,
    }
    with atomic_folder(folder) as writing:
        if family in makers:
            makers[family](small, texts, writing)
        else:
            make_blip(family, small, texts, writing)


def make_clip(small: bool, texts: Sequence[str], folder: Path) -> None:
    """ViT-B/32 as published: 512 wide, photos of 224 pixels."""
    from benchmarks.fine_tune_story import BEGIN, END, learn_words
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

    vocabulary, merges = learn_words(texts)
    ids = {
        "bos_token_id": vocabulary[BEGIN],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    text = {**SMALL_TEXT, "vocab_size": len(vocabulary)} if small else {}
    config = CLIPConfig(
        text_config={**text, **ids},
        vision_config=SMALL_VISION if small else {},
        projection_dim=128 if small else 512,
    )
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=32 if small else 77).save_pretrained(
        folder
    )
    side = 64 if small else 224
    CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)


def make_siglip(small: bool, texts: Sequence[str], folder: Path) -> None:
    """base-patch16-224 as published."""
    import sentencepiece
    import torch
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "spiece"),
        vocab_size=400,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    text = {**SMALL_TEXT, "vocab_size": 400} if small else {}
    config = SiglipConfig(text_config=text, vision_config=SMALL_VISION if small else {})
    model = SiglipModel(config)
    if small:
        # How the paper begins (Zhai et al. 2023, section 3.2). From the reference's zeros, where every pair
        # is as likely as not, a few hundred steps teach nothing.
        torch.nn.init.constant_(model.logit_scale, math.log(10))
        torch.nn.init.constant_(model.logit_bias, -10)
    model.save_pretrained(folder)
    side = 64 if small else 224
    SiglipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
    settings = {"tokenizer_class": "SiglipTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    special = {"eos_token": {"content": "</s>"}, "pad_token": {"content": "</s>"}, "unk_token": "<unk>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")


def make_chinese_clip(small: bool, texts: Sequence[str], folder: Path) -> None:
    """vit-base-patch16 as published: CLIP's image tower, and a BERT that reads Chinese letter by letter."""
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessorPil, ChineseCLIPModel

    words = save_words(texts, folder)
    text = {**SMALL_TEXT, "vocab_size": words} if small else {"vocab_size": CHINESE_VOCABULARY}
    vision = SMALL_VISION if small else {"patch_size": 16}
    config = ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=128 if small else 512)
    ChineseCLIPModel(config).save_pretrained(folder)
    side = 64 if small else 224
    ChineseCLIPImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)


def make_blip(family: str, small: bool, texts: Sequence[str], folder: Path) -> None:
    """The three published kinds of BLIP base: photos of 384 pixels, 16 to a patch."""
    from transformers import (
        BlipConfig,
        BlipForConditionalGeneration,
        BlipForImageTextRetrieval,
        BlipForQuestionAnswering,
        BlipImageProcessorPil,
    )

    kinds: dict[str, Any] = {
        "blip_captions": BlipForConditionalGeneration,
        "blip_answers": BlipForQuestionAnswering,
        "blip_retrieval": BlipForImageTextRetrieval,
    }
    vision = ASKED_VISION if family == "blip_answers" else SMALL_VISION
    # The start token's id is the first that the vocabulary does not have, as in published checkpoints.
    start = save_words(texts, folder, 0 if small else BERT_VOCABULARY)
    text = {"bos_token_id": start, "pad_token_id": 0, "sep_token_id": SPECIAL.index("[SEP]")}
    if small:
        text |= {**SMALL_TEXT, "vocab_size": start + 2}
    config = BlipConfig(
        text_config=text,
        vision_config=vision if small else {"image_size": 384},
        image_text_hidden_size=64 if small else 256,
    )
    kinds[family](config).save_pretrained(folder)
    side = 64 if small else 384
    BlipImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)


def make_vilt(small: bool, texts: Sequence[str], folder: Path) -> None:
    """B/32 as published: the shorter side of photos 384 pixels."""
    from transformers import ViltConfig, ViltForQuestionAnswering, ViltImageProcessorPil

    words = save_words(texts, folder)
    labels = {"id2label": ANSWERS, "label2id": {answer: number for number, answer in ANSWERS.items()}}
    shape = {**SMALL_TEXT, **ASKED_VISION, "vocab_size": words} if small else {}
    ViltForQuestionAnswering(ViltConfig(**shape, **labels)).save_pretrained(folder)
    step, side = (8, 64) if small else (32, 384)
    ViltImageProcessorPil(size={"shortest_edge": side}, size_divisor=step).save_pretrained(folder)


def save_words(texts: Sequence[str], folder: Path, count: int = 0) -> int:
    """BERT's tokenizer with whole words alone (of Chinese each character), and how many: ``count`` at least,
    filled up with words that no text has."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normal, split = BertNormalizer(), BertPreTokenizer()
    pieces = (split.pre_tokenize_str(normal.normalize_str(text)) for text in texts)
    found = dict.fromkeys(word for several in pieces for word, _ in several)
    vocabulary = [*SPECIAL, *found]
    vocabulary += [f"[unused{number}]" for number in range(count - len(vocabulary))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(vocabulary)


def main() -> None:
    if len(sys.argv) != 5 or sys.argv[1] not in FAMILIES or sys.argv[2] not in ("small", "base"):
        sys.exit(f"give FAMILY ({', '.join(FAMILIES)}), small or base, TEXTS and OUT")
    family, shape, texts, out = sys.argv[1:]
    lines = Path(texts).read_text(encoding="utf-8").splitlines()
    make(family, shape == "small", [line for line in lines if line], Path(out))


if __name__ == "__main__":
    main()
