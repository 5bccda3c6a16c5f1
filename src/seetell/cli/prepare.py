"""``seetell prepare``: photos and texts as they lie about become checked shards, with a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seetell.cli.options import Device, JsonOption, Precision, Shared, comma_list, open_model, option
from seetell.cli.output import Output

if TYPE_CHECKING:
    from seetell.data.preparing.scoring import Captioner, Scorer

SourceFormat = Literal["auto", "folder", "table", "coco", "vqa", "webdataset", "imagefolder", "parquet"]
ScoreBy = Literal["auto", "similarity", "matching"]


def prepare(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A folder, .csv, .tsv, .jsonl, .json, .tar or .parquet."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; new, empty or OUT's own.")],
    format: Annotated[
        SourceFormat, option("--format", help="Read SOURCE as this, where it cannot be told.")
    ] = "auto",
    images: Annotated[
        Path | None,
        option(
            "--images",
            metavar="DIR",
            help="Look for the photos in this folder.",
            show_default="beside the file",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        option("--annotations", metavar="F", help="Read the answers to a VQAv2 questions file from here."),
    ] = None,
    photo_column: Annotated[
        str | None, option("--photo-column", metavar="NAME", help="Read the photo's name from this column.")
    ] = None,
    text_column: Annotated[
        str | None, option("--text-column", metavar="NAME", help="Read the caption from this column.")
    ] = None,
    min_edge: Annotated[
        int, option("--min-edge", min=1, help="Leave out photos whose shorter edge has fewer pixels.")
    ] = 32,
    max_aspect: Annotated[
        float, option("--max-aspect", min=1, help="Leave out photos whose edges differ by a larger factor.")
    ] = 5.0,
    min_contrast: Annotated[
        float, option("--min-contrast", min=0, help="Leave out photos of less contrast, of 255, as blank.")
    ] = 3.0,
    near_distance: Annotated[
        int,
        option(
            "--near-distance",
            min=-1,
            max=16,
            help="Take photos for look-alikes that differ in at most so many bits of 64; -1 keeps all.",
        ),
    ] = 4,
    min_words: Annotated[int, option("--min-words", min=0, help="Leave out captions of fewer words.")] = 2,
    max_words: Annotated[int, option("--max-words", min=1, help="Leave out captions of more words.")] = 100,
    languages: Annotated[
        str | None,
        option(
            "--languages", metavar="en,zh", help="Keep the captions of these languages.", show_default="all"
        ),
    ] = None,
    max_repeats: Annotated[
        int, option("--max-repeats", min=1, help="Let at most so many photos share a caption.")
    ] = 100,
    boilerplate: Annotated[
        str | None,
        option(
            "--boilerplate",
            metavar="A,B|@FILE",
            help="Take these phrases, regular expressions, for no captions, too.",
        ),
    ] = None,
    keep_silent: Annotated[
        bool, option("--keep-silent", help="Keep photos that come without any text.")
    ] = False,
    val: Annotated[
        float | None,
        option(
            "--val",
            metavar="SHARE",
            help="Keep this share of the photos apart to validate on, copies and look-alikes together.",
            show_default="the source's splits",
        ),
    ] = None,
    score_model: Annotated[
        str | None,
        option("--score-model", metavar="MODEL", help="Score how well captions match with this model."),
    ] = None,
    score_by: Annotated[
        ScoreBy, option("--score-by", help="Score by cosine similarity, or by the model's matching head.")
    ] = "auto",
    min_score: Annotated[
        float | None, option("--min-score", help="Drop captions that score lower.", show_default="keep all")
    ] = None,
    keep_fraction: Annotated[
        float | None,
        option("--keep-fraction", help="Keep the best of each language.", show_default="keep all"),
    ] = None,
    capfilt: Annotated[
        bool, option("--capfilt", help="Add a written caption to each photo before the bad ones are dropped.")
    ] = False,
    caption_model: Annotated[
        str | None,
        option(
            "--caption-model",
            metavar="MODEL",
            help="Write them with this model.",
            show_default="the score model",
        ),
    ] = None,
    precision: Annotated[Precision, option("--precision", help="Compute in this precision.")] = "auto",
    device: Annotated[Device, option("--device", help="Run the models on this device.")] = "auto",
    shard_samples: Annotated[
        int, option("--shard-samples", min=1, help="Put at most so many photos into a shard.")
    ] = 1000,
    shard_mb: Annotated[
        int, option("--shard-mb", min=1, help="Put at most so many megabytes into a shard.")
    ] = 256,
    workers: Annotated[
        int | None, option("--workers", min=1, help="Use so many processes.", show_default="one per core")
    ] = None,
    overwrite: Annotated[
        bool, option("--overwrite", help="Replace what was prepared in OUT with other options.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check, clean and shard photos with their texts, and report what was left out.

    SOURCE is only read. Stopped at any moment, the same command goes on where it was; with other thresholds
    and --overwrite it decides anew without looking at the photos again.
    """
    from seetell.cli.interrupt import clearing_up
    from seetell.core.errors import UsageError
    from seetell.data.cleaning.limits import Limits
    from seetell.data.preparing.run import PrepareOptions
    from seetell.data.preparing.run import prepare as run
    from seetell.data.sources.detect import SourceOptions
    from seetell.data.sources.fields import Columns

    if caption_model is not None and not capfilt:
        raise UsageError("prepare: --caption-model goes with --capfilt")
    limits = Limits(
        min_edge=min_edge,
        max_aspect=max_aspect,
        min_contrast=min_contrast,
        near_distance=None if near_distance < 0 else near_distance,
        min_words=min_words,
        max_words=max_words,
        languages=tuple(comma_list(languages, "--languages")) if languages else (),
        max_repeats=max_repeats,
        boilerplate=tuple(comma_list(boilerplate, "--boilerplate")) if boilerplate else (),
        min_score=min_score,
        keep_fraction=keep_fraction,
        keep_silent=keep_silent,
    )
    options = PrepareOptions(
        SourceOptions(
            None if format == "auto" else format, images, annotations, Columns(photo_column, text_column)
        ),
        limits,
        workers,
        shard_samples,
        shard_mb * 1_000_000,
        overwrite,
        val,
    )
    with Output(json=json) as output, clearing_up():
        scorer, captioner = _models(score_model, score_by, caption_model, capfilt, precision, device)
        summary = run(source, out, options, scorer=scorer, captioner=captioner, track=output.progress)
        _show(summary, output)
        learn = ["seetell", "train", "--from", "builtin", "--data", str(out), f"{out.resolve().name}-run"]
        output.note(f"next: {shlex.join(learn)}")


def _models(
    score_model: str | None,
    score_by: ScoreBy,
    caption_model: str | None,
    capfilt: bool,
    precision: Precision,
    device: Device,
) -> tuple[Scorer | None, Captioner | None]:
    """What scores and what writes captions. Raises what ``seetell.load`` raises."""
    from seetell.core.errors import UsageError

    if score_model is None:
        if capfilt:
            raise UsageError("prepare: --capfilt needs a model that scores; give --score-model MODEL")
        return None, None
    model = open_model(Shared(model=score_model, precision=precision, device=device))
    from seetell.cli.prepare_models import captioner_of, scorer_of

    scorer = scorer_of(model, score_by)
    if not capfilt:
        return scorer, None
    same = caption_model is None or caption_model == score_model
    writer = (
        model if same else open_model(Shared(model=str(caption_model), precision=precision, device=device))
    )
    return scorer, captioner_of(writer)


def _show(summary: dict[str, Any], output: Output) -> None:
    if output.json:
        fields = {key: value for key, value in summary.items() if key not in ("format", "identity")}
        output.result({**fields, "skipped": len(summary["skipped"])})
    else:
        _show_counts(summary, output)
    for words in (*summary["skipped"].words(), *summary["notes"]):
        output.note(words)


def _show_counts(summary: dict[str, Any], output: Output) -> None:
    shards = sum(len(part["shards"]) for part in summary["splits"].values())
    rows = [
        ("photos read", summary["photos"]["read"]),
        ("photos kept", summary["photos"]["kept"]),
        *((f"  {reason}", number) for reason, number in summary["dropped_photos"].items()),
        ("captions read", summary["captions"]["read"]),
        ("captions kept", summary["captions"]["kept"]),
    ]
    if summary["generated"]["written"]:
        rows += [
            ("captions written", summary["generated"]["written"]),
            ("of these kept", summary["generated"]["kept"]),
        ]
    rows += [(f"  {reason}", number) for reason, number in summary["dropped_captions"].items()]
    if summary["dropped_entries"]:
        rows.append(("broken entries", summary["dropped_entries"]))
    rows += [(f"split {name}", part["samples"]) for name, part in summary["splits"].items()]
    rows.append(("shards", shards))
    output.results(
        [({}, (name, f"{number:,}" if output.pretty else str(number))) for name, number in rows],
        ["", ""],
        f"{summary['source']} ({summary['source_format']})",
        counted=False,
    )
    if summary["unchanged"]:
        output.note("nothing has changed since it was prepared")
    output.note(f"what was left out, and why: {summary['report']}")
