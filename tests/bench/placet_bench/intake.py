"""Intake against a bare grpc.aio server: the cost of checking, storing and logging a request."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from placet.approval.v1.approval_service_pb2_grpc import ApprovalServiceStub
from placet_bench import load
from placet_bench.cpu import Meter
from placet_bench.figures import Report, paired, ratio_at_least
from placet_bench.load import Run
from placet_bench.processes import child
from placet_bench.setting import Setting, clean_environment
from placet_cli.home import HOST
from placet_cli.identity import OWNER, person
from placet_rpc.client import channel
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.stack import Stack, a_request

CONCURRENCY = 50


async def measure(setting: Setting) -> Report:
    """In pairs of rounds, each server called in the same way. Its CPU holds no other service's."""
    stack = (await setting.shared()).stack
    requests = 200 if setting.quick else 1000
    product, bare = [], []
    async with _server("product", setting, stack) as ours, _server("bare", setting, stack) as theirs:
        for number in range(setting.rounds + 1):
            pair = await ours.round(requests), await theirs.round(requests)
            if number:  # the first one warms up
                product.append(pair[0])
                bare.append(pair[1])
    setting.say("intake: done")
    return Report(
        (
            paired(
                "intake, Temporal answered at once, against a bare server",
                "/s",
                [one.per_second for one in product],
                [one.per_second for one in bare],
                ratio_at_least(0.65),
            ),
            paired(
                "its process's CPU for each request, against a bare server",
                "ms",
                [one.cpu_ms() for one in product],
                [one.cpu_ms() for one in bare],
                less_is_better=True,
            ),
        )
    )


class _Server:
    def __init__(self, stub: ApprovalServiceStub, pid: int) -> None:
        self._stub = stub
        self._meter = Meter(lambda: {"intake": pid})

    async def round(self, requests: int) -> Run:
        async def play() -> None:
            await self._stub.RequestApproval(a_request(), timeout=load.REQUEST_LIMIT)

        return await load.run(play, requests, CONCURRENCY, self._meter)


@asynccontextmanager
async def _server(kind: str, setting: Setting, stack: Stack) -> AsyncIterator[_Server]:
    """A process that serves, beside the shared stack's AuditService and with its keys."""
    home = stack.home
    environment = clean_environment() | {
        "PLACET_APPROVAL_LISTEN": f"{HOST}:0",
        "PLACET_APPROVAL_DATABASE_URL": f"sqlite:///{setting.new_folder('intake') / 'approval.db'}",
        "PLACET_APPROVAL_INTAKE_RECOVERY_INTERVAL": "3600",
        "PLACET_AUDIT_ADDRESS": stack.ports.address("audit"),
        "PLACET_JWKS_FILE": str(KeyFiles.below(home.keys).jwks),
        "PLACET_TOKEN_FILE": str(home.token("approval")),
        "PLACET_LOG_LEVEL": "WARNING",
    }
    command = (sys.executable, "-m", "placet_bench.intake_server", kind)
    async with child(command, env=environment, stdout=asyncio.subprocess.PIPE) as process:
        if process.stdout is None:
            raise AssertionError("a pipe was asked for")
        port = int(await process.stdout.readline())
        async with channel(f"{HOST}:{port}", person(home, OWNER)) as opened:
            yield _Server(ApprovalServiceStub(opened), process.pid)
