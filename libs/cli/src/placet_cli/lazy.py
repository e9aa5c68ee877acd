"""Commands that are imported when they run, from whichever package has them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from placet_cli.option_parsers import plain_message
from placet_cli.problems import Problem

# Options that typer adds together with the protocol by which shells ask for completions.
_TYPERS = ("install_completion", "show_completion")
OWN_PACKAGE = "placet_cli"


def spare_pydantic(parameters: list[Any]) -> list[Any]:
    """The same parameters, which now take plain text and defaults as they are.

    Typer converts every option's value by pydantic, left out or not, and importing that takes a quarter of
    the CPU that `placet list` may. Any: typer's types of parameters are not public.
    """
    for one in parameters:
        if "process_value" not in vars(one):
            one.process_value = partial(_value, one, one.process_value)
    return parameters


def _value(param: Any, convert: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """The value of a parameter, converted only where it is not what it should be already."""
    if value is None and not param.required:
        value = () if param.multiple or param.nargs == -1 else None
    # A typed value is text; a number or a choice is a default.
    elif not isinstance(value, str | bool | int | Enum) or (
        type(value) is not param.type_descriptor.annotation
    ):
        return convert(context, value)
    return value if param.callback is None else param.callback(context, param, value)


@dataclass(frozen=True)
class Entry:
    """A command: its name, the module whose `register` adds it, and the first line of its help."""

    name: str
    module: str
    help: str

    @property
    def package(self) -> str:
        """The import package that has the command."""
        return self.module.partition(".")[0]

    @property
    def installed(self) -> bool:
        """True when that package is installed."""
        return self.package == OWN_PACKAGE or find_spec(self.package) is not None

    def load(self) -> TyperCommand | TyperGroup:
        """Imports the command."""
        module = importlib.import_module(self.module)
        app = typer.Typer(rich_markup_mode=None, callback=lambda: None)
        module.register(app)
        loaded = get_group(app).commands[self.name]
        assert isinstance(loaded, TyperCommand | TyperGroup)
        return loaded


class LazyGroup(TyperGroup):
    """A group of commands that lists them without importing any."""

    entries: ClassVar[tuple[Entry, ...]] = ()

    def __init__(self, **attributes: Any) -> None:
        """Takes what typer gives; its commands are stubs with a name and a help line."""
        super().__init__(**attributes)
        for entry in self.entries:
            if entry.installed:
                self.add_command(TyperCommand(entry.name, help=entry.help))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the options before the command. Raises BadParameter in plain words."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = plain_message(error)
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, without typer's for completion: `placet_cli.completion` has the scripts."""
        return spare_pydantic([one for one in super().get_params(ctx) if one.name not in _TYPERS])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, imported. Raises Problem when its package is missing."""
        entries = {entry.name: entry for entry in self.entries}
        entry = entries.get(args[0])
        if entry is not None and not entry.installed:
            raise _not_installed(entry, ctx.command_path)
        name, command, rest = super().resolve_command(ctx, args)
        return name, command if entry is None else entry.load(), rest


def group(entries: Iterable[Entry]) -> type[LazyGroup]:
    """A class for `typer.Typer(cls=…)` of a group with these commands."""
    return type("Commands", (LazyGroup,), {"entries": tuple(entries)})


def _not_installed(entry: Entry, path: str) -> Problem:
    distribution = entry.package.replace("_", "-")
    return Problem(
        f"`{path} {entry.name}` is part of {distribution}, which is not installed",
        tries=(f"pip install {distribution}",),
    )
