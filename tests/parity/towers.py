"""What the parity tests of dual encoders share: tiny towers with weights that matter, and how two models
are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import seetell
from seetell.bundle.tokenizer import Tokenizer
from seetell.core.errors import CheckpointError
from seetell.media.preprocess import preprocess
from seetell.modeling.checkpoints.registry import family_of
from seetell.modeling.checkpoints.source import CheckpointFolder
from seetell.modeling.checkpoints.table import Reading, load_model
from seetell.modeling.export.public import convert_checkpoint
from seetell.modeling.models.dual_encoder import DualEncoder
from tests.parity.checkpoints_with_words import difference, photos

TIGHT = 1e-4


def shake(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights under which every part counts: at their first values norms and biases do nothing, and all
    photos and texts come out alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:
                parameter.add_(noise * 0.2)
            elif "embedding" in name:
                parameter.copy_(noise * (0.5 if parameter.ndim == 2 else 0.1))
            else:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
    return model.eval()


def tower(width: int, heads: int, **changes: Any) -> dict[str, Any]:
    """Sizes of a tiny tower under the names of transformers."""
    return {
        "hidden_size": width,
        "intermediate_size": 3 * width // 2 + 1,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        **changes,
    }


def read(folder: Path) -> tuple[DualEncoder, Reading]:
    checkpoint = CheckpointFolder(folder)
    family = family_of(checkpoint)
    model = load_model(checkpoint, family)
    assert isinstance(model, DualEncoder)
    return model, family.reading(checkpoint)


def assert_towers_agree(
    model: DualEncoder,
    reference: Any,
    pixels: Tensor,
    ids: Tensor,
    mask: Tensor,
    *,
    tolerance: float = TIGHT,
    attention_mask: Tensor | None = None,
) -> None:
    """Every output of both encoders, and the logits between them. ``attention_mask``: what the reference
    gets, if not ``mask``."""
    with torch.no_grad():
        theirs = reference(
            input_ids=ids,
            pixel_values=pixels,
            attention_mask=mask.long() if attention_mask is None else attention_mask,
        )
        image_tokens, image_mask, image_embeds = model.encode_image(pixels)
        text_tokens, text_embeds = model.encode_text(ids, mask)
        logits = model.logits_per_image(image_embeds, text_embeds)
    assert image_mask.all()
    assert difference(image_tokens, theirs.vision_model_output.last_hidden_state) < tolerance
    assert difference(image_embeds, theirs.image_embeds) < tolerance
    # Nobody reads what stands at padding, and nothing says what it is.
    assert difference(text_tokens[mask], theirs.text_model_output.last_hidden_state[mask]) < tolerance
    assert difference(text_embeds, theirs.text_embeds) < tolerance
    # Scaled by up to a hundred, which scales what float32 rounds, too.
    scale = max(1.0, float(reference.logit_scale.detach().exp()))
    assert difference(logits, theirs.logits_per_image) < tolerance * scale
    for embeds in (theirs.image_embeds, theirs.text_embeds):
        assert difference(embeds[0], embeds[1]) > 10 * tolerance, "all alike, so this says nothing"


def assert_gradients_agree(
    model: DualEncoder, reference: Any, pairs: Mapping[str, str], loss: Tensor, reference_loss: Tensor
) -> None:
    """``pairs``: our names of weights to the reference's."""
    assert difference(loss, reference_loss) < TIGHT
    loss.backward()
    reference_loss.backward()
    ours, theirs = dict(model.named_parameters()), dict(reference.named_parameters())
    for name, other in pairs.items():
        found, expected = ours[name].grad, theirs[other].grad
        assert found is not None and expected is not None
        assert float(expected.abs().max()) > 1e-5, f"{other} has no say in the loss, so it tells nothing"
        assert difference(found, expected) < TIGHT, name


def assert_faults_are_listed(folder: Path, dropped: str, reshaped: str) -> None:
    """One weight missing, one of another shape and one too many: all three in one message."""
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    del weights[dropped]
    weights[reshaped] = torch.zeros(3, 5)
    weights["extra.weight"] = torch.zeros(2)
    save_file(weights, path)
    checkpoint = CheckpointFolder(folder)
    try:
        load_model(checkpoint, family_of(checkpoint))
    except CheckpointError as error:
        message = str(error)
    else:
        raise AssertionError("a checkpoint of other weights was read")
    assert "\n" not in message
    assert "unknown: extra.weight" in message
    assert "missing: " in message
    assert f"{reshaped} is [3, 5], not [" in message


def assert_bundle_answers_as_torch(
    folder: Path, out: Path, texts: list[str], labels: list[str]
) -> seetell.Model:
    """Convert, load with OpenVINO, and compare what the tasks say with the torch model's own numbers."""
    convert_checkpoint(folder, out, weights_dtype="fp32")
    model, reading = read(folder)
    bundle = seetell.load(out, precision="fp32")
    assert {"embed", "match", "classify", "features"} == set(bundle.tasks)
    assert reading.image is not None and reading.text is not None and reading.tokenizer_json is not None
    pixels, _ = preprocess(photos(3), reading.image)
    tokenizer = Tokenizer(reading.tokenizer_json.decode("utf-8"), reading.text)
    ids, mask = tokenizer.encode(texts, lead_id=reading.text.bos_id)
    with torch.no_grad():
        tokens, _, image_embeds = model.encode_image(torch.from_numpy(pixels))
        _, text_embeds = model.encode_text(torch.from_numpy(ids), torch.from_numpy(mask))
        logits = model.logits_per_image(image_embeds, text_embeds)
    assert difference(bundle.embed_images(photos(3)), image_embeds) < TIGHT
    assert difference(bundle.embed_texts(texts), text_embeds) < TIGHT
    assert difference(bundle.features(photos(3)).tokens, tokens) < 10 * TIGHT
    matches = bundle.match(photos(1)[0], texts)
    assert difference([one.similarity for one in matches], (image_embeds @ text_embeds.T)[0]) < TIGHT
    if bundle.manifest.score.kind == "sigmoid":
        assert difference([one.probability for one in matches], logits[0].sigmoid()) < 10 * TIGHT
    else:
        assert [one.probability for one in matches] == [None] * len(texts)
    _assert_classifies(bundle, model, tokenizer, image_embeds, labels)
    return bundle


def _assert_classifies(
    bundle: seetell.Model, model: DualEncoder, tokenizer: Any, image_embeds: Tensor, labels: list[str]
) -> None:
    templates = bundle.manifest.prompts["classify"][bundle.languages[0]]
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    ids, mask = tokenizer.encode(prompts, lead_id=tokenizer.spec.bos_id)
    with torch.no_grad():
        _, embeds = model.encode_text(torch.from_numpy(ids), torch.from_numpy(mask))
        means = embeds.reshape(len(labels), len(templates), -1).mean(dim=1)
        means = means / means.norm(dim=-1, keepdim=True)
        expected = (image_embeds @ means.T * model.logit_scale.exp()).softmax(dim=-1)
    for row, found in zip(expected.numpy(), bundle.classify(photos(3), labels), strict=True):
        assert found.label == labels[int(np.argmax(row))]
        probabilities = {one.label: one.probability for one in found.ranking}
        assert difference([probabilities[label] for label in labels], row) < 10 * TIGHT


def rewrite_config(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
