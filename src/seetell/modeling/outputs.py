"""The outputs of a bundle's graphs that are taught one by one: what nothing has taught is not shipped."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from seetell.bundle.manifest import Manifest, Role

# Role -> those of its outputs. Without any of them only the image encoder is of use, for its tokens.
_TAUGHT: Mapping[Role, frozenset[str]] = {
    "image_encoder": frozenset({"image_embeds", "label_logits"}),
    "text_encoder": frozenset({"text_embeds"}),
    "fusion_encoder": frozenset({"fused_tokens", "match_logits", "token_logits", "answer_logits"}),
    "text_decoder": frozenset({"logits"}),
}
ALL_TAUGHT: frozenset[str] = frozenset().union(*_TAUGHT.values())


def left_out(trained: Collection[str]) -> frozenset[str]:
    """The roles and outputs to leave out of the bundle of a model that has learned to give ``trained``."""
    found = set(ALL_TAUGHT.difference(trained))
    for role, outputs in _TAUGHT.items():
        if role != "image_encoder" and outputs <= found:
            found.add(role)
            if role == "text_decoder":
                found.add("decoder_memory")
    return frozenset(found)


def given_by(manifest: Manifest) -> frozenset[str]:
    """Those that a bundle's graphs give."""
    outputs = {name for graph in manifest.graphs.values() for name in graph.outputs}
    return frozenset(outputs & ALL_TAUGHT)
