"""A newcomer's first commands on the real stack: `placet up` in one terminal, all others in another."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from placet_cli.home import Home, Ports
from placet_devstack.doctor import SILENT_SECONDS
from placet_devstack.probes import polled
from placet_devstack.process_table import Holder
from placet_devstack.state import StackState
from placet_testing.command import placet
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.ports import free_port_base
from placet_testing.stack import ALICE, BOB

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Terminals:
    """One that runs the stack, and any number of others."""

    home: Path
    port_base: int
    up: asyncio.subprocess.Process

    async def placet(self, *arguments: str, status: int = 0) -> str:
        """Output of a command; its standard error, where it must fail."""
        finished = await asyncio.to_thread(
            placet, *arguments, home=self.home, cwd=ROOT, env={"NO_COLOR": "1", "COLUMNS": "80"}
        )
        assert finished.returncode == status, finished.stderr
        return finished.stderr or finished.stdout if status else finished.stdout

    async def answer(self, *arguments: str) -> dict[str, object]:
        """The same as JSON."""
        parsed: dict[str, object] = json.loads(await self.placet(*arguments, "--json"))
        return parsed


async def start(
    home: Path, *arguments: str, keyboard: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """A command as a user starts it."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "placet_cli.main", *arguments),
        env=outside | {"PLACET_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "80"},
        stdin=keyboard,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """Output of a process up to a line that holds `text`."""
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(EVENTUALLY):
        while text not in seen:
            line = (await process.stdout.readline()).decode()
            assert line, f"it ended without {text!r}:\n{seen}"
            seen += line
    return seen


@pytest.fixture(scope="module")
async def terminals(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Terminals]:
    """A stack that runs as users run it."""
    home, port_base = tmp_path_factory.mktemp("newcomer"), free_port_base()
    running = Terminals(home, port_base, await start(home, "up", "--port-base", str(port_base)))
    try:
        said = await read_until(running.up, "For programs:")
        assert all(len(line) <= 80 or "/" in line for line in said.splitlines())
        yield running
    finally:
        # The one that runs by now: a test may have stopped the first and started another.
        if running.up.returncode is None:
            running.up.send_signal(signal.SIGINT)
        # Read on, or it would wait for room to write.
        await running.up.communicate()


async def test_a_payment_goes_from_request_to_trace(terminals: Terminals) -> None:
    placet = terminals.placet
    asked = await placet(
        *("request", "examples/payment.md", "--policy", "document", "--priority", "high"),
        *("--approver", ALICE, "--manager", BOB, "--subject", "payment-4711", "--label", "team=payments"),
    )
    assert f"Waiting for {ALICE}" in asked
    approval_id = asked.splitlines()[1]
    assert f"placet decide {approval_id[:8]} approve --as {ALICE}" in asked

    read = await placet("show", approval_id[:8], "--content", "--as", ALICE)
    assert read.strip() == (ROOT / "examples" / "payment.md").read_text().strip()
    assert "no request" in await placet("show", approval_id, "--content", "--as", "eve@example.com", status=1)

    assert "four eyes" in await placet("decide", approval_id, "approve", status=1)
    assert "Only those who were asked" in await placet(
        "decide", approval_id, "approve", "--as", BOB, status=1
    )
    needs_reason = await placet("decide", approval_id[:8], "reject", "--as", ALICE, status=1)
    assert f"placet decide {approval_id[:8]} reject --reason" in needs_reason

    decided = await placet("decide", approval_id[:8], "approve", "--as", ALICE, "--reason", "Seen the letter")
    assert decided.strip() == f"Approved by {ALICE}."
    assert f"approved by {ALICE}" in await placet(
        "decide", approval_id, "reject", "--reason", "no", "--as", ALICE, status=1
    )

    shown = await placet("show", approval_id[:8])
    for part in (
        f"Approved by {ALICE}.",
        "“Seen the letter”",
        "payment-4711",
        "pre-screened",
        "said yes",
        "closed",
    ):
        assert part in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert (await terminals.answer("show", approval_id))["approvalId"] == approval_id

    async def traced() -> str | None:
        drawn = await placet("trace", approval_id)
        return drawn if "wait for approver" in drawn else None

    drawn = await until(traced, "the wait's span is stored", EVENTUALLY)
    for service in ("placet-cli", "approval", "audit", "worker-default"):
        assert service in drawn


async def test_a_safe_document_is_answered_while_its_caller_waits(terminals: Terminals) -> None:
    answer = await terminals.answer(
        *("request", "examples/lunch-menu.txt", "--policy", "document", "--wait"),
        *("--approver", ALICE, "--manager", BOB),
    )
    assert answer["state"] == "STATE_APPROVED"
    assert isinstance(answer["outcome"], dict)
    assert answer["outcome"]["approver"] == "AI-Auto-Approved"


async def test_lists_mails_the_log_and_a_watch_tell_of_a_request(terminals: Terminals) -> None:
    asked = await terminals.answer("request", "examples/typo-fix.diff", "--approver", ALICE)
    approval_id = str(asked["approvalId"])

    async def told() -> str | None:
        mail = await terminals.placet("mail", "--latest", "--to", ALICE)
        return mail if approval_id in mail else None

    mail = await until(told, "alice is told", EVENTUALLY)
    watching = await start(terminals.home, "watch", approval_id[:8])
    await read_until(watching, "asked")
    command = next(line for line in mail.splitlines() if f"decide {approval_id} approve" in line)
    await terminals.placet(*command.split()[1:])
    assert "APPROVED" in await read_until(watching, "closed")
    assert await watching.wait() == 0

    mine = await terminals.answer("list", "--state", "approved", "--limit", "3")
    assert isinstance(mine["approvals"], list)
    assert approval_id in [one["approvalId"] for one in mine["approvals"]]
    assert approval_id[:8] in await terminals.placet("list")
    tail = await terminals.placet("audit", "tail", "--no-follow")
    assert f"{approval_id[:8]} {ALICE}" in tail
    entries = [
        json.loads(line)
        for line in (await terminals.placet("audit", "tail", "--no-follow", "--json")).splitlines()
    ]
    assert entries[-1]["entry"]["tenant"] == "default"


async def test_an_auditor_gets_receipts_and_an_export_and_verifies_all_of_it(
    terminals: Terminals, tmp_path: Path
) -> None:
    asked = await terminals.answer("request", "examples/typo-fix.diff", "--approver", ALICE)
    approval_id, receipt, log = (
        str(asked["approvalId"]),
        str(tmp_path / "receipt.json"),
        str(tmp_path / "log.jsonl"),
    )

    async def decided() -> bool:
        process = await start(terminals.home, "decide", approval_id, "approve", "--as", ALICE)
        return await process.wait() == 0

    await until(decided, "alice decides", EVENTUALLY)
    said = await terminals.placet("audit", "receipt", approval_id[:8], "-o", receipt, "--as", ALICE)
    assert said == ""  # what it holds is said on standard error
    told = await terminals.placet("audit", "verify-receipt", receipt)
    assert told.startswith(f"Approved by {ALICE} at ")
    assert "decided on this content" in told
    assert "✓ Proven, by the key of this home" in told
    assert "all good" in await terminals.placet("audit", "verify")
    await terminals.placet("audit", "export", "-o", log)
    assert "all good" in await terminals.placet("audit", "verify", "--export", log)


async def test_a_request_can_be_withdrawn_and_sent_twice_without_harm(terminals: Terminals) -> None:
    key = "11111111-2222-4333-8444-555555555555"
    request = ("request", "examples/typo-fix.diff", "--approver", ALICE, "--request-id", key)
    first, second = await terminals.answer(*request), await terminals.answer(*request)
    assert first["approvalId"] == second["approvalId"]
    other = await terminals.placet(*request[:1], "examples/lunch-menu.txt", *request[2:], status=1)
    assert "was used for another request" in other
    assert "Cancelled by you@localhost" in await terminals.placet(
        "cancel", str(first["approvalId"]), "--reason", "found it"
    )


async def test_a_closed_request_is_erased_when_it_is_meant_and_says_so(terminals: Terminals) -> None:
    placet = terminals.placet
    asked = await terminals.answer("request", "examples/typo-fix.diff", "--approver", ALICE, "--label", "a=b")
    approval_id = str(asked["approvalId"])
    erase = ("erase", approval_id[:8], "--reason", "she asked for it", "--before-retention")
    assert "only a closed one" in await placet(*erase, "--yes", status=1)
    await placet("decide", approval_id, "approve", "--reason", "Reads well", "--as", ALICE)

    assert "must be kept until" in await placet(*erase[:-1], "--yes", status=1)
    assert "--yes" in await placet(*erase, status=1)
    assert "may not do this" in await placet(*erase, "--yes", "--as", ALICE, status=1)
    goes = await terminals.answer(*erase, "--dry-run")
    assert (goes["labels"], goes["erased"]) == (1, False)
    assert "must be kept" not in await typed(terminals, "n", *erase, status=1)
    assert "“Reads well”" in await placet("show", approval_id)

    assert "Erased on" in await typed(terminals, "y", *erase)

    shown = await placet("show", approval_id)
    assert "by you@localhost: she asked for it" in shown
    assert "Approved by (erased)." in shown
    assert not any(word in shown for word in (ALICE, "Reads well", "typo", "a=b"))
    assert "was erased on" in await placet("show", approval_id, "--content", status=1)
    tail = await placet("audit", "tail", "--no-follow", "--about", approval_id)
    assert f"erased         {goes['values']} values, for good: she asked for it" in tail
    # That she was refused at the door is the tenant's own entry, which stays.
    assert [line for line in tail.splitlines() if ALICE in line and "access refused" not in line] == []
    assert (await terminals.answer(*erase, "--yes"))["values"] == goes["values"]


async def typed(terminals: Terminals, answer: str, *arguments: str, status: int = 0) -> str:
    """Output of a command whose question is answered at a keyboard."""
    keyboard, plugged_in = pty.openpty()
    process = await start(terminals.home, *arguments, keyboard=plugged_in)
    os.close(plugged_in)
    os.write(keyboard, f"{answer}\n".encode())
    output, errors = await process.communicate()
    os.close(keyboard)
    assert process.returncode == status, errors.decode()
    before, question, _ = errors.decode().partition("Erase it for good? [y/N]")
    assert question
    assert "PLACET_NOTIFICATION_KEEP_DAYS" in before
    return output.decode()


BAD = [
    (("request", "examples/lunch-menu.txt", "--policy", "nosuch", "--approver", ALICE), "no policy"),
    (("request", "examples/lunch-menu.txt", "--policy", "escalating", "--approver", ALICE), "manager"),
    (("request", "examples/lunch-menu.txt", "--approver", ALICE, "--deadline", "2001-01-01"), "deadline"),
    (("show", "11111111-1111-1111-1111-111111111111"), "no request"),
    (("show", "ffffffff"), "begins with"),
    (("mail", "4000"), "no such mail"),
    (("audit", "tail", "--from", "10000000"), "does not reach"),
]
# Refused before anything is sent.
WRONG = [
    (("request", "examples/lunch-menu.txt", "--approver", "alice"), "--approver alice is not an e-mail"),
    (("request", "examples/lunch-menu.txt", "--approver", ALICE, "--deadline", "soon"), "no time"),
    (("request", "examples/lunch-menu.txt", "--approver", ALICE, "--label", "x"), "KEY=VALUE"),
    (("show", "nonsense!"), "is not a request's id"),
]


@pytest.mark.parametrize(
    ("arguments", "why", "status"),
    [*((*one, 1) for one in BAD), *((*one, 2) for one in WRONG)],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_bad_input_is_answered_with_what_and_the_next_step(
    terminals: Terminals, arguments: tuple[str, ...], why: str, status: int
) -> None:
    said = await terminals.placet(*arguments, status=status)
    assert why in said
    assert said.startswith("✗ ")
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize(
    ("arguments", "choice"),
    [
        (("request", "examples/lunch-menu.txt", "--approver", ALICE, "--priority", "soon"), "urgent"),
        (("list", "--state", "odd"), "pending"),
    ],
    ids=("priority", "state"),
)
async def test_a_word_that_is_no_choice_is_answered_with_the_choices(
    terminals: Terminals, arguments: tuple[str, ...], choice: str
) -> None:
    said = await terminals.placet(*arguments, status=2)
    assert f"'{choice}'" in said
    assert f"placet {arguments[0]} --help" in said


async def test_an_evaluation_runs_and_says_how_few_there_are(terminals: Terminals) -> None:
    assert "entries of the log" in await terminals.placet("models", "evaluate")
    assert (await terminals.answer("models", "evaluate"))["tenant"] == "default"


async def test_doctor_finds_a_running_stack_well(terminals: Terminals) -> None:
    said = await terminals.placet("doctor")
    assert "✗" not in said
    for name in ("temporal", "approval", "worker-ml"):
        assert name in said


async def test_doctor_knows_of_every_worker_when_it_last_asked_for_work(terminals: Terminals) -> None:
    asked = await polled(Ports(terminals.port_base).address("temporal"))
    assert set(asked) == {"default", "openai", "ml"}
    assert all(-5 < seconds < SILENT_SECONDS for seconds in asked.values())


async def test_a_second_stack_on_the_same_home_or_ports_is_told_whose_they_are(
    terminals: Terminals, tmp_path: Path
) -> None:
    state = StackState.read(Home.at(terminals.home))
    assert state is not None
    said = await terminals.placet("up", status=1)
    assert f"process {state.pid}" in said
    assert "placet down --home" in said
    said = await terminals.placet(
        "up", "--home", str(tmp_path / "other"), "--port-base", str(terminals.port_base), status=1
    )
    assert f"port {terminals.port_base}" in said
    assert "--port-base" in said.partition("Try:")[2]


async def test_a_decision_not_processed_yet_says_so_and_how_to_ask_again(
    terminals: Terminals,
) -> None:
    asked = await terminals.answer(
        *("request", "examples/typo-fix.diff", "--approver", ALICE, "--deadline", "2 days")
    )
    state = StackState.read(Home.at(terminals.home))
    assert state is not None
    worker = state.processes["worker-default"].pid

    async def waits() -> bool:
        return f"Waiting for {ALICE}, until" in await terminals.placet("show", str(asked["approvalId"]))

    await until(waits, "alice is asked", EVENTUALLY)
    os.kill(worker, signal.SIGSTOP)
    try:
        decision = ("decide", str(asked["approvalId"]), "reject", "--reason", "it's wrong", "--as", ALICE)
        told = await terminals.placet(*decision, status=3)
        assert "suspended" in await terminals.placet("doctor", status=1)
    finally:
        os.kill(worker, signal.SIGCONT)
    again = next(line for line in told.splitlines() if "--command-id" in line)
    assert "--as" in again

    async def processed() -> bool:
        process = await start(terminals.home, *shlex.split(again)[1:])
        output, _ = await process.communicate()
        return process.returncode == 0 and f"Rejected by {ALICE}" in output.decode()

    await until(processed, "the same command again is processed", EVENTUALLY)


# The last one, because it ends the stack.
async def test_one_ctrl_c_stops_all_of_it_and_what_waits_goes_on(terminals: Terminals) -> None:
    asked = await terminals.answer("request", "examples/typo-fix.diff", "--approver", ALICE)
    home = Home.at(terminals.home)
    state = StackState.read(home)
    assert state is not None
    terminals.up.send_signal(signal.SIGINT)
    output, errors = await terminals.up.communicate()
    assert terminals.up.returncode == 0, errors.decode()
    assert "killed" not in output.decode()
    assert [name for name, one in state.processes.items() if Holder.of(one.pid) == one] == []
    assert not home.state.exists()

    terminals.up = await start(terminals.home, "up", "--fast", "--port-base", str(terminals.port_base))
    await read_until(terminals.up, "For programs:")
    decided = await terminals.placet("decide", str(asked["approvalId"]), "approve", "--as", ALICE)
    assert decided.strip() == f"Approved by {ALICE}."
