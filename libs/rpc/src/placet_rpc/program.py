"""Entry points of programs: settings from the environment, telemetry, the work, and one sentence if it fails.

`run_service` is for a service with a gRPC server, `run_program` for any other program.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from placet_rpc.errors import PlacetError
from placet_rpc.refusals import OnAccessRefused
from placet_rpc.server import CannotListen, Endpoint, serve
from placet_rpc.settings import ServiceSettings, describe_error, variable_of

_Settings = TypeVar("_Settings", bound=BaseSettings)
_ServiceSettings = TypeVar("_ServiceSettings", bound=ServiceSettings)

_LOG = logging.getLogger("placet.program")
# Errors that one sentence explains to an operator. Any other is a mistake of ours, logged with its stack.
_EXPLAINED = (CannotListen, OSError, PlacetError, ValueError)


class Telemetry(Protocol):
    """Telemetry of a process, as `placet_telemetry.setup` returns it."""

    def shutdown(self) -> None:
        """Sends what was not sent yet, within seconds."""


@dataclass(frozen=True)
class Service:
    """A service's parts at work; it lacks only a server."""

    endpoint: Endpoint
    on_access_refused: OnAccessRefused


def run_service(
    name: str,
    settings: type[_ServiceSettings],
    assemble: Callable[[_ServiceSettings], AbstractAsyncContextManager[Service]],
    *,
    telemetry: Callable[[], Telemetry],
    about: str | None,
    explained: tuple[type[Exception], ...] = (),
) -> int:
    """Serves until SIGTERM or SIGINT; then the server stops first, and `assemble` closes what it uses.

    Arguments and exit status are those of `run_program`.
    """

    async def work(chosen: _ServiceSettings) -> None:
        async with assemble(chosen) as service:
            await serve(chosen.server(), [service.endpoint], on_access_refused=service.on_access_refused)

    return run_program(name, settings, work, telemetry=telemetry, about=about, explained=explained)


def run_program(
    name: str,
    settings: type[_Settings],
    work: Callable[[_Settings], Awaitable[None]],
    *,
    telemetry: Callable[[], Telemetry],
    about: str | None,
    explained: tuple[type[Exception], ...] = (),
) -> int:
    """Reads `settings`, runs `work` to its end, and returns the exit status: 0, or 1 when it cannot run.

    Then the log says why in one sentence, for errors of the operating system, of settings, of placet_rpc and
    those in `explained`; any other error is raised. `--help` prints `about`, the docstring of the program's
    `__main__`, and all settings.
    """
    argparse.ArgumentParser(
        prog=name,
        description=about,
        epilog=_list_variables(settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    try:
        running = telemetry()
    except ValueError as error:
        raise SystemExit(f"{name} cannot run: {error}") from error
    status = 0
    expected: tuple[type[Exception], ...] = (*_EXPLAINED, *explained)
    try:
        asyncio.run(_run(settings, work))
    except* expected as failures:
        prefix = settings.model_config.get("env_prefix", "")
        why = "; ".join(describe_error(error, prefix) for error in _leaves(failures))
        _LOG.error("%s cannot run: %s", name, why)
        _LOG.debug("where it failed", exc_info=failures)
        status = 1
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


def _list_variables(settings: type[BaseSettings]) -> str:
    """Each environment variable with its default and its meaning, for `--help`."""
    lines = ["Settings are environment variables:"]
    for name, field in settings.model_fields.items():
        lines.append(f"  {variable_of(settings, name)}{_default(field)}")
        lines += [f"      {line}" for line in (field.description or "").splitlines()]
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return " (required)"
    return "" if field.default_factory is not None or field.default is None else f" [{field.default}]"
