"""The supervisor with small stub processes: order, restart, stop."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest

from placet_cli.problems import Problem
from placet_devstack import child
from placet_devstack.child import ProcessSpec, StackEvent
from placet_devstack.probes import file_exists
from placet_devstack.supervisor import Supervisor
from placet_testing.conditions import EVENTUALLY, until

pytestmark = pytest.mark.integration

# Touches its ready file, then waits for SIGTERM; notes both in a journal that all stubs share.
STUB = """
import pathlib, signal, sys, time
name, ready, journal, mode = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]
def note(what):
    with journal.open("a") as file:
        file.write(f"{name} {what}\\n")
def end(*_):
    note("ends")
    sys.exit(0)
if mode == "broken" or (mode == "mendable" and not ready.with_suffix(".mended").exists()):
    print("the disk is on fire")
    sys.exit(3)
if mode == "refusing" or (mode == "spoilt" and ready.with_suffix(".spoilt").exists()):
    note("refuses")
    print("The service cannot run: SETTING: '5x' is not a number")
    sys.exit(78)
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else end)
note("starts")
if mode == "family":
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # until it is killed
    note(f"child {child.pid}")
time.sleep(0.1)  # a start takes time, so that what needs it is seen to wait
note("is-ready")
ready.touch()
while True:
    signal.pause()
"""


class Stubs:
    """Makes stub processes below a folder, and remembers what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.events: list[StackEvent] = []
        self.script = folder / "stub.py"
        self.script.write_text(STUB)

    def spec(
        self, name: str, *, needs: tuple[str, ...] = (), mode: str = "well", stop_limit: float = 10
    ) -> ProcessSpec:
        ready = self.folder / f"{name}.ready"
        command = (sys.executable, "-I", str(self.script), name, str(ready), str(self.journal), mode)
        return ProcessSpec(
            name,
            command,
            dict(os.environ),
            self.folder / f"{name}.log",
            file_exists(ready),
            needs=needs,
            ready_file=ready,
            stop_limit=stop_limit,
        )

    def supervisor(self, *specs: ProcessSpec) -> Supervisor:
        return Supervisor(specs, report=self.events.append)

    def notes(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def told(self, name: str) -> list[str]:
        return [event.what for event in self.events if event.name == name]


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    return Stubs(tmp_path)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def test_a_process_starts_only_when_all_that_it_needs_are_ready(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(
        stubs.spec("store"),
        stubs.spec("service", needs=("store",)),
        stubs.spec("worker", needs=("service", "store")),
    )
    await supervisor.start()
    await supervisor.stop()
    assert stubs.notes()[:6] == [
        "store starts",
        "store is-ready",
        "service starts",
        "service is-ready",
        "worker starts",
        "worker is-ready",
    ]


async def test_a_process_stops_only_when_all_that_need_it_are_gone(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(
        stubs.spec("store"), stubs.spec("service", needs=("store",)), stubs.spec("worker", needs=("service",))
    )
    await supervisor.start()
    await supervisor.stop()
    assert stubs.notes()[-3:] == ["worker ends", "service ends", "store ends"]
    assert supervisor.pids == {}


async def test_a_killed_process_is_started_again_and_said_so(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("store"), stubs.spec("service", needs=("store",)))
    await supervisor.start()
    first = supervisor.pids["service"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: stubs.told("service")[-1:] == ["ready again"])
    assert supervisor.pids["service"] != first
    assert stubs.told("service") == ["ready", "died", "ready again"]
    assert "SIGKILL" in next(event.detail for event in stubs.events if event.what == "died")
    assert stubs.told("store") == ["ready"], "what it needs goes on undisturbed"
    await supervisor.stop()


async def test_a_process_that_never_starts_ends_the_start_with_its_own_last_words(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("store"), stubs.spec("service", mode="broken"))
    with pytest.raises(Problem) as caught:
        await supervisor.start()
    await supervisor.stop()
    assert "exit status 3" in caught.value.what
    assert "the disk is on fire" in caught.value.why
    assert supervisor.pids == {}


async def test_a_process_that_refuses_its_configuration_is_started_once_and_quoted(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("store"), stubs.spec("service", mode="refusing"))
    with pytest.raises(Problem) as caught:
        await supervisor.start()
    await supervisor.stop()
    assert caught.value.what == "The service cannot run: SETTING: '5x' is not a number"
    assert stubs.notes().count("service refuses") == 1
    assert stubs.told("service") == []


async def test_a_process_that_worked_and_then_refuses_its_configuration_is_tried_until_it_is_mended(
    stubs: Stubs,
) -> None:
    supervisor = stubs.supervisor(stubs.spec("service", mode="spoilt"))
    await supervisor.start()
    spoilt = stubs.folder / "service.spoilt"
    spoilt.touch()
    os.kill(supervisor.pids["service"], signal.SIGKILL)
    await until(lambda: "service refuses" in stubs.notes())
    spoilt.unlink()
    await until(lambda: stubs.told("service")[-1:] == ["ready again"])
    await supervisor.stop()


async def test_an_optional_process_that_refuses_its_configuration_is_reported_at_once(stubs: Stubs) -> None:
    witness = dataclasses.replace(stubs.spec("witness", mode="refusing"), optional=True)
    supervisor = stubs.supervisor(witness)
    await supervisor.start()
    await until(lambda: "cannot run" in stubs.told("witness"))
    assert stubs.notes().count("witness refuses") == 1
    assert "SETTING: '5x' is not a number" in stubs.events[-1].detail
    await supervisor.stop()


async def test_what_an_earlier_stack_said_is_no_reason_of_this_one(stubs: Stubs) -> None:
    (stubs.folder / "service.log").write_text("the disk is full\n")
    supervisor = stubs.supervisor(stubs.spec("service", mode="broken"))
    with pytest.raises(Problem) as caught:
        await supervisor.start()
    await supervisor.stop()
    assert caught.value.why == "the disk is on fire"


async def test_a_process_that_says_nothing_is_not_spoken_for_by_an_earlier_stack(stubs: Stubs) -> None:
    (stubs.folder / "service.log").write_text("the disk is full\n")
    silent = dataclasses.replace(stubs.spec("service"), command=(sys.executable, "-c", "raise SystemExit(1)"))
    supervisor = stubs.supervisor(silent)
    with pytest.raises(Problem) as caught:
        await supervisor.start()
    await supervisor.stop()
    assert caught.value.why == "it wrote nothing to its log"


async def test_a_program_that_does_not_exist_ends_the_start_with_words(stubs: Stubs) -> None:
    missing = dataclasses.replace(stubs.spec("service"), command=("/no/such/program",))
    supervisor = stubs.supervisor(missing)
    with pytest.raises(Problem, match="could not be started"):
        await supervisor.start()
    await supervisor.stop()


async def test_an_optional_process_that_cannot_run_holds_nobody_up_and_is_tried_until_it_can(
    stubs: Stubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "AWAY_PAUSE", 0.1)
    witness = dataclasses.replace(stubs.spec("witness", mode="mendable"), optional=True)
    supervisor = stubs.supervisor(stubs.spec("store"), witness, stubs.spec("worker", needs=("store",)))
    await supervisor.start()
    assert supervisor.ready("worker")
    assert not supervisor.ready("witness")
    await until(lambda: "cannot run" in stubs.told("witness"))
    away = next(event for event in stubs.events if event.what == "cannot run")
    assert away.bad
    assert "the disk is on fire" in away.detail
    (stubs.folder / "witness.mended").touch()
    await until(lambda: supervisor.ready("witness"))
    assert stubs.told("witness") == ["died", "died", "died", "cannot run", "ready"]
    assert stubs.told("store") == stubs.told("worker") == ["ready"]
    await supervisor.stop()
    assert supervisor.pids == {}


async def test_a_stack_is_ready_when_its_optional_process_is_or_has_died(stubs: Stubs) -> None:
    witness = dataclasses.replace(stubs.spec("witness", needs=("store",)), optional=True)
    supervisor = stubs.supervisor(stubs.spec("store"), witness)
    await supervisor.start()
    assert supervisor.ready("witness")
    await supervisor.stop()


async def test_an_optional_process_that_does_not_exist_holds_nobody_up(stubs: Stubs) -> None:
    missing = dataclasses.replace(stubs.spec("witness"), command=("/no/such/program",), optional=True)
    supervisor = stubs.supervisor(stubs.spec("store"), missing)
    await supervisor.start()
    assert supervisor.ready("store")
    await supervisor.stop()


def test_a_process_that_needs_an_optional_one_is_refused(stubs: Stubs) -> None:
    optional = dataclasses.replace(stubs.spec("witness"), optional=True)
    with pytest.raises(ValueError, match="witness"):
        stubs.supervisor(optional, stubs.spec("service", needs=("witness",)))


async def test_a_process_that_ignores_the_stop_is_killed_after_its_limit(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("deaf", mode="deaf", stop_limit=0.3))
    await supervisor.start()
    pid = supervisor.pids["deaf"]
    await supervisor.stop()
    assert not alive(pid)
    assert stubs.told("deaf")[-1] == "killed"


async def test_what_a_process_started_itself_does_not_outlive_it(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("parent", mode="family"))
    await supervisor.start()
    child = int(next(note for note in stubs.notes() if "child" in note).split()[-1])
    assert alive(child)
    await supervisor.stop()
    await until(lambda: not alive(child))


async def test_a_kill_ends_everything_at_once(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(
        stubs.spec("deaf", mode="deaf", stop_limit=3600), stubs.spec("other", needs=("deaf",))
    )
    await supervisor.start()
    pids = list(supervisor.pids.values())
    stopping = asyncio.create_task(supervisor.stop())
    await until(lambda: "stopped" in stubs.told("other"))
    supervisor.kill()
    # Without the kill it would take the whole hour.
    await asyncio.wait_for(stopping, EVENTUALLY)
    assert not any(alive(pid) for pid in pids)


async def test_a_stop_while_things_still_start_leaves_nothing_behind(stubs: Stubs) -> None:
    supervisor = stubs.supervisor(stubs.spec("store"), stubs.spec("service", needs=("store",)))
    starting = asyncio.create_task(supervisor.start())
    await until(lambda: "store starts" in stubs.notes())
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await supervisor.stop()
    assert supervisor.pids == {}
    assert "service starts" not in stubs.notes()


def test_a_process_that_needs_an_unknown_one_is_refused(stubs: Stubs) -> None:
    with pytest.raises(ValueError, match="nobody"):
        stubs.supervisor(stubs.spec("service", needs=("nobody",)))
