"""Which files of a public checkpoint are needed: chosen from their names alone, before any is opened.

The same choice serves a listing of the hub and a folder on the disk, so what is fetched is what is read.
A repository often holds the same weights several times (safetensors, pickles, TensorFlow, a training
framework's own names); one set of them is taken, safetensors before pickles.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seetell.bundle.manifest import MANIFEST_NAME
from seetell.core.errors import BundleNotFound, CheckpointError, PickleRefused

CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"
PREPROCESSOR_CONFIG = "preprocessor_config.json"
PROCESSOR_CONFIG = "processor_config.json"
GENERATION_CONFIG = "generation_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
# Of sentence-transformers: the steps from a text to its vector, and what each of them is told.
SENTENCE_MODULES = "modules.json"
SENTENCE_CONFIG = "sentence_bert_config.json"
PROMPTS_CONFIG = "config_sentence_transformers.json"
POOLING_CONFIG = "1_Pooling/config.json"

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
# The model card goes along: it is where the licence stands.
_SMALL_FILES = frozenset(
    {CONFIG, OPEN_CLIP_CONFIG, PREPROCESSOR_CONFIG, PROCESSOR_CONFIG, GENERATION_CONFIG, "README.md"}
    | {CHAT_TEMPLATE}
    | {SENTENCE_MODULES, SENTENCE_CONFIG, PROMPTS_CONFIG, POOLING_CONFIG}
) | frozenset(TOKENIZER_FILES)

_SAFETENSORS = (".safetensors",)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# What peft writes of an adapter, and diffusers.
_ADAPTERS = re.compile(r"adapter_(config\.json|model\..*)|pytorch_lora_weights\..*")
# Of a training run's leftovers and of adapters, which are no model by themselves.
_NO_WEIGHTS = re.compile(r"(adapter_model|training_args|optimizer|scheduler|scaler|rng_state).*")
# Sentence-transformers keeps each of a model's parts in a folder of its own.
_CONFIG_BELOW = re.compile(rf"([A-Za-z0-9][\w.\-]*)/{re.escape(CONFIG)}", re.ASCII)
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d+)-of-(?P<count>\d+)(?P<suffix>\.[a-z]+)")


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The needed files of a checkpoint, by name.

    config: what describes the model. weights: one file, or its shards in order; none of a bundle. index:
    which shard holds which tensor. pickled: the weights are pickles. small: the tokenizer's files, the
    preprocessing and the other descriptions that are there; of a bundle all its files.
    """

    config: str
    weights: tuple[str, ...]
    index: str | None
    pickled: bool
    small: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All files, the weights last: where weights are, a fetch that was broken off had got the rest."""
        first = (self.config, *self.small) if self.index is None else (self.config, self.index, *self.small)
        return (*first, *self.weights)

    @property
    def missing_shards(self) -> tuple[str, ...]:
        """Shards that the others' names ("2 of 3") say there must be, and that are not there."""
        match = _SHARD.fullmatch(self.weights[0]) if self.weights else None
        if match is None:
            return ()
        width = len(match["number"])
        wanted = (
            f"{match['stem']}-{number:0{width}d}-of-{match['count']}{match['suffix']}"
            for number in range(1, int(match["count"]) + 1)
        )
        present = set(self.weights)
        return tuple(name for name in wanted if name not in present)


def names_in(folder: Path) -> list[str]:
    """What :func:`choose_files` chooses from, of a folder on the disk. Raises OSError."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return names + [f"{path.parent.name}/{CONFIG}" for path in folder.glob(f"*/{CONFIG}")]


def choose_files(
    names: Iterable[str], *, source: str, revision: str | None = None, allow_pickle: bool = False
) -> CheckpointFiles:
    """Choose a checkpoint's files among all there are.

    Args:
        names: files relative to the checkpoint's folder. Of those in folders within it one is taken, which
            says how a sentence encoder pools; of others the message says where a checkpoint is.
        source: the hub id or folder, for messages. revision: of a hub id, for the command in them.
        allow_pickle: pickles will do where there are no safetensors.

    Raises:
        BundleNotFound: no config, or no weights that can be read.
        CheckpointError: an adapter, which changes the weights and is not merged into them.
        PickleRefused: pickles only, without ``allow_pickle``; the message is the command that allows them.
    """
    everything = set(names)
    present = {name for name in everything if "/" not in name and "\\" not in name}
    adapters = {name for name in present if _ADAPTERS.fullmatch(name)}
    if adapters:
        raise CheckpointError(
            f"{source}: an adapter in it ({_some(adapters)}) is not merged into the weights; merge it with "
            "peft, PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(OUT), and "
            "convert OUT; if it has been merged, make a folder without the adapter's files"
        )
    if not present & {CONFIG, OPEN_CLIP_CONFIG}:
        below = sorted(one[1] for name in everything if (one := _CONFIG_BELOW.fullmatch(name)))
        hint = "it is a bundle already" if MANIFEST_NAME in present else f"it holds {_some(present)}"
        if below:
            hint = f"there is one in {_some(set(below))}: name {source}/{below[0]}"
        raise BundleNotFound(
            f"{source}: no {CONFIG} in it, so no checkpoint of transformers, timm or open_clip; {hint}"
        )
    found = _choose_weights(present, _SAFETENSORS, source)
    pickled = found is None
    if found is None:
        found = _choose_weights(present, _PICKLES, source)
        if found is None:
            raise BundleNotFound(
                f"{source}: no weights in it that can be read (safetensors or a torch pickle); it holds "
                f"{_some(present)}"
            )
        if not allow_pickle:
            where = shlex.quote(source) + (f" --revision {shlex.quote(revision)}" if revision else "")
            raise PickleRefused(
                f"{source}: its weights are pickles ({_some(set(found[1]))}), which can run code when read; "
                f"if you trust where they come from: seetell convert {where} OUT --allow-pickle"
            )
    config, weights, index = found
    small = tuple(sorted((present | everything & {POOLING_CONFIG}) & _SMALL_FILES - {config}))
    return CheckpointFiles(config, weights, index, pickled, small)


def bundle_files(names: Iterable[str]) -> CheckpointFiles | None:
    """The files of a bundle that somebody has converted already; None where there is none. Names as in
    :func:`choose_files`; a repository's own files (".gitattributes") and pickles are left out."""
    present = {name for name in names if "/" not in name and "\\" not in name}
    if MANIFEST_NAME not in present:
        return None
    others = (name for name in present if not name.startswith(".") and not name.endswith(_PICKLES))
    return CheckpointFiles(MANIFEST_NAME, (), None, False, tuple(sorted(set(others) - {MANIFEST_NAME})))


def _choose_weights(
    present: set[str], suffixes: tuple[str, ...], source: str
) -> tuple[str, tuple[str, ...], str | None] | None:
    """The config, the weights and their index, of the kind of file that ``suffixes`` tell; None if none."""
    stem, suffix = ("model", ".safetensors") if suffixes == _SAFETENSORS else ("pytorch_model", ".bin")
    if CONFIG in present:
        if stem + suffix in present:
            return CONFIG, (stem + suffix,), None
        shards = _shards(present, stem, suffix, source)
        if shards:
            index = f"{stem}{suffix}.index.json"
            return CONFIG, shards, index if index in present else None
    open_clip = f"open_clip_{stem}{suffix}"
    if OPEN_CLIP_CONFIG in present and open_clip in present:
        return OPEN_CLIP_CONFIG, (open_clip,), None
    others = sorted(name for name in present if name.endswith(suffixes) and not _NO_WEIGHTS.fullmatch(name))
    if len(others) > 1:
        raise BundleNotFound(
            f"{source}: several files of weights ({_some(set(others))}) and none is {stem}{suffix}; make a "
            f"folder with the one you mean under that name"
        )
    if not others:
        return None
    return (CONFIG if CONFIG in present else OPEN_CLIP_CONFIG), (others[0],), None


def _shards(present: set[str], stem: str, suffix: str, source: str) -> tuple[str, ...]:
    matches = [match for name in present if (match := _SHARD.fullmatch(name))]
    found = [match for match in matches if match["stem"] == stem and match["suffix"] == suffix]
    if len({match["count"] for match in found}) > 1:
        raise BundleNotFound(
            f"{source}: shards of several sets ({_some({match[0] for match in found})}); keep one of them"
        )
    return tuple(match[0] for match in sorted(found, key=lambda match: int(match["number"])))


def _some(names: set[str]) -> str:
    """The first few names, for a message. They are others' words: no line break or terminal code passes."""
    shown = ["".join(one if one.isprintable() else "?" for one in name) for name in sorted(names)]
    if not shown:
        return "nothing"
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
