"""Where measurements take place: stacks with the bench's policies and its model, and servers as they come."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from placet_bench.baseline import BaselineCallers, baseline_on
from placet_bench.processes import child
from placet_bench.product import ProductCallers, product_on
from placet_cli.home import HOST
from placet_devstack.probes import grpc_serving
from placet_devstack.temporal_server import executable
from placet_testing.ports import free_port_base
from placet_testing.stack import Stack, running_test_stack

POLICIES = Path(__file__).parent / "policies"
# Nothing of an installation or of a backend that the bench's caller has leaks into what is measured.
FOREIGN = ("PLACET_", "OPENAI_", "OTEL_")


@dataclass
class Setting:
    """Setting of all measurements: a folder for data, how much to do, and one stack for most of them.

    `requests` are those of one round, with `concurrency` callers.
    """

    folder: Path
    rounds: int
    requests: int
    concurrency: int
    pending: int
    quick: bool
    say: Callable[[str], None]
    exits: AsyncExitStack
    _numbers: count[int] = field(default_factory=count)
    _shared: ProductCallers | None = None
    _baseline: BaselineCallers | None = None
    _model: str = ""

    @property
    def samples(self) -> int:
        """Repetitions of each sequential measurement, in each round."""
        return 4 if self.quick else 6

    async def shared(self) -> ProductCallers:
        """The callers of the stack that most measurements share; started when first asked for."""
        if self._shared is None:
            stack = await self.exits.enter_async_context(self.stack())
            self._shared = await self.exits.enter_async_context(product_on(stack))
        return self._shared

    async def baseline(self) -> BaselineCallers:
        """The callers of the baseline on the shared stack's own Temporal server."""
        if self._baseline is None:
            stack = (await self.shared()).stack
            entered = baseline_on(stack.ports.address("temporal"), stack.pid("temporal"))
            self._baseline = await self.exits.enter_async_context(entered)
        return self._baseline

    @asynccontextmanager
    async def stack(self, extra: Mapping[str, str] | None = None) -> AsyncIterator[Stack]:
        """A stack of its own, just as `placet up` runs it; `extra` beside its environment."""
        environment = {
            **clean_environment(),
            "PLACET_APPROVAL_POLICY_FOLDER": str(POLICIES),
            "PLACET_OPENAI_BASE_URL": await self._model_url(),
            "PLACET_OPENAI_MODEL": "bench",
            **(extra or {}),
        }
        self.say("starting a stack" + "".join(f", {name}={value}" for name, value in (extra or {}).items()))
        folder = self.new_folder("stack")
        async with running_test_stack(folder, failpoints=False, environment=environment) as stack:
            yield stack

    @asynccontextmanager
    async def untuned(self) -> AsyncIterator[BaselineCallers]:
        """The baseline on a Temporal server as it comes, but for keeping its data in a file."""
        base = free_port_base()
        address = f"{HOST}:{base}"
        database = self.new_folder("untuned") / "temporal.db"
        ports = ("--port", str(base), "--ui-port", str(base + 1))
        command = (str(executable()), "server", "start-dev", *ports, "--db-filename", str(database))
        log = ("--log-level", "error")
        self.say("starting a Temporal server as it comes")
        async with child((*command, *log)) as server:
            await until_serving(address)
            async with baseline_on(address, server.pid) as callers:
                yield callers

    def new_folder(self, name: str) -> Path:
        """An empty folder below the bench's own."""
        folder = self.folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        return folder

    async def _model_url(self) -> str:
        if not self._model:
            command = (sys.executable, "-m", "placet_bench.model")
            model = await self.exits.enter_async_context(child(command, stdout=asyncio.subprocess.PIPE))
            if model.stdout is None:
                raise AssertionError("a pipe was asked for")
            self._model = f"http://{HOST}:{int(await model.stdout.readline())}/v1"
        return self._model


def clean_environment() -> dict[str, str]:
    """This process's environment without what is meant for another Placet."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


async def until_serving(address: str, limit: float = 30.0) -> None:
    """Waits until the Temporal server there works. Raises TimeoutError."""
    deadline = time.monotonic() + limit
    probe = grpc_serving(address, "temporal.api.workflowservice.v1.WorkflowService")
    while not await probe():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no Temporal server at {address} after {limit:g} s")
        await asyncio.sleep(0.05)
