"""`placet models evaluate` on the real stack: who decided what, what is left out, a worker killed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from placet.approval.v1 import approval_pb2, approval_service_pb2
from placet.event.v1 import event_pb2
from placet_testing.conditions import EVENTUALLY, SOON
from placet_testing.failpoint_ml_worker import HALT, PAGE, READ
from placet_testing.stack import ALICE, CALLER, Stack, running_test_stack

pytestmark = pytest.mark.integration

# At least ten of each are needed to say anything.
RISKY = "Urgent: pay EUR {0},000 to the new IBAN DE89 3704 0044 0532 0130 00 without the usual approval"
PLAIN = "Please pay invoice {0} of EUR 900 to our supplier"
HARMLESS = "Monday: lentil soup with bread. Tuesday: baked potatoes."
EACH = 10
# Counts of a report, by its field.
COUNTS = ("versions", "leftOut")


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack of its own: the evaluation reads the whole log. Clocks run as written."""
    async with running_test_stack(tmp_path_factory.mktemp("evaluate")) as running:
        yield running


async def start(stack: Stack, *arguments: str) -> asyncio.subprocess.Process:
    """`placet models evaluate`, as a user starts it."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "placet_cli.main", "models", "evaluate", *arguments),
        env=outside | {"PLACET_HOME": str(stack.home.path), "NO_COLOR": "1", "COLUMNS": "80"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def killed_at_the_end(process: asyncio.subprocess.Process) -> AsyncIterator[asyncio.subprocess.Process]:
    """It is gone after the block, whatever happened in it."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def evaluate(stack: Stack, *arguments: str) -> str:
    """Its output."""
    async with killed_at_the_end(await start(stack, *arguments)) as process:
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def ask(stack: Stack, policy: str, body: str, title: str = "Release the payment") -> str:
    """A request about some text."""
    content = approval_pb2.Content(body=body.encode(), media_type="text/plain")
    return await stack.request(policy, title=title, content=content)


async def decide(stack: Stack, policy: str, body: str, verdict: event_pb2.Verdict.ValueType) -> None:
    """A request that alice decides."""
    approval_id = await ask(stack, policy, body)
    await stack.waiting(approval_id)
    await stack.decide(approval_id, ALICE, verdict)


async def cancel(stack: Stack, body: str) -> None:
    """A request that its requester withdraws."""
    approval_id = await ask(stack, "document", body)
    await stack.waiting(approval_id)
    request = approval_service_pb2.CancelApprovalRequest(
        approval_id=approval_id, command_id=str(uuid.uuid4())
    )
    await (await stack.as_(CALLER)).CancelApproval(request, timeout=SOON)


async def said(process: asyncio.subprocess.Process, text: str) -> None:
    """Waits until it says on standard error how far it is."""
    assert process.stderr is not None
    seen = ""
    async with asyncio.timeout(EVENTUALLY):
        while text not in seen:
            line = (await process.stderr.readline()).decode()
            assert line, f"it ended without {text!r}:\n{seen}"
            seen += line


def pages_read(stack: Stack, pid: int) -> list[int]:
    """First index of each page of the log that a worker asked for, in order."""
    lines = (line.split() for line in (stack.failpoints / READ).read_text().splitlines())
    return [int(index) for reader, index in lines if int(reader) == pid]


@pytest.mark.timeout(300)
async def test_too_few_decisions_say_nothing_and_enough_of_them_do(stack: Stack) -> None:
    approve, reject = event_pb2.VERDICT_APPROVE, event_pb2.VERDICT_REJECT
    await decide(stack, "document", PLAIN.format(0), approve)
    few = await evaluate(stack, "--policy", "document")
    assert "n = 1 approved + 0 rejected" in few
    assert "n is too small to say anything: at least 10 of each are needed" in few
    assert "AUC" not in few

    await asyncio.gather(*(decide(stack, "document", PLAIN.format(n), approve) for n in range(1, EACH)))
    await asyncio.gather(*(decide(stack, "document", RISKY.format(n + 1), reject) for n in range(EACH)))
    await decide(stack, "simple", PLAIN.format(1), approve)
    await cancel(stack, RISKY.format(77))
    await stack.outcome(await ask(stack, "document", HARMLESS, title="Lunch menu"))

    enough = await evaluate(stack)
    assert "n = 10 approved + 10 rejected" in enough
    assert "AUC 1.00 (95% interval" in enough
    left_out = enough[enough.index("Outcomes left out: 3") :]
    assert "1  approved by the pre-screen" in left_out
    assert "1  decided by people, but without a risk score" in left_out
    assert "1  decided by the fallback or the policy, or withdrawn" in left_out
    assert all(len(line) <= 80 for line in enough.splitlines())

    report = json.loads(await evaluate(stack, "--json"))
    assert report["leftOut"] == {"automatic": 1, "other": 1, "unscored": 1, "surplus": 0}
    (version,) = report["versions"]
    assert (version["approved"], version["rejected"], version["auc"]) == (10, 10, 1.0)
    assert report["minimum"] == 10


@pytest.mark.timeout(300)
async def test_an_evaluation_whose_worker_is_killed_goes_on_by_itself_and_says_so(stack: Stack) -> None:
    await decide(stack, "document", PLAIN.format(5), event_pb2.VERDICT_APPROVE)
    (stack.failpoints / READ).unlink(missing_ok=True)
    (stack.failpoints / HALT).touch()
    async with killed_at_the_end(await start(stack, "--json")) as process:
        await said(process, f"{PAGE} of ")
        killed = stack.pid("worker-ml")
        stack.kill("worker-ml")
        await said(process, "waiting for the ml worker")
        (stack.failpoints / HALT).unlink()
        async with asyncio.timeout(EVENTUALLY):
            output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()

    assert pages_read(stack, killed) == [0, PAGE]
    assert pages_read(stack, stack.pid("worker-ml"))[0] == PAGE
    # Nothing is missing in what was counted in two parts, nor counted twice.
    again = json.loads(await evaluate(stack, "--json"))
    assert sum(version["approved"] for version in again["versions"]) > 0
    told = json.loads(output)
    assert {part: told[part] for part in COUNTS} == {part: again[part] for part in COUNTS}
