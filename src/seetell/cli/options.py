"""Options: how one is declared, and those that all model verbs share.

Every option is also an environment variable, named after it: ``--batch-size`` is
``SEETELL_BATCH_SIZE``, ``-k`` is ``SEETELL_K``. An option on the command line wins.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from seetell.cli.output import Output, say
from seetell.remote.names import DEFAULT_PATIENCE_S, DEFAULT_PX, is_remote

if TYPE_CHECKING:
    from seetell.bundle.store import Bundle
    from seetell.cli.keeper import Keeper
    from seetell.tasks.api import AnyModel
    from seetell.tasks.model import Model

# "a,b" and "狗，人" and "狗、人".
_COMMAS = re.compile("[,\uff0c\u3001]")

Precision = Literal["auto", "fp32", "bf16", "int8"]
Device = Literal["auto", "cpu", "gpu"]


def env_name(*names: str) -> str:
    """The environment variable of an option: ``("-k",)`` -> ``SEETELL_K``."""
    longest = max(names, key=len)
    return "SEETELL_" + longest.lstrip("-").replace("-", "_").upper()


def option(*names: str, help: str, **more: Any) -> Any:
    """An option with its environment variable. ``more`` goes to ``typer.Option``."""
    return typer.Option(*names, help=help, envvar=env_name(*names), show_envvar=False, **more)


def repeatable(*names: str, help: str, **more: Any) -> Any:
    """An option that may be given several times; in its environment variable one value per line.

    Left to typer the variable would be split at blanks, and a sentence would become words. The parameter
    has no default of its own and therefore stands after the ``*``.
    """
    variable = env_name(*names)

    def from_environment() -> list[str]:
        return [line for line in os.environ.get(variable, "").splitlines() if line.strip()]

    return typer.Option(*names, help=help, default_factory=from_environment, show_default=False, **more)


JsonOption = Annotated[bool, option("--json", help="Print one JSON object per line on standard output.")]


@dataclass(frozen=True, slots=True)
class Shared:
    """The options every model verb has. Field by field they become the command's own options."""

    model: Annotated[
        str,
        option(
            "--model",
            metavar="MODEL",
            help="Use this model: builtin, a bundle's folder, a public checkpoint, or openai:NAME.",
        ),
    ] = "builtin"
    base_url: Annotated[
        str | None,
        option(
            "--base-url",
            metavar="URL",
            help="Ask openai:NAME at this address, as http://localhost:8000/v1.",
            show_default="none",
        ),
    ] = None
    precision: Annotated[
        Precision, option("--precision", help="Compute in this precision; auto takes the fastest there is.")
    ] = "auto"
    device: Annotated[Device, option("--device", help="Run on this device.")] = "auto"
    batch_size: Annotated[
        int | None,
        option("--batch-size", min=1, help="Run the model on so many photos at once.", show_default="auto"),
    ] = None
    threads: Annotated[
        int | None, option("--threads", min=1, help="Use so many processor threads.", show_default="all")
    ] = None
    exact_decode: Annotated[
        bool, option("--exact-decode", help="Decode JPEGs at full size before resizing, which is slower.")
    ] = False
    json: JsonOption = False
    quiet: Annotated[
        bool,
        option("--quiet", help="Print no progress and no remarks, and with --out or --sheet only errors."),
    ] = False

    def output(self, *keepers: AbstractContextManager[Keeper] | None) -> Output:
        """The command's output, with those keepers of its results that were asked for."""
        return Output(json=self.json, quiet=self.quiet, keepers=[one for one in keepers if one is not None])


@dataclass(frozen=True, slots=True)
class RemoteShared(Shared):
    """Those of the verbs that a model behind a server has, too."""

    photo_px: Annotated[
        int,
        option("--photo-px", min=1, help="Send a server photos with a longer edge of so many pixels."),
    ] = DEFAULT_PX
    patience: Annotated[
        float,
        option(
            "--patience",
            min=0.001,
            help="Give a server so many seconds for a photo, retries included.",
        ),
    ] = DEFAULT_PATIENCE_S
    prices: Annotated[
        str | None,
        option(
            "--prices",
            metavar="IN,OUT",
            help="Say what a server's answers cost, at these prices of a million tokens.",
            show_default="none",
        ),
    ] = None


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` the options of the class that its one parameter ``shared`` is of; it receives them as
    that."""
    signature = inspect.signature(command, eval_str=True)
    kind = signature.parameters["shared"].annotation
    hints = {name: hint for one in kind.__mro__ for name, hint in _hints(one).items()}
    added = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    ]
    own = [parameter for name, parameter in signature.parameters.items() if name != "shared"]

    @functools.wraps(command)
    def with_shared(**values: Any) -> None:
        shared = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(shared=shared, **values)

    # typer reads the signature and the annotations; both must tell of the added options.
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + added
    setattr(with_shared, "__signature__", inspect.Signature(parameters))  # noqa: B010 (no such attribute in the type)
    with_shared.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_shared


def _hints(one: type) -> dict[str, Any]:
    return inspect.get_annotations(one, eval_str=True) if issubclass(one, Shared) else {}


def open_any(shared: RemoteShared, out: Output) -> AnyModel:
    """The model the shared options name, of this machine or behind a server; what was asked of a server is
    said when ``out`` ends. Raises what ``load`` raises."""
    if not is_remote(shared.model):
        return open_model(shared)
    from seetell.remote.usage import checked_prices
    from seetell.tasks.remote import open_remote

    model = open_remote(
        shared.model,
        base_url=shared.base_url,
        batch_size=shared.batch_size,
        photo_px=shared.photo_px,
        patience_s=shared.patience,
        prices=checked_prices(shared.prices),
    )
    out.at_end(lambda: f"{model.identity}: {model.usage}" if model.usage.asked else None)
    return model


def open_model(shared: Shared, *, threads: int | None = None, streams: int = 1) -> Model:
    """The model of this machine that the shared options name. ``threads`` where they name none. Raises what
    ``load`` raises, and TaskUnavailable for a model behind a server."""
    from seetell.core.errors import BundleNotFound, TaskUnavailable, UsageError
    from seetell.tasks.model import load

    if is_remote(shared.model):
        raise TaskUnavailable(
            f"{shared.model} is a model behind a server: it can ask, caption, classify and be evaluated, and "
            "this needs a model of this machine"
        )
    if shared.base_url is not None and env_name("--base-url") not in os.environ:
        # In the environment it may be there for other commands.
        raise UsageError(f"--base-url goes with --model openai:NAME, not with {shared.model}")
    with suppress(BundleNotFound):  # `load` says it
        convert_first(shared.model, quiet=shared.quiet)
    return load(
        shared.model,
        precision=shared.precision,
        device=shared.device,
        threads=threads if shared.threads is None else shared.threads,
        streams=streams,
        batch_size=shared.batch_size,
        exact_decode=shared.exact_decode,
    )


def convert_first(model: str, *, quiet: bool = False) -> Bundle:
    """The bundle of ``model``. A public checkpoint not converted yet is fetched and converted, and that is
    said unless ``quiet``; ``load`` would do it silently. Raises what ``resolve_or_convert`` does."""
    from seetell.bundle.store import resolve
    from seetell.core.errors import ConversionNeeded, TaskUnavailable

    if is_remote(model):
        raise TaskUnavailable(f"{model} is a model behind a server, and this needs a model's files")
    try:
        return resolve(model)
    except ConversionNeeded:
        from seetell.bundle.conversion import resolve_or_convert
        from seetell.cli.progress import ByteBar

        with nullcontext() if quiet else ByteBar(f"fetching {model}") as bar:
            return resolve_or_convert(
                model,
                fetching=None if bar is None else bar.show,
                converting=lambda name: None if quiet else say(f"converting {name}: once, then it is kept"),
            )


def alternatives(text: str, name: str) -> list[str]:
    """As :func:`comma_list`, of what is to be chosen among. That there is only one is said, because it is
    chosen whatever it is."""
    values = comma_list(text, name)
    if len(values) == 1:
        say(f"{name} has one entry, {values[0]!r}, which is always chosen; separate several by commas")
    return values


def comma_list(text: str, name: str) -> list[str]:
    """``"yes,no"`` or ``"@FILE"`` (one per line) as a list; Chinese commas separate, too. Raises UsageError
    when nothing is in it."""
    from seetell.core.errors import UsageError

    if text.startswith("@"):
        try:
            # Some editors begin a file with a byte order mark.
            with open(text[1:], encoding="utf-8-sig") as file:
                parts = file.read().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"{name}: {text[1:]} cannot be read ({reason})") from error
    else:
        parts = _COMMAS.split(text)
    values = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not values:
        raise UsageError(f"{name}: nothing in {text!r}; give a,b,c or @FILE with one per line")
    return values
