"""Files that strangers hand over: bounded, and refused with a sentence, never with Python's words."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet_proof import COSIGNATURE, LOG_SIGNATURE, VerifierKey
from placet_proof.signer import new_key
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ORIGIN, Logbook
from placet_verify import Check, ExportSource, Finding, Findings, KnownKeys, Table, WrongOption, load_keys
from placet_verify.witness import read_alarms, read_seen, witness_key
from placet_verify.witness_status import read_status

pytestmark = pytest.mark.integration

LARGE = 30 << 20
# Words of Python's own errors.
PYTHON = re.compile(r"Error|codec|Expecting|object (is|has)|NoneType|int\(\)|str\(\)|indices|<class|embedded")


def encoded(rows: Logbook, tenant: str) -> list[bytes]:
    """The lines of an export of these rows."""

    def text(raw: object) -> str:
        assert isinstance(raw, bytes)
        return base64.b64encode(raw).decode()

    notes = {row[1]: row[2] for row in rows.of(Table.CHECKPOINT, tenant)}
    lines: list[dict[str, object]] = [{"checkpoint": notes[max(int(str(size)) for size in notes)]}]
    for _, index, *_, leaf in rows.of(Table.ENTRY, tenant):
        values = [
            {"path": path, "salt": text(salt), "value": bytes(value).decode()}  # type: ignore[call-overload]  # bytes
            for _, of, path, salt, value in rows.of(Table.DISCLOSURE, tenant)
            if of == index
        ]
        line: dict[str, object] = {"index": str(index), "leaf": text(leaf), "disclosures": values}
        note = notes.get(int(str(index)) + 1)
        lines.append(line | ({"checkpoint": note} if note else {}))
    return [json.dumps(line).encode() + b"\n" for line in lines]


@pytest.fixture(scope="session")
def lines(sample: SampleLog) -> list[bytes]:
    """The export of the smallest log."""
    return encoded(sample.rows, "other")


def findings(sample: SampleLog, path: Path, raw: bytes) -> list[Finding]:
    path.write_bytes(raw)
    return sample.findings(ExportSource(path))


def test_an_export_is_good(sample: SampleLog, lines: list[bytes], tmp_path: Path) -> None:
    assert findings(sample, tmp_path / "log", b"".join(lines)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"9" * LARGE + b"\n", "it has no end, or is larger than 8 MiB"),
        (b"[" * (4 << 20) + b"\n", "it holds more than 1,048,576 values"),
        (b"[" * 100_000 + b"\n", "it is nested deeper than 32 levels"),
        (b'{"index": "2", "leaf": "", "disclosures": NaN}\n', "NaN is no number in JSON"),
        (b'{"index": 2, "leaf": ""}\n', "its index is not a number of 64 bits, written as text"),
        (b'{"index": "02", "leaf": ""}\n', "its index is not a number of 64 bits, written as text"),
        (b'{"index": ' + b"9" * 1_000_000 + b"}\n", "an integer in it is beyond 2^53 - 1"),
        (b'{"index": "2", "leaf": "", "leaf": ""}\n', "a field is there twice"),
        (b'{"index": "2", "leaf": 5}\n', "its leaf is no text"),
        (b'{"index": "2"}\n', "its leaf is missing"),
        (b'{"index": "2", "leaf": "", "checkpoint": 0}\n', "its checkpoint is no text"),
        (b'{"index": "2", "leaf": "", "disclosures": {}}\n', "its disclosures is no list"),
        (b'{"index": "2", "leaf": "", "disclosures": [[]]}\n', "a value of it is no JSON object"),
        (b'{"index": "2", "leaf": "", "disclosures": [{"path": []}]}\n', "its path is no text"),
        (b"\xef\xbb\xbf{}\n", "it begins with a byte order mark"),
        (b"\xff\n", "it is not text in UTF-8"),
    ],
)
def test_a_line_that_is_no_entry_is_told_with_its_reason(
    sample: SampleLog, lines: list[bytes], tmp_path: Path, line: bytes, said: str
) -> None:
    found = findings(sample, tmp_path / "log", b"".join(lines) + line)
    assert found
    assert all(one.check is Check.FILE for one in found)
    assert any(f"a line of the export is not an entry: {said}" in one.what for one in found)


PIECES = st.binary(max_size=4) | st.sampled_from(
    [b"null", b"[]", b"{}", b"NaN", b"1e999", b"9" * 400, b'"', b"\\ud800", b"\n", b'"path": [], ', b"[" * 99]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_export_that_somebody_changed_is_good_or_told_with_sentences(
    sample: SampleLog, lines: list[bytes], tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(b"".join(lines))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        raw[start : start + data.draw(st.integers(0, 9))] = data.draw(PIECES)
    assert not [one.what for one in findings(sample, tmp_path / "log", bytes(raw)) if PYTHON.search(one.what)]


def refusal(path: Path, raw: bytes) -> str:
    path.write_bytes(raw)
    with pytest.raises(WrongOption) as caught:
        load_keys([str(path)], "", None)
    return caught.value.message.removeprefix(f"{path}: ")


def pem(public: bytes) -> bytes:
    """A public key in PEM, whatever its point."""
    body = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + public)
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


def test_a_file_that_holds_no_usable_key_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert refusal(path, b"a" * LARGE) == "it is larger than 64 KiB"
    assert refusal(path, b"\xff") == "it is not text in UTF-8"
    assert refusal(path, b"") == "it holds no key"
    assert refusal(path, b"-----BEGIN A-----\n" * 200) == "it holds more than 100 keys"
    assert "small order" in refusal(path, pem(bytes(32)))
    assert "small order" in refusal(path, str(VerifierKey("a/b", LOG_SIGNATURE, bytes(32))).encode())
    with pytest.raises(WrongOption, match="neither a verifier key nor the name of a file"):
        load_keys(["a+b\0"], "", None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_key_that_somebody_changed_is_taken_or_refused_with_a_sentence(
    tmp_path: Path, data: st.DataObject
) -> None:
    whole = [new_key().encode(), str(VerifierKey(f"{ORIGIN}/a", COSIGNATURE, b"\2" * 32)).encode()]
    raw = bytearray(data.draw(st.sampled_from(whole)))
    start = data.draw(st.integers(0, len(raw)))
    raw[start : start + data.draw(st.integers(0, 9))] = data.draw(PIECES)
    path, refused = tmp_path / "key", ""
    path.write_bytes(raw)
    try:
        load_keys([str(path)], "", None)
    except WrongOption as error:
        refused = error.message
    assert not PYTHON.search(refused)


STATUS = {
    "interval_seconds": 5.0,
    "origin": f"{ORIGIN}/default",
    "last_look": "2026-01-01T00:00:00Z",
    "last_success": None,
    "alarm": None,
}


def test_a_status_is_read(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps(STATUS))
    status = read_status(tmp_path)
    assert status is not None
    assert (status.interval, status.saw, status.alarm) == (5.0, 0, None)


@pytest.mark.parametrize(
    "change",
    [
        {"interval_seconds": float("nan")},
        {"interval_seconds": "nan"},
        {"interval_seconds": 1e300},
        {"interval_seconds": -1},
        {"origin": 5},
        {"last_look": 5},
        {"last_look": "0001-01-01T00:00:00+23:59"},
        {"alarm": "SILENCE"},
        {"alarm": {"kind": "SILENCE", "since": [], "why": ""}},
    ],
    ids=repr,
)
def test_a_status_that_cannot_be_is_none(tmp_path: Path, change: dict[str, object]) -> None:
    (tmp_path / "status.json").write_text(json.dumps(STATUS | change))
    assert read_status(tmp_path) is None


def large(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"a" * LARGE)


def deep(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"[" * 100_000)


@pytest.mark.parametrize("write", [large, deep], ids=["large", "deep"])
def test_a_witness_s_file_that_cannot_be_read_is_told(
    tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    for name in ("status.json", "a.alarm", "a.checkpoint"):
        write(tmp_path, name)
    assert read_status(tmp_path) is None
    assert list(read_alarms(tmp_path)) == [("a.alarm", None)]
    found = Findings()
    key = VerifierKey("witness.example/w", COSIGNATURE, b"\2" * 32)
    assert list(read_seen(tmp_path, key, KnownKeys(), found)) == []
    (finding,) = found
    assert finding.what.startswith("a.checkpoint is not what the witness signed: ")
    assert not PYTHON.search(finding.what)


def test_a_witness_s_key_of_small_order_is_refused(tmp_path: Path) -> None:
    key = VerifierKey("witness.example/w", COSIGNATURE, b"\1" + bytes(31))
    (tmp_path / "witness.vkey").write_text(f"{key}\n")
    with pytest.raises(ValueError, match="small order"):
        witness_key(tmp_path)
