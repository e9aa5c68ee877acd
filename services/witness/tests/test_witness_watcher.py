"""The watch: what is cosigned, what raises an alarm, and what ends one."""

from __future__ import annotations

import json
import logging
import shutil
import stat
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet_proof import Note, VerifierKey
from placet_proof.signer import signed, verifier_key
from placet_witness.domain import Alarm, Kind
from placet_witness.keys import as_lines
from placet_witness.status import Status

# Types of conftest, which tests cannot import by name.
FakeLog = Any
Watched = Any
Witness = Any

NOW = 1_700_000_000


def alarm_of(witness: Witness) -> Kind | None:
    """The alarm that is on."""
    alarm: Alarm | None = witness.status.alarm
    return None if alarm is None else alarm.kind


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level and record.name.startswith("placet_witness")
    ]


async def witnessed(watched: Watched) -> str:
    """Looks once without an alarm; returns the checkpoint in the folder."""
    with watched.witness() as witness:
        await witness.look()
        assert alarm_of(witness) is None
    return str(watched.text("checkpoint"))


async def test_a_look_keeps_what_the_log_signed_with_the_cosignature_and_the_keys(watched: Watched) -> None:
    with watched.witness() as witness:
        await witness.look()
    note = Note.parse(watched.text("checkpoint"))
    witness_key = VerifierKey.parse((watched.path / "witness.vkey").read_text())
    log_key = VerifierKey.parse(watched.text("keys"))
    assert note.verified([witness_key, log_key]) == {witness_key: NOW, log_key: None}
    assert log_key == watched.log.vkey()
    assert note.checkpoint == watched.log.checkpoint_now
    assert stat.S_IMODE(watched.path.stat().st_mode) == 0o700
    standing = Status.parse((watched.path / "status.json").read_text())
    assert standing == witness.status
    assert (standing.origin, standing.size, standing.alarm) == ("placet.test/default", 3, None)
    assert standing.last_look == standing.last_success is not None


async def test_signatures_of_strangers_are_not_kept(watched: Watched) -> None:
    stranger = Ed25519PrivateKey.generate()
    watched.log.lines = signed(watched.log.checkpoint_now.text, stranger, "stranger.test")
    note = Note.parse(await witnessed(watched))
    assert [name for name, _, _ in note.signatures] == ["placet.test/default", "witness.test"]


async def test_a_log_that_grows_is_cosigned_again_and_again(watched: Watched) -> None:
    with watched.witness() as witness:
        for count in (0, 1, 5, 40, 0):
            watched.log.grow(count)
            await witness.look()
            assert Note.parse(watched.text("checkpoint")).checkpoint == watched.log.checkpoint_now
            assert witness.status.size == len(watched.log.leaves)
    with watched.witness() as another:
        watched.log.grow(7)
        await another.look()
        assert another.status.size == 56


async def test_a_log_that_stands_still_keeps_its_first_cosignature(watched: Watched) -> None:
    first = await witnessed(watched)
    with watched.witness(clock=lambda: NOW + 5.0) as witness:
        await witness.look()
    assert watched.text("checkpoint") == first


async def test_an_empty_log_is_witnessed_and_may_grow(watched: Watched) -> None:
    watched.log.roll_back(0)
    with watched.witness() as witness:
        await witness.look()
        assert witness.status.size == 0
        watched.log.grow(4)
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (4, None)


def roll_back(log: FakeLog) -> None:
    log.roll_back(2)


def empty(log: FakeLog) -> None:
    log.roll_back(0)


def another_root(log: FakeLog) -> None:
    log.roll_back(2)
    log.grow(1, "another")


def another_path(log: FakeLog) -> None:
    log.roll_back(2)
    log.grow(9, "another")


def another_beginning(log: FakeLog) -> None:
    log.roll_back(0)
    log.grow(3, "another")
    log.grow(2)


HOW = [
    (roll_back, Kind.ROLLBACK),
    (empty, Kind.ROLLBACK),
    (another_root, Kind.FORK),
    (another_path, Kind.FORK),
    (another_beginning, Kind.FORK),
]


@pytest.mark.parametrize(("go_back", "kind"), HOW)
async def test_a_log_that_goes_back_on_what_it_signed_is_found_though_it_signs_with_its_own_key(
    watched: Watched, caplog: pytest.LogCaptureFixture, go_back: Any, kind: Kind
) -> None:
    good = await witnessed(watched)
    honest = list(watched.log.leaves)
    with watched.witness() as witness:
        go_back(watched.log)
        wrong = watched.log.note
        await witness.look()
        assert alarm_of(witness) is kind
        # Nothing that it says later mends that.
        watched.log.leaves = honest
        watched.log.grow(1)
        await witness.look()
        assert alarm_of(witness) is kind
    assert watched.text("checkpoint") == good
    assert json.loads(watched.text("alarm"))["note"] == wrong
    Note.parse(wrong).verified([VerifierKey.parse(watched.text("keys"))])
    assert [line.split()[0] for line in said(caplog, logging.ERROR)] == [kind]
    assert said(caplog, logging.INFO) == []


@pytest.mark.parametrize(("go_back", "kind"), HOW)
async def test_what_a_log_did_is_remembered_by_the_next_witness_and_ends_by_an_operator_alone(
    watched: Watched, go_back: Any, kind: Kind
) -> None:
    good = await witnessed(watched)
    honest = list(watched.log.leaves)
    with watched.witness() as witness:
        go_back(watched.log)
        await witness.look()
    (watched.path / "status.json").unlink()
    watched.log.leaves = [*honest, honest[0]]
    with watched.witness() as witness:
        assert alarm_of(witness) is kind
        await witness.look()
        assert alarm_of(witness) is not None
    assert watched.text("checkpoint") == good
    # The operator found that the log did not lose anything.
    (watched.path / "placet.test_default.alarm").unlink()
    with watched.witness() as witness:
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (4, None)
    # Or that it did, and goes on from what is left.
    go_back(watched.log)
    shutil.rmtree(watched.path)
    with watched.witness() as witness:
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (len(watched.log.leaves), None)


async def test_an_operator_who_removes_the_alarm_alone_does_not_make_a_fork_good(watched: Watched) -> None:
    await witnessed(watched)
    another_path(watched.log)
    for _ in range(2):
        with watched.witness() as witness:
            await witness.look()
            assert alarm_of(witness) is Kind.FORK
        (watched.path / "placet.test_default.alarm").unlink()


async def test_a_root_that_no_empty_log_has_is_a_fork_at_first_sight(watched: Watched) -> None:
    text = watched.log.checkpoint_now.text.replace("\n3\n", "\n0\n")
    watched.log.lie = text + "\n" + signed(text, watched.log.keys[0], watched.log.origin)
    with watched.witness() as witness:
        await witness.look()
        assert alarm_of(witness) is Kind.FORK
    assert watched.text("checkpoint") == ""


def stranger_signs(log: FakeLog) -> None:
    log.keys = [Ed25519PrivateKey.generate()]


def nobody_signs(log: FakeLog) -> None:
    log.keys = []


def not_a_note(log: FakeLog) -> None:
    log.lie = log.note.replace("\n\n", "\n")


def another_speaks(log: FakeLog) -> None:
    log.origin = "placet.test/other"


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (stranger_signs, Kind.BAD_SIGNATURE),
        (nobody_signs, Kind.BAD_SIGNATURE),
        (not_a_note, Kind.BAD_SIGNATURE),
        (another_speaks, Kind.BAD_SIGNATURE),
    ],
)
async def test_what_no_known_key_signed_is_an_alarm_until_one_does_again(
    watched: Watched, caplog: pytest.LogCaptureFixture, spoil: Any, kind: Kind
) -> None:
    caplog.set_level(logging.INFO)
    good = await witnessed(watched)
    origin, keys = watched.log.origin, watched.log.keys
    with watched.witness() as witness:
        watched.log.grow()
        spoil(watched.log)
        for _ in range(3):
            await witness.look()
        assert alarm_of(witness) is kind
        assert watched.text("checkpoint") == good
        watched.log.origin, watched.log.keys, watched.log.lie = origin, keys, ""
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (4, None)
    assert [line.split()[0] for line in said(caplog, logging.ERROR)] == [kind]
    assert said(caplog, logging.INFO) == [f"{kind} ends"]


async def test_a_wrong_signature_in_a_known_name_refuses_the_note_whatever_else_is_right(
    watched: Watched,
) -> None:
    good = await witnessed(watched)
    with watched.witness() as witness:
        watched.log.grow()
        watched.log.lines = watched.log.vkey().line(bytes(64))
        await witness.look()
        assert alarm_of(witness) is Kind.BAD_SIGNATURE
    assert watched.text("checkpoint") == good


async def test_the_logs_key_under_another_origin_does_not_begin_another_record(watched: Watched) -> None:
    await witnessed(watched)
    key = watched.log.vkey()
    with watched.witness() as witness:
        watched.log.origin = "placet.test/other"
        text = watched.log.checkpoint_now.text
        watched.log.lines = signed(text, watched.log.keys[0], key.name)
        await witness.look()
        assert alarm_of(witness) is Kind.OTHER_LOG
        watched.log.origin, watched.log.lines = key.name, ""
        await witness.look()
        assert alarm_of(witness) is None
    assert [path.name for path in watched.path.glob("*.checkpoint")] == ["placet.test_default.checkpoint"]


async def test_a_key_joins_when_a_known_key_and_it_sign_the_same_checkpoint(watched: Watched) -> None:
    await witnessed(watched)
    old, new = watched.log.keys[0], Ed25519PrivateKey.generate()
    with watched.witness() as witness:
        watched.log.keys = [new, old]
        await witness.look()
        assert alarm_of(witness) is None
        watched.log.keys = [new]
        watched.log.grow()
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (4, None)
    # So after a restart, for whoever reads the folder too.
    with watched.witness() as witness:
        watched.log.grow()
        await witness.look()
        assert (witness.status.size, witness.status.alarm) == (5, None)
    keys = [VerifierKey.parse(line) for line in watched.text("keys").splitlines()]
    assert keys == [verifier_key(old, watched.log.origin), verifier_key(new, watched.log.origin)]
    assert keys[1] in Note.parse(watched.text("checkpoint")).verified(keys)


async def test_a_key_that_the_log_offers_without_signing_with_it_is_not_believed(watched: Watched) -> None:
    await witnessed(watched)
    new = Ed25519PrivateKey.generate()
    with watched.witness() as witness:
        watched.log.offered = [str(verifier_key(new, watched.log.origin)), "nonsense"]
        await witness.look()
        assert alarm_of(witness) is None
        watched.log.keys = [new]
        await witness.look()
        assert alarm_of(witness) is Kind.BAD_SIGNATURE


async def test_keys_that_an_operator_names_are_believed_from_the_first_look_and_no_others_ever(
    watched: Watched,
) -> None:
    known = watched.log.vkey()
    own, new = watched.log.keys[0], Ed25519PrivateKey.generate()
    watched.log.keys = [new]
    with watched.witness(known) as witness:
        await witness.look()
        assert alarm_of(witness) is Kind.BAD_SIGNATURE
        watched.log.keys = [new, own]
        await witness.look()
        assert alarm_of(witness) is None
        watched.log.keys = [new]
        watched.log.grow()
        await witness.look()
        assert alarm_of(witness) is not None
    assert watched.text("keys") == as_lines([known])


async def test_a_log_that_proves_nothing_is_not_cosigned(watched: Watched) -> None:
    good = await witnessed(watched)
    with watched.witness() as witness:
        watched.log.grow()
        watched.log.unproven = True
        await witness.look()
        assert watched.text("checkpoint") == good
        assert witness.status.last_success is not None
        assert witness.status.size == 3
        watched.log.unproven = False
        await witness.look()
        assert witness.status.size == 4


async def test_a_folder_that_somebody_changed_is_not_gone_on_with(watched: Watched) -> None:
    good = await witnessed(watched)
    path = watched.path / "placet.test_default.checkpoint"
    text = watched.log.checkpoint_now.text.replace("\n3\n", "\n2\n")
    forged = text + "\n" + signed(text, watched.log.keys[0], watched.log.origin)
    for wrong in ("", good[:-10], good.replace("\n3\n", "\n2\n"), forged):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="is not what this witness cosigned"), watched.witness():
            pass
    path.write_text(good)
    (watched.path / "placet.test_default.keys").unlink()
    with pytest.raises(FileNotFoundError), watched.witness():
        pass
    (watched.path / "placet.test_default.keys").write_text("")
    with pytest.raises(ValueError, match="must hold verifier keys"), watched.witness():
        pass
    (watched.path / "other.checkpoint").write_text(good)
    with pytest.raises(ValueError, match="several logs"), watched.witness():
        pass
