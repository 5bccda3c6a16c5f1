"""What ``--help`` says besides a command's own words: its line in the list of commands, two examples, and the
page that tells more."""

from __future__ import annotations

from dataclasses import dataclass

import typer


@dataclass(frozen=True, slots=True)
class Help:
    """short: a sentence that fits into the list of commands on 80 columns. page: in ``docs/``."""

    short: str
    examples: tuple[str, str]
    page: str

    @property
    def epilog(self) -> str:
        """What stands below the options; the mark keeps click from filling the lines up."""
        lines = "".join(f"\n  {example}" for example in self.examples)
        return f"\b\nExamples:{lines}\n\nMore: docs/{self.page}"


HELPS = {
    "demo": Help(
        "Caption, question and search sample photos, or yours.",
        ("seetell demo", "seetell demo photos/"),
        "ask-a-photo.md",
    ),
    "caption": Help(
        "Describe photos in English or Chinese.",
        (
            "seetell caption photos/ --language en,zh --out captions.csv",
            "seetell caption photos/ --model openai:NAME --base-url URL",
        ),
        "ask-a-photo.md",
    ),
    "ask": Help(
        "Answer a question about photos, or say that it is not sure.",
        ('seetell ask photo.jpg "is there a dog?"', "seetell ask --questions questions.jsonl --json"),
        "ask-a-photo.md",
    ),
    "chat": Help(
        "Talk to a language model.",
        ("seetell chat --model smollm2", 'seetell chat --model smollm2 --message "Why is the sky blue?"'),
        "chat.md",
    ),
    "match": Help(
        "Say how well each text fits a photo.",
        ('seetell match photo.jpg "a rocket" "a cat"', 'seetell match photos/ "a dog" --out fits.csv'),
        "ask-a-photo.md",
    ),
    "classify": Help(
        "Choose the label that fits each photo best.",
        (
            'seetell classify photos/ --labels "cat,rocket,cup of coffee"',
            "seetell classify photos/ --labels @labels.txt --sheet labels.html",
        ),
        "ask-a-photo.md",
    ),
    "embed": Help(
        "Write the vectors of photos and texts to a file.",
        ("seetell embed photos/ --out vectors.npy", 'seetell embed --text "a cat" --out cat.npy'),
        "ask-a-photo.md",
    ),
    "index": Help(
        "Keep an index of photos, so that searches find them at once.",
        ("seetell index Phone", "seetell index Phone --caption --duplicates"),
        "find-photos.md",
    ),
    "search": Help(
        "Find the photos that fit a text or resemble a photo.",
        (
            'seetell search "a dog in the snow -people" --in Phone',
            "seetell search --image photo.jpg --in Phone --after 2025-06",
        ),
        "find-photos.md",
    ),
    "prepare": Help(
        "Check, clean and shard photos with texts for training.",
        (
            "seetell prepare photos.csv clean --languages en --val 0.1",
            "seetell prepare captions.json clean --images photos/ --score-model builtin",
        ),
        "prepare-data.md",
    ),
    "train": Help(
        "Train or fine-tune a model by a recipe.",
        ("seetell train --from builtin --data clean runs/mine", "seetell train my-recipe.yaml seed=2"),
        "fine-tune.md",
    ),
    "evaluate": Help(
        "Measure how good a model's captions, answers or labels are.",
        (
            "seetell evaluate --captions captions.json --images photos/",
            "seetell evaluate --labelled photos/ --report report.html",
        ),
        "evaluate.md",
    ),
    "compress": Help(
        "Make a model smaller and faster, if it stays good enough.",
        (
            "seetell compress builtin small/ --calibration photos/",
            "seetell compress my-model small/ --calibration photos/ --max-drop 1%",
        ),
        "compress.md",
    ),
    "convert": Help(
        "Turn a training run or a public checkpoint into a bundle.",
        ("seetell convert openai/clip-vit-base-patch32 clip/", "seetell convert runs/mine my-model"),
        "public-models.md",
    ),
    "serve": Help(
        "Answer over HTTP, with a page for people and OpenAI's API.",
        ("seetell serve", "seetell serve --index Phone.index --photos Phone"),
        "serve.md",
    ),
    "models": Help(
        "List, show, recommend, fetch and remove models.",
        ("seetell models list", "seetell models recommend --task search --language zh"),
        "choose-a-model.md",
    ),
    "models list": Help(
        "List this machine's models, then known public ones.",
        ("seetell models list", "seetell models list --json"),
        "choose-a-model.md",
    ),
    "models recommend": Help(
        "Rank the known models for what you want to do.",
        (
            "seetell models recommend --task ask --memory-mb 600",
            "seetell models recommend --task search --language zh --latency-ms 200",
        ),
        "choose-a-model.md",
    ),
    "models show": Help(
        "Show what a model can do, its licence and its figures.",
        ("seetell models show", "seetell models show my-model/"),
        "choose-a-model.md",
    ),
    "models pull": Help(
        "Make sure that a model is here and whole.",
        ("seetell models pull builtin", "seetell models pull our-team/photo-model"),
        "choose-a-model.md",
    ),
    "models remove": Help(
        "Delete a model from the cache.",
        ("seetell models remove clip", "seetell models remove openai/clip-vit-base-patch32"),
        "choose-a-model.md",
    ),
    "cache": Help(
        "Show what is kept on this machine, or remove it.",
        ("seetell cache", "seetell cache --clear"),
        "install.md",
    ),
    "doctor": Help(
        "Say what this machine can run, and check a model on it.",
        ("seetell doctor", "seetell doctor my-model/"),
        "serve.md",
    ),
}


def give_help(app: typer.Typer, group: str = "") -> None:
    """Give every command of ``app``, and of the groups in it, what there is for it here."""
    for command in app.registered_commands:
        found = HELPS.get(f"{group} {command.name}".strip())
        if found is not None:
            command.short_help, command.epilog = found.short, found.epilog
    for inner in app.registered_groups:
        if inner.typer_instance is not None and inner.name:
            found = HELPS.get(inner.name)
            if found is not None:
                inner.short_help, inner.epilog = found.short, found.epilog
            give_help(inner.typer_instance, inner.name)
