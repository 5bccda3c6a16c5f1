"""The result of `families.py` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

METRICS = {
    "text_to_image.r10": "text → picture R@10",
    "captions.bleu_4": "BLEU-4",
    "vqa.exact_match": "answers right, %",
}
NAMES = {
    "clip": "CLIP",
    "siglip": "SigLIP",
    "chinese_clip": "Chinese-CLIP",
    "blip_captions": "BLIP, captions",
    "blip_answers": "BLIP, answers",
    "blip_retrieval": "BLIP, retrieval",
    "vilt": "ViLT, answers",
    "seetell": "ours",
}
GRAPHS = {
    "image_encoder": "image encoder",
    "text_encoder": "text encoder",
    "fusion_encoder": "fusion",
    "decoder_memory": "decoder's view of the photo",
    "text_decoder": "decoder, one word",
}


def tables(found: Mapping[str, Any]) -> str:
    """What quality and size are left, then the time of each graph, then where it was measured."""
    families: Mapping[str, Any] = found["families"]
    blocks = [_lost(families), _times(families), _where(families), _missing(families)]
    return "\n\n".join(block for block in blocks if block)


def _lost(families: Mapping[str, Any]) -> str:
    """A row for each family and method: size, quality, and what was lost."""
    lines = [
        _row("family", "method", "size", "1 photo", "8 photos", "quality (95%)", "lost against fp32 (95%)"),
        "|---|---|---|---|---|---|---|",
    ]
    for family, one in families.items():
        quality, cost = one.get("quality"), one.get("cost")
        methods = list((quality or {}).get("methods") or cost["size_bytes"])
        for method in methods:
            first = method == methods[0]
            size, *took = ("–", "–", "–") if cost is None else _cost(cost, method)
            row = None if quality is None else quality["methods"].get(method)
            lines.append(
                _row(
                    _name(family, one) if first else "",
                    method,
                    size,
                    *took,
                    "–" if row is None else _quality(quality, row, first),
                    _drop(row),
                )
            )
    return "\n".join(lines)


def main_graph(cost: Mapping[str, Any]) -> str:
    """The graph that takes most of the time for one photo at fp32."""
    graphs: Mapping[str, Any] = cost["graphs"]
    return max(graphs, key=lambda role: graphs[role].get("1", {"ms": {"fp32": 0}})["ms"]["fp32"])


def _name(family: str, one: Mapping[str, Any]) -> str:
    name = NAMES.get(family, family)
    return f"{name} ({GRAPHS[main_graph(one['cost'])]})" if "cost" in one else name


def _cost(cost: Mapping[str, Any], method: str) -> tuple[str, str, str]:
    ms = cost["graphs"][main_graph(cost)]
    one, several = (_ms(ms.get(count, {}).get("ms", {}).get(method)) for count in ("1", "8"))
    return f"{cost['size_bytes'][method] / 1e6:.0f} MB", one, several


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def _quality(quality: Mapping[str, Any], row: Mapping[str, Any], first: bool) -> str:
    low, high = row["interval"]
    told = f"{row['value']:.1f} ({low:.1f} to {high:.1f})"
    if not first:
        return told
    return f"{METRICS.get(quality['metric'], quality['metric'])} {told}, not looking {quality['chance']:.1f}"


def _drop(row: Mapping[str, Any] | None) -> str:
    if row is None or row.get("drop_interval") is None:
        return "–"
    low, high = row["drop_interval"]
    return f"{row['drop']:.2f} ({low:.2f} to {high:.2f})"


def _times(families: Mapping[str, Any]) -> str:
    """A row for each graph: the time by each method, for 1 and for 8."""
    costs = {family: one["cost"] for family, one in families.items() if "cost" in one}
    if not costs:
        return ""
    methods = list(dict.fromkeys(method for cost in costs.values() for method in cost["size_bytes"]))
    lines = [_row("family", "graph", *methods), "|---|---|" + "---|" * len(methods)]
    for cost in costs.values():
        for number, (role, by_count) in enumerate(cost["graphs"].items()):
            cells = [
                " / ".join(_ms(one["ms"].get(method)).removesuffix(" ms") for one in by_count.values())
                for method in methods
            ]
            shape = "" if number else cost["shape"]
            lines.append(_row(shape, GRAPHS.get(role, role), *(_empty(cell) for cell in cells)))
    return "\n".join(["Milliseconds for 1 / for 8:", "", *lines])


def _empty(cell: str) -> str:
    return "–" if set(cell) <= set("–/ ") else cell


def _where(families: Mapping[str, Any]) -> str:
    """A sentence for each machine and what ran beside."""
    found: dict[str, list[str]] = {}
    for family, one in families.items():
        for kind in ("quality", "cost"):
            if kind in one:
                measured = one[kind]["measured"]
                place = f"{measured['machine']}; beside it: {measured['beside']}"
                found.setdefault(f"{kind} on {place}", []).append(family)
    return "\n".join(
        f"{place[0].upper()}{place[1:]} ({_listed(names, families)})." for place, names in found.items()
    )


def _missing(families: Mapping[str, Any]) -> str:
    """A sentence for what has not been measured."""
    kinds = {"quality": "Quality", "cost": "Size and time"}
    missing = {kind: [name for name, one in families.items() if kind not in one] for kind in kinds}
    return "\n".join(
        f"{kinds[kind]} not measured yet: {_listed(names, families)}."
        for kind, names in missing.items()
        if names
    )


def _listed(names: Sequence[str], families: Mapping[str, Any]) -> str:
    if len(names) == len(families):
        return "every family"
    return "; ".join(NAMES.get(name, name) for name in names)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
