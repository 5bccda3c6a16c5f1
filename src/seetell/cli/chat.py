"""``seetell chat``: conversation with a language model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from seetell.cli.options import Shared, open_model, option, repeatable, shared_options

if TYPE_CHECKING:
    from seetell.tasks.model import Model


@shared_options
def chat(
    message: Annotated[
        str | None,
        option(
            "--message",
            metavar="TEXT",
            help="Answer this and end.",
            show_default="a conversation; lines of standard input where it is no terminal",
        ),
    ] = None,
    system: Annotated[
        str | None,
        option(
            "--system",
            metavar="TEXT",
            help="Tell the model first how to answer.",
            show_default="what its template says",
        ),
    ] = None,
    max_tokens: Annotated[int, option("--max-tokens", min=1, help="Write so many tokens at most.")] = 200,
    temperature: Annotated[
        float,
        option("--temperature", min=0.0, help="Draw tokens, more freely the higher; 0 takes the likeliest."),
    ] = 0.0,
    top_p: Annotated[
        float, option("--top-p", max=1.0, help="Draw from the likeliest that have this probability together.")
    ] = 1.0,
    min_p: Annotated[
        float,
        option("--min-p", min=0.0, max=1.0, help="Draw from those this share as likely as the best."),
    ] = 0.0,
    repetition_penalty: Annotated[
        float, option("--repetition-penalty", help="Over 1 discourages what was said already.")
    ] = 1.0,
    seed: Annotated[int | None, option("--seed", min=0, help="Draw the same every time.")] = None,
    logprobs: Annotated[
        bool, option("--logprobs", help="With --json, give the log-probability of every token.")
    ] = False,
    *,
    stop: Annotated[
        list[str],
        repeatable("--stop", metavar="TEXT", help="End the answer before this text; may be repeated."),
    ],
    shared: Shared,
) -> None:
    """Talk to a language model. Ctrl-C stops an answer, Ctrl-D ends the conversation."""
    from seetell.cli.chat_loop import converse
    from seetell.cli.chat_talk import Talk
    from seetell.core.errors import UsageError

    if logprobs and not shared.json:
        raise UsageError("--logprobs goes with --json")
    settings: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
        "stop": stop,
    }
    with shared.output() as out:
        model = _open(shared)
        talk = Talk(model, out, settings, system, logprobs=logprobs)
        if message is not None:
            talk.say(message)
        else:
            converse(talk, on_terminal=sys.stdin.isatty() and not shared.json)


def _open(shared: Shared) -> Model:
    """Raises TaskUnavailable, with what to do, for a model that cannot be talked to."""
    from seetell.core.errors import TaskUnavailable

    model = open_model(shared)
    if "chat" not in model.tasks:
        raise TaskUnavailable(
            f"{model.name} cannot chat; give --model a language model, which `seetell convert` makes from "
            "its GGUF file or its checkpoint"
        )
    return model
