"""Commands from options classes: each field of the class becomes a flag or an argument."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from flames.options import Declared, declared

_COMMA = re.compile("[,，、]")


def command(app: typer.Typer, name: str | None = None) -> Callable[[Any], Any]:
    """Registers a function as a command.

    A parameter whose type is an options class becomes one flag per field, and the function gets
    an instance of the class. Two classes that declare the same flag share it. Other parameters
    are declared as typer declares them.

        @command(app, "train")
        def train(options: TrainOptions, show: ShowOptions) -> None:
            "Train a scorer."
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        app.command(name)(_expanded(function))
        return function

    return register


def _expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    hints = get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters
    classes = {n: hints[n] for n in own if isinstance(hints[n], type) and is_dataclass(hints[n])}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in own.items():
        if name in classes:
            for each in declared(classes[name]):
                parameters.setdefault(each.name, _parameter(each))
        else:
            kept = parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
            parameters[name] = kept

    def wrapper(**given: Any) -> Any:
        values = {n: given[n] for n in own if n not in classes}
        for name, options in classes.items():
            values[name] = options(**dict(_values(options, given)))
        return function(**values)

    wrapper.__name__ = function.__name__
    wrapper.__doc__ = function.__doc__
    wrapper.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    wrapper.__annotations__ = {n: p.annotation for n, p in parameters.items()}
    return wrapper


def _values(options: type[Any], given: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for each in declared(options):
        value = given[each.name]
        if each.many:
            if value is None or value == []:
                continue  # the class has the default
            if each.opt.commas:
                value = [part.strip() for part in _COMMA.split(value) if part.strip()]
            item = get_args(each.type)[0]
            value = tuple(map(item, value) if isinstance(item, type) else value)
        yield each.name, value


def _parameter(each: Declared) -> inspect.Parameter:
    """Builds the typer parameter of one field."""
    kind: Any = each.type
    if each.many:
        kind = str if each.opt.commas else list[str]
    elif each.choices:
        kind = str  # checked by the class, so that Python and the command line say the same
    default = each.field.default
    if each.many and each.opt.commas and isinstance(default, tuple):
        default = ",".join(map(str, default)) or None
    elif each.many or (default is MISSING and not each.required):
        default = None if not each.required else MISSING
    if default is None:
        kind = kind | None
    metavar = each.opt.metavar or ("|".join(map(str, each.choices)) if each.choices else None)
    if each.opt.positional:
        info: Any = typer.Argument(metavar=metavar, help=each.opt.help)
    else:
        names = [each.flag, *([each.opt.short] if each.opt.short else [])]
        info = typer.Option(*names, metavar=metavar, help=each.opt.help)
    return inspect.Parameter(
        each.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is MISSING else _plain(default),
        annotation=Annotated[kind, info],
    )


def _plain(default: Any) -> Any:
    return str(default) if isinstance(default, Path) else default
