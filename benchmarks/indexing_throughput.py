"""Photos per second into an index, beside the loop that sentence-transformers runs for CLIP.

    python benchmarks/indexing_throughput.py BUNDLE CHECKPOINT [--photos FOLDER] [--count 200] [--rounds 3]

BUNDLE is CHECKPOINT, a CLIP model in transformers' format, converted by `seetell convert`; with `--random`
both are made by `clip_shape.py` with random weights in the shape of ViT-B/32, which costs the same time.
Without `--photos`, 12-megapixel JPEGs are made. Rounds are taken in turn, each in a process of its own.
`seetell` indexes the folder end to end: reading, hashing, EXIF and writing included. The other does what
`SentenceTransformer.encode` does with photos (`sentence_transformers.models.CLIPModel`): `Image.open` one
after another, the processor and `get_image_features` for batches of 32, eager fp32. It is written out here,
because sentence-transformers itself brings another torch; what is left out, sorting and moving results
about, takes no time to speak of. Prints one JSON object with medians, and the peak memory of both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 32


def make_photos(folder: Path, count: int) -> None:
    """JPEGs of 4000 x 3000 with as much detail as photos have: 2.5 to 4 MB each."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw = np.random.default_rng(number)
        layers = np.zeros((3000, 4000, 3), np.float32)
        for edge, weight in ((8, 110), (60, 45), (500, 22), (1500, 12)):
            small = draw.integers(0, 256, (edge * 3 // 4, edge, 3), dtype=np.uint8)
            layers += (
                weight
                / 255
                * np.asarray(Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC))
            )
        picture = Image.fromarray(np.clip(layers + 30, 0, 255).astype(np.uint8))
        picture.save(folder / f"{number:04}.jpg", quality=90, subsampling=2)


def ours(bundle: str, photos: str, index: str) -> int:
    import seetell

    model = seetell.load(bundle, batch_size=BATCH)
    model.embed_images(np.zeros((8, 8, 3), np.uint8))  # compiled, as the other's weights are loaded
    opened = seetell.PhotoIndex(index, model)  # and what it needs imported
    started = time.perf_counter()
    added = opened.add(photos).added
    print(json.dumps({"photos": added, "s": time.perf_counter() - started, "precision": model.precision}))
    return 0


def theirs(checkpoint: str, photos: str) -> int:
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPModel

    model = CLIPModel.from_pretrained(checkpoint).eval()
    processor = CLIPImageProcessorPil.from_pretrained(checkpoint)
    torch.set_num_threads(os.cpu_count() or 1)
    started = time.perf_counter()
    vectors = []
    paths = sorted(Path(photos).rglob("*.jpg"))
    for first in range(0, len(paths), BATCH):
        batch = [Image.open(path) for path in paths[first : first + BATCH]]
        pixels = processor(images=batch, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            vision = model.vision_model(pixel_values=pixels)
            vectors.append(model.visual_projection(vision[1]))
    found = torch.cat(vectors)
    print(json.dumps({"photos": len(found), "s": time.perf_counter() - started}))
    return 0


def measured(*arguments: str) -> dict[str, float]:
    """What a process of this script prints, and its peak resident megabytes."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{arguments[0]} ended with status {os.waitstatus_to_exitcode(status)}")
    return {**json.loads(said), "peak_mb": usage.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--photos")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    if not settings.random and settings.checkpoint is None:
        parser.error("give BUNDLE and CHECKPOINT, or --random")
    with tempfile.TemporaryDirectory() as scratch:
        bundle, checkpoint = settings.bundle, settings.checkpoint
        if settings.random:
            checkpoint, bundle = f"{scratch}/checkpoint", f"{scratch}/bundle"
            maker = [sys.executable, str(Path(__file__).with_name("clip_shape.py")), checkpoint]
            subprocess.run(maker, check=True, stdout=sys.stderr)
            seetell = [sys.executable, "-m", "seetell.cli.main", "convert", checkpoint, bundle]
            subprocess.run(seetell, check=True, stdout=sys.stderr)
        photos = settings.photos
        if photos is None:
            photos = f"{scratch}/photos"
            make_photos(Path(photos), settings.count)
        runs: dict[str, list[dict[str, float]]] = {"seetell": [], "loop": []}
        for number in range(settings.rounds):
            runs["seetell"].append(measured("--ours", bundle, photos, f"{scratch}/index-{number}"))
            runs["loop"].append(measured("--theirs", checkpoint, photos))
        rates = {
            name: statistics.median(run["photos"] / run["s"] for run in all_) for name, all_ in runs.items()
        }
        sizes = [path.stat().st_size for path in Path(photos).rglob("*.jpg")]
    report = {
        "photos": len(sizes),
        "mean_mb": round(statistics.mean(sizes) / 1e6, 2),
        "precision": runs["seetell"][0]["precision"],
        "photos_per_s": round(rates["seetell"], 2),
        "loop_photos_per_s": round(rates["loop"], 2),
        "times_the_loop": round(rates["seetell"] / rates["loop"], 2),
        "peak_mb": round(max(run["peak_mb"] for run in runs["seetell"])),
        "loop_peak_mb": round(max(run["peak_mb"] for run in runs["loop"])),
        "rounds": settings.rounds,
        "processors": os.cpu_count(),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        sys.exit(ours(*sys.argv[2:]))
    if sys.argv[1:2] == ["--theirs"]:
        sys.exit(theirs(*sys.argv[2:]))
    main()
