"""What a recipe that fine-tunes means where it says nothing: small steps, a warm-up, an early stop.

A model that exists has more to lose than to learn. Its defaults are those of the field: a rate of 1e-5 for
whole models (Radford et al. 2021 and Li et al. 2022 fine-tune with 1e-5 and 2e-5) and ten times that for
adapters, which begin at nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def cautious(document: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's document with the optimiser's and the schedule's defaults of fine-tuning filled in.

    What is no mapping is left to the schema to refuse.
    """
    filled = dict(document)
    tune, optimizer, schedule = (filled.get(key) or {} for key in ("tune", "optimizer", "schedule"))
    if isinstance(optimizer, Mapping) and isinstance(tune, Mapping):
        rate = 1e-5 if tune.get("lora") is None else 1e-4
        filled["optimizer"] = {"lr": rate, "weight_decay": 0.01, **optimizer}
    if isinstance(schedule, Mapping) and not {"warmup_steps", "warmup_fraction"} & schedule.keys():
        filled["schedule"] = {**schedule, "warmup_fraction": 0.1}
    return filled
