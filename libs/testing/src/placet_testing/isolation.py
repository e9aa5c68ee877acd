"""Pytest plugin: a test that is not marked `integration` opens no socket and starts no process.

`make fast` runs exactly these tests. A file whose tests need a server says so in one line,
`pytestmark = pytest.mark.integration`, and is then not even imported by `make fast`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MARK = "integration"
MARKED_FILE = re.compile(rf"^pytestmark = pytest\.mark\.{MARK}$", re.MULTILINE)
NATIVE = "placet.testing.native"
REFUSED = frozenset(
    {
        "socket.bind",
        "socket.connect",
        "subprocess.Popen",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        NATIVE,
    }
)
# Opened by native code, which raises no audit event of its own.
GRPC = ("AioChannel", "AioServer", "Channel", "Server")
TEMPORAL = ("connect_client", "start_dev_server", "start_test_server")


class Isolated(RuntimeError):
    """A test that is not marked `integration` tried to open a socket or to start a process."""


class Isolation:
    """Refuses sockets and processes while an unmarked test runs, and fails a test that asked for them."""

    def __init__(self) -> None:
        self._attempt: str | None = None
        self._active = False
        sys.addaudithook(self._refuse)
        audited(import_module("grpc._cython.cygrpc"), GRPC)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._active and event in REFUSED:
            self._attempt = f"{event} {arguments[0] if event == NATIVE else ''}".strip()
            raise Isolated(self._attempt)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        bridge = sys.modules.get("temporalio.bridge.temporal_sdk_bridge")
        if bridge is not None:
            audited(bridge, TEMPORAL)
        self._attempt = None
        self._active = item.get_closest_marker(MARK) is None
        try:
            return (yield)
        finally:
            self._active = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Leaves teardown alone: fixtures of the session may end with a test that did not ask for them."""
        self._active = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        if self._attempt is not None:
            # Replaces the outcome, also where the code under test took the refusal for a failure of its own.
            advice = (
                f"{self._attempt}: this test needs more than its own process.\n"
                f"Write `pytestmark = pytest.mark.{MARK}` in {item.path.name}, or mark this test alone."
            )
            self._attempt = None
            try:
                pytest.fail(advice, pytrace=False)
            except pytest.fail.Exception:
                call.excinfo = pytest.ExceptionInfo.from_current()
        return (yield)


def audited(module: ModuleType, names: tuple[str, ...]) -> None:
    """Lets these callables of a native module raise an audit event; once per module."""
    if getattr(module, "audited_by_placet", False):
        return
    for name in names:
        setattr(module, name, announced(f"{module.__name__}.{name}", getattr(module, name)))
    module.audited_by_placet = True  # type: ignore[attr-defined]  # a mark of our own


def announced(name: str, native: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        sys.audit(NATIVE, name)
        return native(*arguments, **options)

    return call


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Isolation(), "placet-isolation")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skips the import of marked files where only the others are wanted."""
    if f"not {MARK}" not in config.option.markexpr or collection_path.suffix != ".py":
        return None
    return True if MARKED_FILE.search(collection_path.read_text()) else None
