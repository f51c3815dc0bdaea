"""Commands from functions: a parameter that is an options class becomes one flag per field."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperArgument
from typer.main import get_command_from_info
from typer.models import CommandInfo

from flames.options import Declared, LocaleLanguage, declared

_COMMA = re.compile("[,，、]")


def build_command(name: str, function: Callable[..., Any]) -> Any:
    """Builds the command that calls a function.

    A parameter of an options class becomes one flag per field, and two classes that declare the
    same flag share it. Other parameters are typer's. The function's docstring is the help.
    """
    info = CommandInfo(name=name, callback=expanded(function))
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            parameter.__class__ = _PlainArgument
    return command


class _PlainArgument(TyperArgument):
    """An argument that shows its metavar as given, without `{…}` and `<str>`."""

    def _usage_display_name(self) -> str:
        name = self.display_name_raw + ("..." if self.nargs != 1 else "")
        return name if self.required else f"[{name}]"

    def display_type_rich(self, ctx: Any) -> str | None:
        return None


def expanded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function with a parameter for every field of its options classes."""
    hints = get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters
    classes = {n: hints[n] for n in own if isinstance(hints[n], type) and is_dataclass(hints[n])}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in own.items():
        if name not in classes:
            kept = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            parameters[name] = kept
            continue
        for option in declared(classes[name]):
            new = _parameter(option)
            known = parameters.setdefault(option.key, new)
            if get_args(known.annotation)[0] != get_args(new.annotation)[0]:
                raise TypeError(f"{function.__name__}: {option.flag} is declared with two types")

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
    """Yields the values that the user gave; the class has the defaults of the others."""
    for option in declared(options):
        value = given[option.key]
        if value is None or value == []:
            continue
        if option.opt.parse:
            value = option.opt.parse(value)
        elif option.many:
            if option.opt.commas:
                value = [part.strip() for part in _COMMA.split(value) if part.strip()]
            item = get_args(option.type)[0]
            value = tuple(map(item, value) if isinstance(item, type) else value)
        yield option.name, value


def _parameter(option: Declared) -> inspect.Parameter:
    kind: Any = option.type
    if option.many:
        kind = str if option.opt.commas else list[str]
    elif option.choices or option.opt.parse:
        kind = str  # choices are checked by the class, so that Python and the commands say the same
    default = option.default
    flag = kind is bool and default is False
    chosen = isinstance(default, str | int | float) and not isinstance(default, LocaleLanguage)
    plain = flag or (chosen and not option.opt.parse)
    hidden = plain or option.required  # typer shows a plain default itself
    shown = option.opt.help if hidden else option.opt.help + _default_text(default)
    if option.range:
        shown += f"  [{option.range}]"
    metavar = option.opt.metavar or "|".join(map(str, option.choices)) or None
    if option.opt.positional:
        info: Any = typer.Argument(metavar=metavar, help=shown)
    else:
        names = [option.flag, *([option.opt.short] if option.opt.short else [])]
        if kind is bool and default:
            names[0] += f"/--no-{option.flag.removeprefix('--')}"
        info = typer.Option(*names, metavar=None if kind is bool else metavar, help=shown)
    return inspect.Parameter(
        option.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.required else default if plain else None,
        annotation=Annotated[kind if plain or option.required else kind | None, info],
    )


def _default_text(default: Any) -> str:
    """Shows a default that typer does not see as typer would: `  [default: a, b]`."""
    if isinstance(default, Path):
        return f"  [default: {default}]"
    shown = ", ".join(map(str, default)) if isinstance(default, tuple | list) else ""
    return f"  [default: {shown}]" if shown else ""
