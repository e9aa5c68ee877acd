"""Options are read as they are meant, or it is said how to write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from placet_cli.option_parsers import address_of, assignments_of, deadline_of, facts_of, past_of
from placet_cli.problems import Problem, WrongInput
from placet_cli.session import Session


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of Berlin, by its rule, so that no database of zones is needed."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("given", "why", "times"),
    [
        ("2030-03-31T02:30", "does not exist", ["2030-03-31T01:30:00+01:00", "2030-03-31T03:30:00+02:00"]),
        ("2030-10-27T02:30", "exists twice", ["2030-10-27T02:30:00+02:00", "2030-10-27T02:30:00+01:00"]),
    ],
)
def test_an_hour_that_is_missing_or_double_is_refused_with_what_may_be_meant(
    given: str, why: str, times: list[str]
) -> None:
    for option, read in (("--deadline", deadline_of), ("--since", lambda text: past_of("--since", text))):
        with pytest.raises(Problem, match=why) as told:
            read(given)
        assert list(told.value.tries) == [f"{option} {one}" for one in times]
    assert [deadline_of(one) for one in times] == [datetime.fromisoformat(one) for one in times]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("given", "hour"), [("2030-03-31T01:59", 0), ("2030-03-31T03:00", 1), ("2030-10-27T03:00", 2)]
)
def test_every_other_hour_is_taken_as_local(given: str, hour: int) -> None:
    read = deadline_of(given)
    assert read is not None
    assert read.astimezone(UTC).hour == hour


@pytest.mark.parametrize(
    ("address", "letter", "instead"),
    [
        ("bob@müller.example", "U+00FC LATIN SMALL LETTER U WITH DIAERESIS", "bob@xn--mller-kva.example"),
        ("jürgen@example.com", "U+00FC LATIN SMALL LETTER U WITH DIAERESIS", ""),
        ("p\u0430m@example.com", "U+0430 CYRILLIC SMALL LETTER A", ""),
        ("bob@example.com\u200b", "U+200B ZERO WIDTH SPACE", ""),
    ],
)
def test_an_address_in_other_letters_is_refused_by_the_letter(
    tmp_path: Path, address: str, letter: str, instead: str
) -> None:
    refused = (
        lambda: address_of("--approver", address),
        lambda: assignments_of([], [], [f"legal={address}"]),
        lambda: Session.of(tmp_path, None, address, json=False),
    )
    for call in refused:
        with pytest.raises(Problem) as told:
            call()
        assert told.value.what.endswith(f"not an e-mail address in ASCII letters: it holds {letter}")
        assert instead in told.value.tries[0]


def test_an_address_in_ascii_letters_is_left_as_it_is() -> None:
    assert address_of("--approver", "bob+x@example.com") == "bob+x@example.com"
    assert assignments_of([], [], ["legal=a@example.com, b@example.com"]) == {
        "legal": ["a@example.com", "b@example.com"]
    }


def test_facts_are_given_by_name_each_once() -> None:
    assert facts_of(["kind=payment", "amount=120 EUR"]) == {"kind": "payment", "amount": "120 EUR"}
    for wrong in (["kind"], ["=payment"], ["kind="], ["kind=a", "kind=b"]):
        with pytest.raises(WrongInput, match="--fact"):
            facts_of(wrong)
