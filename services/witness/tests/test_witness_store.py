"""The folder: one witness at a time, private, and whole at any moment at which somebody dies."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from placet_proof import Note
from placet_proof.signer import verifier_key
from placet_witness import status as status_probe
from placet_witness.domain import Alarm, Kind
from placet_witness.keys import Signer, as_lines, log_keys
from placet_witness.status import Status, read_status
from placet_witness.store import Folder

# Types of conftest, which tests cannot import by name.
Watched = Any
Witness = Any

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)

# Keeps one checkpoint after the other of a log that grows, until it is killed. One line says that it began.
KEEPER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from placet_proof import Checkpoint
from placet_proof.signer import signed, verifier_key
from placet_witness.domain import Answer, Trust, read
from placet_witness.keys import Signer
from placet_witness.store import Folder

private = Ed25519PrivateKey.from_private_bytes(bytes(32))
signer = Signer(private, "witness.test")
with Folder.held(Path(sys.argv[1])) as folder:
    kept = folder.checkpoint(signer.key)
    size = 0 if kept is None else kept[1].size
    print(size, flush=True)
    while True:
        size += 1
        text = Checkpoint("log.test", size, size.to_bytes(32, "big")).text
        note = text + "\\n" + signed(text, private, "log.test")
        shown = read(Answer(note, (str(verifier_key(private, "log.test")),)), Trust((), learns=True))
        folder.write_keys(shown)
        folder.write_checkpoint(shown, signer.cosignature(text, size))
"""


def test_two_witnesses_never_keep_one_folder(tmp_path: Path) -> None:
    with (
        Folder.held(tmp_path / "witness"),
        pytest.raises(BlockingIOError, match="another witness runs on"),
        Folder.held(tmp_path / "witness"),
    ):
        pass
    with Folder.held(tmp_path / "witness"):
        pass


def test_the_folder_is_the_witnesss_own(tmp_path: Path) -> None:
    with Folder.held(tmp_path / "new" / "witness"):
        assert stat.S_IMODE((tmp_path / "new" / "witness").stat().st_mode) == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ValueError, match="others can write"), Folder.held(tmp_path / "open"):
        pass


@pytest.mark.parametrize("sizes", [(3,), (3, 4), (0, 3)])
async def test_a_witness_that_dies_at_any_step_leaves_the_old_checkpoint_or_the_new_one(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    for last in count():
        shutil.rmtree(watched.path, ignore_errors=True)
        await witnessed(watched, *sizes[:-1])
        before = watched.text("checkpoint")
        become(watched.log, sizes[-1])
        with monkeypatch.context() as patched:
            dying(patched, last)
            with suppress(KeyboardInterrupt), watched.witness() as witness:
                await witness.look()
                break
        now = watched.text("checkpoint")
        if now != before:
            assert Note.parse(now).checkpoint == watched.log.checkpoint_now
        await witnessed(watched, sizes[-1])
    # A status twice, and three steps for each file that is on disk then: the checkpoint, first its keys too.
    assert last == (5 if before else 11)


def become(log: Any, size: int) -> None:
    """Makes the log as large."""
    log.roll_back(0)
    log.grow(size)


async def witnessed(watched: Watched, *sizes: int) -> None:
    """Looks at the log at each of these sizes."""
    for size in sizes:
        become(watched.log, size)
        with watched.witness() as witness:
            await witness.look()
            assert (witness.status.size, witness.status.alarm) == (size, None)


async def test_a_witness_that_dies_while_it_accuses_accuses_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched.witness() as witness:
        await witness.look()
    watched.log.roll_back(1)
    for last in count():
        with monkeypatch.context() as patched:
            dying(patched, last)
            with suppress(KeyboardInterrupt), watched.witness() as witness:
                await witness.look()
                break
    with watched.witness() as witness:
        assert alarm_of(witness) is Kind.ROLLBACK


def alarm_of(witness: Witness) -> Kind | None:
    """The alarm that is on."""
    alarm: Alarm | None = witness.status.alarm
    return None if alarm is None else alarm.kind


def dying(patched: pytest.MonkeyPatch, last: int) -> None:
    """Makes the step after so many the last: what goes to the disk, and what takes another's place."""
    done: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        # Any: whatever these take.
        def step(*arguments: Any, real: Any = real, name: str = name) -> Any:
            if len(done) == last:
                raise KeyboardInterrupt
            done.append(name)
            return real(*arguments)

        patched.setattr(os, name, step)


@pytest.mark.integration
def test_kill_minus_nine_in_the_midst_of_writing_leaves_a_checkpoint_and_its_keys(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)), "witness.test")
    sizes = [0]
    for _ in range(12):
        keeper = subprocess.Popen(
            [sys.executable, "-c", KEEPER, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert keeper.stdout is not None
        # It goes on from what the one before left.
        assert int(keeper.stdout.readline()) == sizes[-1]
        path = folder / "log.test.checkpoint"
        seen = ""
        while not seen or Note.parse(seen).checkpoint.size < sizes[-1] + 3:
            # At every moment there is a whole one.
            seen = path.read_text() if seen or path.exists() else ""
        os.kill(keeper.pid, signal.SIGKILL)
        keeper.communicate()
        note = Note.parse(path.read_text())
        keys = log_keys(folder / "log.test.keys")
        assert note.verified([signer.key, *keys]) == {signer.key: note.checkpoint.size, keys[0]: None}
        sizes.append(note.checkpoint.size)
    assert sizes == sorted(set(sizes))


def test_the_witnesss_key_is_private_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "witness.pem"
    own = Ed25519PrivateKey.generate()
    path.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(ValueError, match="chmod 600"):
            Signer.load(path, "witness.test")
    path.chmod(0o600)
    signer = Signer.load(path, "witness.test")
    assert str(signer.key).startswith("witness.test+")
    with pytest.raises(ValueError, match="cannot name a key"):
        Signer.load(path, "my witness")
    with pytest.raises(ValueError, match=r"does not exist: put back"):
        Signer.load(tmp_path / "none.pem", "witness.test")


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    path = tmp_path / "witness.pem"
    path.touch(mode=0o600)
    locked = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (b"", b"a key", bytes(32), locked, curve):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="private key"):
            Signer.load(path, "witness.test")


def test_a_file_of_log_keys_holds_verifier_keys_of_a_log_and_remarks(tmp_path: Path) -> None:
    keys = [verifier_key(Ed25519PrivateKey.generate(), f"log.test/{number}") for number in range(2)]
    path = tmp_path / "log-keys"
    path.write_text("# this year's\n\n" + as_lines(keys))
    assert list(log_keys(path)) == keys
    witness = Signer(Ed25519PrivateKey.generate(), "witness.test").key
    for wrong in ("", "# none\n", "nonsense\n", as_lines([*keys, witness]), str(keys[0])[:-4]):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="log-keys"):
            log_keys(path)


def test_a_status_reads_as_it_was_written() -> None:
    plain = Status(10.0)
    full = Status(0.5, "log.test", 7, NOW, NOW, Alarm(Kind.FORK, NOW, "two roots"))
    for status in (plain, full):
        assert Status.parse(status.as_json()) == status
    for wrong in ("", "[]", "null", "{}", full.as_json().replace("FORK", "SPOON"), full.as_json()[:-5]):
        with pytest.raises(ValueError):
            Status.parse(wrong)


def test_a_status_says_what_is_wrong_in_words() -> None:
    well = Status(10.0, "log.test", 7, NOW, NOW)
    assert well.fault(NOW + timedelta(seconds=20)) == ""
    assert "has not looked at the log since 2026-03-01T12:00:00" in well.fault(NOW + timedelta(minutes=1))
    assert "not looked at the log yet" in Status(10.0).fault(NOW)
    alarm = Status(10.0, alarm=Alarm(Kind.FORK, NOW, "two roots"))
    assert alarm.fault(NOW) == "FORK since 2026-03-01T12:00:00+00:00: two roots"


async def test_the_probe_fails_while_there_is_an_alarm_or_no_witness(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    def probed() -> tuple[int, str]:
        status = status_probe.main([str(watched.path)])
        return status, capsys.readouterr().out

    assert probed() == (1, f"no witness runs on {watched.path}\n")
    clock = datetime.now(UTC).timestamp
    with watched.witness(clock=clock) as witness:
        await witness.look()
        assert probed() == (0, "")
        watched.log.roll_back(1)
        await witness.look()
        status, told = probed()
        assert status == 1
        assert told.startswith("ROLLBACK since ")
    (watched.path / "status.json").write_text("{")
    assert read_status(watched.path) is None
    assert probed()[0] == 1


async def test_an_origin_names_files_in_the_folder_whatever_it_is(watched: Watched) -> None:
    watched.log.origin = "../../.."
    with watched.witness() as witness:
        await witness.look()
        assert alarm_of(witness) is None
    assert sorted(path.name for path in watched.path.iterdir() if path.stem.startswith(".")) == [
        ".._.._...checkpoint",
        ".._.._...keys",
    ]
    with watched.witness() as witness:
        assert witness.status.size == 3


async def test_an_origin_too_long_to_name_a_file_is_refused(watched: Watched) -> None:
    watched.log.origin = "log.test/" + "o" * 300
    with watched.witness() as witness:
        await witness.look()
        assert alarm_of(witness) is Kind.OTHER_LOG
    assert list(watched.path.glob("*.checkpoint")) == []
