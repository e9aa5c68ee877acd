"""One home and one set of ports belong to one stack; who holds them is said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from placet_cli.home import HOST, Home, Ports
from placet_cli.problems import Problem
from placet_devstack.home_lock import claimed, end_leftovers
from placet_devstack.ports import check_ports, free_base
from placet_devstack.process_table import Holder
from placet_devstack.state import StackState, write_state

BASE = free_base(27_000)


def bystander() -> subprocess.Popen[bytes]:
    """A process that leads its own group and waits."""
    command = [sys.executable, "-c", "input()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


@pytest.mark.integration
def test_a_taken_port_is_reported_with_its_process_and_another_base(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, Ports(BASE).all["audit"]))
        taken.listen()
        with pytest.raises(Problem) as caught:
            check_ports(home, Ports(BASE))
    assert str(BASE + 1) in caught.value.what
    assert "audit" in caught.value.what
    assert str(os.getpid()) in caught.value.why
    beside, stop = caught.value.tries
    assert f"--port-base {free_base(BASE)}" in beside
    assert f"kill {os.getpid()}" in stop


@pytest.mark.integration
@pytest.mark.parametrize("part_of_it", [True, False])
def test_another_placet_is_one_whose_home_knows_the_process_and_not_whoever_was_told_of_a_home(
    home: Home, tmp_path: Path, part_of_it: bool
) -> None:
    other, port = Home.at(tmp_path / "other"), Ports(BASE).all["audit"]
    other.prepare()
    listen = f"import socket; one = socket.create_server(({HOST!r}, {port})); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", listen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PLACET_HOME": str(other.path)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        if part_of_it:
            write_state(other, BASE, {"audit": holder.pid})
        with pytest.raises(Problem) as caught:
            check_ports(home, Ports(BASE))
        holder.kill()
    assert ("another Placet" in caught.value.what) is part_of_it


@pytest.mark.integration
def test_free_ports_are_accepted(home: Home) -> None:
    check_ports(home, Ports(free_base(BASE)))


@pytest.mark.integration
def test_a_home_belongs_to_one_stack_at_a_time(home: Home) -> None:
    with claimed(home):
        write_state(home, BASE, {})
        with pytest.raises(Problem) as caught, claimed(home):
            pass
    assert "already runs" in caught.value.what
    assert str(os.getpid()) in caught.value.why
    assert (
        caught.value.addressed(stack=("--port-base 1",), identity=None)
        .tries[0]
        .startswith(f"placet list --home {home.path} --port-base {BASE}  (")
    )
    assert any(
        step.startswith("placet down ") and f"--port-base {BASE}" in step for step in caught.value.tries
    )


@pytest.mark.integration
def test_the_second_stack_that_is_proposed_has_a_home_of_its_own(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    second = Home.at(Path(".placet-2"))
    second.prepare()
    write_state(second, BASE + 100, {})
    with claimed(home):
        write_state(home, BASE, {})
        with pytest.raises(Problem) as caught, claimed(home):
            pass
    assert "--home .placet-3 " in caught.value.tries[-1]


def test_a_lock_file_that_a_killed_stack_left_behind_does_not_matter(home: Home) -> None:
    home.lock.write_text("")
    home.state.write_text(
        json.dumps(
            {
                "pid": 999_999_999,
                "created": 1.0,
                "port_base": BASE,
                "processes": {},
                "phase": "up",
                "ready": [],
                "parts": 0,
            }
        )
    )
    with claimed(home):
        state = StackState.read(home)
        assert state is not None
        assert not state.alive


@pytest.mark.integration
def test_what_a_killed_supervisor_left_running_is_ended(home: Home) -> None:
    with bystander() as left:
        write_state(home, BASE, {"audit": left.pid})
        assert end_leftovers(home) == ["audit"]
        assert Holder.of(left.pid) is None


@pytest.mark.integration
def test_a_later_process_with_the_same_id_is_left_alone(home: Home) -> None:
    with bystander() as other:
        write_state(home, BASE, {"audit": other.pid})
        state = json.loads(home.state.read_text())
        state["processes"]["audit"]["created"] -= 100
        home.state.write_text(json.dumps(state))
        assert end_leftovers(home) == []
        assert Holder.of(other.pid) is not None
        other.kill()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "created": 0, "port_base": 1, "processes": [1]}']
)
def test_a_torn_state_file_is_as_good_as_none(home: Home, text: str) -> None:
    home.state.write_text(text)
    assert StackState.read(home) is None


def test_a_home_that_cannot_be_written_to_is_a_problem_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem) as caught:
        Home.at(tmp_path / "file" / "home").prepare()
    assert caught.value.tries


@pytest.mark.parametrize("base", [0, 80, 65_530])
def test_a_port_base_without_room_is_refused(base: int) -> None:
    with pytest.raises(Problem):
        Ports(base)
