"""The guard sees what it is there to see, and leaves the rest alone."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from guard import MOST_LINES, complaints

SOURCE = PurePosixPath("services/audit/src/placet_audit/store.py")
# In halves, so that the guard does not find in its own test what it looks for.
HASH = "#"


def found(text: str, path: PurePosixPath = SOURCE) -> list[str]:
    return list(complaints(path, text))


@pytest.mark.parametrize(
    "text",
    [
        "url = 'https://py" + "pi.org/simple'",
        "see files.python" + "hosted.org",
        "path = '/ho" + "me/somebody/placet'",
        "cd /wo" + "rk/main",
        "open('/tm" + "p/x')",
    ],
)
def test_hosts_and_machine_paths_are_found_in_any_file(text: str) -> None:
    assert len(found(text, PurePosixPath("docs/x.md"))) == 1


@pytest.mark.parametrize(
    "text", ["$HOME/placet", "the framework/main loop", "https://example.com/home/page", "deploy/tmp/x"]
)
def test_other_paths_are_left_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "comment",
    [
        "noqa",
        "noqa: S101",
        "type: ignore",
        "type: ignore[attr-defined]",
        "type: ignore  # its stubs are wrong",
        "noqa  # because",
        "ruff: noqa",
    ],
)
def test_a_check_switched_off_without_code_or_reason_is_found(comment: str) -> None:
    assert len(found(f"x = 1  {HASH} {comment}")) == 1


@pytest.mark.parametrize(
    "comment",
    [
        "noqa: BLE001  # the boundary: everything becomes INTERNAL",
        "type: ignore[no-untyped-call]  # the library has no types",
        "type: ignore[misc]  # noqa: S101  # both, for one reason",
        "noqa: A002, ARG001 - the protocol names it so",
    ],
)
def test_a_check_switched_off_by_code_and_with_a_reason_is_accepted(comment: str) -> None:
    assert found(f"x = 1  {HASH} {comment}") == []


def test_a_python_file_may_have_so_many_lines_and_no_more() -> None:
    assert found("x = 1\n" * MOST_LINES) == []
    assert len(found("x = 1\n" * (MOST_LINES + 1))) == 1


def test_a_reminder_without_an_owner_is_found() -> None:
    assert len(found(f"{HASH} TO" + "DO later")) == 1


def test_only_the_rpc_library_may_know_a_grpc_status() -> None:
    text = "if error.code() is grpc.Status" + "Code.NOT_FOUND: ..."
    assert len(found(text)) == 1
    assert found(text, PurePosixPath("libs/rpc/src/placet_rpc/status.py")) == []
    assert found(text, PurePosixPath("services/audit/tests/test_audit_door.py")) == []
    assert found("from opentelemetry.trace import Status" + "Code") == []
