"""Entry points of programs: settings from the environment, telemetry, the work, and one sentence if it fails.

Imports no server: workers stay small.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from placet_rpc.errors import PlacetError
from placet_rpc.settings import describe_error, variable_of

_Settings = TypeVar("_Settings", bound=BaseSettings)

_LOG = logging.getLogger(__name__)
# Errors that one sentence explains to an operator. Any other is a mistake of ours, logged with its stack.
_EXPLAINED = (OSError, PlacetError, ValueError)
# The exit status of a program that cannot use its settings, keys or policies: started again, it ends again.
REFUSED = os.EX_CONFIG
_REFUSALS = (ValueError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Telemetry(Protocol):
    """Telemetry of a process, as `placet_telemetry.setup` returns it."""

    def shutdown(self) -> None:
        """Sends what was not sent yet, within seconds."""


def run_program(
    name: str,
    settings: type[_Settings],
    work: Callable[[_Settings], Awaitable[None]],
    *,
    telemetry: Callable[[], Telemetry],
    about: str | None,
    also: Sequence[type[BaseSettings]] = (),
    explained: tuple[type[Exception], ...] = (),
) -> int:
    """Reads `settings`, runs `work` to its end, and returns the exit status.

    It is 0, or REFUSED for settings, keys and other files that cannot be used, or 1 for what may pass.
    Then the log says why in one sentence, for errors of the operating system, of settings, of placet_rpc and
    those in `explained`; any other error is raised. `--help` prints `about`, the docstring of the program's
    `__main__`, and all settings, with those that the work reads `also`.
    """
    argparse.ArgumentParser(
        prog=name,
        description=about,
        epilog=_list_variables([settings, *also]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        running = telemetry()
    except ValueError as error:
        # There is no log without telemetry.
        sys.stderr.write(f"{name} cannot run: {error}\n")
        return REFUSED
    status = 0
    expected: tuple[type[Exception], ...] = (*_EXPLAINED, *explained)
    try:
        asyncio.run(_run(settings, work))
    except* expected as failures:
        errors = list(_leaves(failures))
        why = "; ".join(describe_error(error, [settings, *also]) for error in errors)
        _LOG.error("%s cannot run: %s", name, why)
        _LOG.debug("where it failed", exc_info=failures)
        status = REFUSED if all(isinstance(error, _REFUSALS) for error in errors) else 1
    finally:
        running.shutdown()
    return status


async def _run(settings: type[_Settings], work: Callable[[_Settings], Awaitable[None]]) -> None:
    await work(settings())


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _list_variables(settings: Iterable[type[BaseSettings]]) -> str:
    """Each environment variable with its default and its meaning, for `--help`."""
    lines = ["Settings are environment variables:"]
    for each in settings:
        for name, field in each.model_fields.items():
            lines.append(f"  {variable_of(each, name)}{_default(field)}")
            lines += [f"      {line}" for line in (field.description or "").splitlines()]
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return " (required)"
    return "" if field.default_factory is not None or field.default is None else f" [{field.default}]"
