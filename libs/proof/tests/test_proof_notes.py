"""Notes, checkpoints and verifier keys as C2SP says: signed-note, tlog-checkpoint and tlog-cosignature."""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from placet_proof import COSIGNATURE, LOG_SIGNATURE, Checkpoint, Note, NotProven, VerifierKey, decoded
from placet_proof.signer import cosigned, signed, verifier_key

# Published by others: a key and what it signed, and the key of a log.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PROBLEM = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
SAID = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcE"
    "lZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(40)]
LOG = verifier_key(PRIVATE[0], "log.test/a")
WITNESS = verifier_key(PRIVATE[1], "witness.test", COSIGNATURE)
CHECKPOINT = Checkpoint("log.test/a", 20852163, sha256(b"root").digest())
TEXT = CHECKPOINT.text
LINE = signed(TEXT, PRIVATE[0], LOG.name)
NOTE = f"{TEXT}\n{LINE}"


def text_of(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def parsed(text: str) -> Checkpoint:
    return Note(text, ()).checkpoint


# Verifier keys.


@pytest.mark.parametrize("vkey", [NEUMANN, GO, str(LOG), str(WITNESS)])
def test_a_verifier_key_reads_as_it_was_written(vkey: str) -> None:
    assert str(VerifierKey.parse(vkey)) == vkey
    assert str(VerifierKey.parse(f"{vkey}\n")) == vkey


def test_a_verifier_key_says_name_kind_and_key() -> None:
    key = VerifierKey.parse(GO)
    assert (key.name, key.id.hex(), key.kind, len(key.public)) == (
        "sum.golang.org",
        "033de0ae",
        LOG_SIGNATURE,
        32,
    )


def test_a_keys_id_is_derived_from_its_name_its_kind_and_itself() -> None:
    public = PRIVATE[0].public_key().public_bytes_raw()
    for kind in (LOG_SIGNATURE, COSIGNATURE):
        key = verifier_key(PRIVATE[0], "log.test/a", kind)
        assert key.id == sha256(b"log.test/a\n" + bytes([kind]) + public).digest()[:4]
    assert len({verifier_key(PRIVATE[0], name).id for name in ("log.test/a", "log.test/b")}) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        NEUMANN[:-4],
        NEUMANN[:-1],
        NEUMANN + "AAAA",
        NEUMANN.replace("c74f20a3", "c74f20a4"),
        NEUMANN.replace("c74f20a3", "C74F20A3"),
        NEUMANN.replace("c74f20a3", "74f20a3"),
        NEUMANN.replace("c74f20a3", ""),
        NEUMANN.replace("PeterNeumann", "PeterNewmann"),
        NEUMANN.replace("PeterNeumann", ""),
        NEUMANN.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN.replace("+ARpc", "+AhpC"),
        NEUMANN.replace("10TW", "10T_"),
        NEUMANN.replace("10TW", "10Té"),
        "\ud800" + NEUMANN,
    ],
)
def test_what_is_no_verifier_key_or_was_altered_is_refused(wrong: str) -> None:
    with pytest.raises(NotProven):
        VerifierKey.parse(wrong)


@pytest.mark.parametrize("kind", [0x00, 0x02, 0x03, 0x05, 0x06, 0xFF])
def test_a_key_for_signatures_of_another_kind_is_refused(kind: int) -> None:
    with pytest.raises(NotProven, match="not an Ed25519 verifier key"):
        VerifierKey.parse(str(VerifierKey("log.test/a", kind, LOG.public)))


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\tb", "a\u00a0b", "a\u2003b", "a\u3000b", "a\n", " ", "a\x01b"]
)
def test_a_name_with_spaces_or_a_plus_names_no_key(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a key"):
        verifier_key(PRIVATE[0], name)
    with pytest.raises(NotProven):
        VerifierKey.parse(str(VerifierKey(name, LOG_SIGNATURE, LOG.public)))


# Notes.


def test_a_note_that_others_signed_is_verified() -> None:
    note = Note.parse(f"{PROBLEM}\n{SAID}")
    key = VerifierKey.parse(NEUMANN)
    assert note.text == PROBLEM
    assert note.verified([key]) == {key: None}
    assert note.verified([LOG, key, WITNESS]) == {key: None}


@pytest.mark.slow
@given(place=st.integers(0, len(f"{PROBLEM}\n{SAID}") - 1), char=st.characters(codec="utf-8"))
def test_a_note_that_is_changed_anywhere_is_refused(place: int, char: str) -> None:
    whole = f"{PROBLEM}\n{SAID}"
    changed = whole[:place] + char + whole[place + 1 :]
    if changed != whole:
        with pytest.raises(NotProven):
            Note.parse(changed).verified([VerifierKey.parse(NEUMANN)])


@given(note=st.text(st.sampled_from("a0\n— +=\r\u00a0\ud800"), max_size=60))
def test_no_text_makes_it_fail_otherwise_than_by_refusing(note: str) -> None:
    with pytest.raises(NotProven):
        Note.parse(note).verified([LOG])
    with pytest.raises(NotProven):
        VerifierKey.parse(note)


def test_the_text_may_hold_empty_lines_and_ends_before_the_last_one() -> None:
    text = "one\n\n\ntwo\n\n"
    note = Note.parse(f"{text}\n{signed(text, PRIVATE[0], LOG.name)}")
    assert note.text == text
    assert note.verified([LOG]) == {LOG: None}


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{LINE}",
        NOTE[:-1],
        f"{NOTE}\n",
        f"{NOTE}\n\n",
        f"{NOTE}more\n",
        f"{NOTE} \n",
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("log", "l\tog", 1),
        NOTE.replace("log", "l\0og", 1),
        NOTE.replace("log", "l\x1bog", 1),
        NOTE.replace("log", "l\ud800og", 1),
        NOTE.replace("—", "-"),
        NOTE.replace("—", "–"),
        NOTE.replace("— ", "—"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("— ", " — "),
        NOTE.replace("— log.test/a", "— "),
        NOTE.replace("— log.test/a", "— log.test/a log"),
        NOTE.replace("— log.test/a", "— log+test/a"),
        NOTE.replace("— log.test/a", "— log\u2003test/a"),
    ],
)
def test_what_is_no_note_is_refused_before_any_key_is_asked(wrong: str) -> None:
    with pytest.raises(NotProven):
        Note.parse(wrong)


@pytest.mark.parametrize("size", [0, 3, 4])
def test_a_signature_line_holds_an_id_and_more(size: int) -> None:
    with pytest.raises(NotProven, match="not a note's signature"):
        Note.parse(f"{TEXT}\n— log.test/a {base64.b64encode(bytes(size)).decode()}\n")


def test_base64_that_is_not_written_in_its_one_way_is_refused() -> None:
    assert decoded("QQ==") == b"A"
    assert decoded("") == b""
    for wrong in ("QR==", "QQ", "QQ=", "QQ===", "Q Q==", "QQ==\n", "QQ==QQ==", "-_8=", "=", "Qé==", "ＱＱ=="):
        with pytest.raises(NotProven):
            decoded(wrong)
    assert LINE.endswith("=\n")
    # The last character before the padding carries four bits that nobody needs.
    for spelling in ("loose", "unpadded"):
        body = LINE[:-3] if spelling == "unpadded" else LINE[:-3] + chr(ord(LINE[-3]) + 1) + "=\n"
        with pytest.raises(NotProven):
            Note.parse(f"{TEXT}\n{body}")


def test_signatures_of_unknown_keys_are_ignored() -> None:
    strangers = "".join(signed(TEXT, key, f"stranger.test/{n}") for n, key in enumerate(PRIVATE[2:9]))
    # Also in a known name with another id, and with a known id under another name.
    namesake = signed(TEXT, PRIVATE[9], LOG.name)
    idsake = f"— other.test {base64.b64encode(LOG.id + bytes(64)).decode()}\n"
    other_kind = f"— stranger.test {base64.b64encode(bytes(3000)).decode()}\n"
    note = Note.parse(f"{TEXT}\n{strangers}{namesake}{idsake}{LINE}{other_kind}")
    assert note.verified([LOG]) == {LOG: None}


def test_a_note_that_no_known_key_signed_is_refused_and_says_who_did() -> None:
    with pytest.raises(NotProven, match=rf"it was signed by log\.test/a\+{LOG.id.hex()}"):
        Note.parse(NOTE).verified([WITNESS])
    with pytest.raises(NotProven):
        Note.parse(NOTE).verified([])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: bytes(64),
        lambda signature: bytes([signature[0] ^ 1]) + signature[1:],
        lambda signature: b"\0",
    ],
)
def test_a_wrong_signature_in_a_known_name_refuses_the_whole_note(spoil: Callable[[bytes], bytes]) -> None:
    wrong = LOG.line(spoil(PRIVATE[0].sign(TEXT.encode())))
    other = verifier_key(PRIVATE[2], "other.test")
    right = signed(TEXT, PRIVATE[2], other.name)
    assert Note.parse(f"{TEXT}\n{right}{wrong}").verified([other]) == {other: None}
    for lines in (wrong + right, right + wrong, LINE + wrong, wrong + LINE):
        with pytest.raises(NotProven, match=r"signature of log\.test/a"):
            Note.parse(f"{TEXT}\n{lines}").verified([LOG, other])


def test_sixteen_signatures_are_accepted_and_not_any_number() -> None:
    lines = [signed(TEXT, key, f"log.test/{number}") for number, key in enumerate(PRIVATE)]
    keys = [verifier_key(key, f"log.test/{number}") for number, key in enumerate(PRIVATE)]
    assert len(Note.parse(f"{TEXT}\n{''.join(lines[:16])}").verified(keys)) == 16
    with pytest.raises(NotProven, match="more than 32 signatures"):
        Note.parse(f"{TEXT}\n{''.join(lines[:33])}")


# Checkpoints.


def test_a_checkpoint_is_its_origin_its_size_and_its_root() -> None:
    assert f"log.test/a\n20852163\n{base64.b64encode(CHECKPOINT.root).decode()}\n" == TEXT
    assert Note.parse(NOTE).checkpoint == CHECKPOINT


@pytest.mark.parametrize("origin", ["a", "log.test/a", "a log with spaces + plus", "Протокол", "1", "—"])
def test_an_origin_may_be_any_line(origin: str) -> None:
    assert parsed(Checkpoint(origin, 1, bytes(32)).text).origin == origin


ROOT = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize("size", [0, 1, 9, 10, 1 << 40, (1 << 63) - 1])
def test_a_size_is_a_number_in_decimal(size: int) -> None:
    assert parsed(text_of("a", str(size), ROOT)).size == size


@pytest.mark.parametrize(
    "size",
    [
        "",
        "00",
        "01",
        "-0",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "1_0",
        "1,000",
        "one",
        "١",
        "１",
        "9" * 20,
    ],
)
def test_a_size_is_written_in_one_way(size: str) -> None:
    with pytest.raises(NotProven, match="not a checkpoint"):
        parsed(text_of("a", size, ROOT))


@pytest.mark.parametrize(
    "root", ["", ROOT[:-1], ROOT[:-4], ROOT + "AAAA", ROOT.replace("=", ""), ROOT.lower()[:-2] + "9="]
)
def test_a_root_is_32_bytes_written_in_one_way(root: str) -> None:
    with pytest.raises(NotProven):
        parsed(text_of("a", "1", root))


@pytest.mark.parametrize(
    "text", ["", "\n", "a\n", "a\n1\n", f"\n1\n{ROOT}\n", f"a\n\n1\n{ROOT}\n", f"a\n1\n\n{ROOT}\n"]
)
def test_a_checkpoint_has_three_lines_and_none_is_empty(text: str) -> None:
    with pytest.raises(NotProven):
        parsed(text)


def test_extension_lines_are_signed_and_not_empty() -> None:
    text = f"{TEXT}an extension\nand another\n"
    note = Note.parse(
        f"{text}\n{signed(text, PRIVATE[0], LOG.name)}{cosigned(text, PRIVATE[1], WITNESS.name, 7)}"
    )
    assert note.checkpoint == CHECKPOINT
    assert note.verified([LOG, WITNESS]) == {LOG: None, WITNESS: 7}
    with pytest.raises(NotProven):
        Note.parse(f"{TEXT}another extension\n\n{LINE}").verified([LOG])
    with pytest.raises(NotProven, match="not a checkpoint"):
        parsed(f"{TEXT}\nafter an empty line\n")


# Cosignatures.


def test_a_cosignature_is_one_of_the_time_and_the_whole_text() -> None:
    time = 1_679_315_147
    line = cosigned(TEXT, PRIVATE[1], WITNESS.name, time)
    name, blob = line.removeprefix("— ").removesuffix("\n").split(" ")
    signature = base64.b64decode(blob)
    assert (name, signature[:4], signature[4:12]) == ("witness.test", WITNESS.id, time.to_bytes(8, "big"))
    message = f"cosignature/v1\ntime {time}\n{TEXT}"
    PRIVATE[1].public_key().verify(signature[12:], message.encode())
    assert Note.parse(f"{NOTE}{line}").verified([LOG, WITNESS]) == {LOG: None, WITNESS: time}


def test_a_cosignature_of_another_time_or_text_is_refused() -> None:
    signature = PRIVATE[1].sign(f"cosignature/v1\ntime 7\n{TEXT}".encode())
    right = WITNESS.line((7).to_bytes(8, "big") + signature)
    assert Note.parse(NOTE + right).verified([WITNESS]) == {WITNESS: 7}
    other = Checkpoint("log.test/b", 1, bytes(32)).text
    for wrong in (
        f"{NOTE}{WITNESS.line((8).to_bytes(8, 'big') + signature)}",
        f"{NOTE}{WITNESS.line((7).to_bytes(8, 'little') + signature)}",
        f"{NOTE}{WITNESS.line(signature)}",
        f"{NOTE}{WITNESS.line(bytes(8))}",
        f"{NOTE}{WITNESS.line(b'short')}",
        f"{other}\n{right}",
    ):
        with pytest.raises(NotProven, match=r"signature of witness\.test"):
            Note.parse(wrong).verified([LOG, WITNESS])


def test_of_two_cosignatures_of_one_witness_the_first_tells_the_time_and_both_must_hold() -> None:
    five, nine = (cosigned(TEXT, PRIVATE[1], WITNESS.name, time) for time in (5, 9))
    assert Note.parse(NOTE + five + nine).verified([WITNESS]) == {WITNESS: 5}
    for wrong in (five + WITNESS.line(bytes(72)), WITNESS.line(bytes(72)) + five):
        with pytest.raises(NotProven, match=r"signature of witness\.test"):
            Note.parse(NOTE + wrong).verified([WITNESS])


def test_a_cosignature_of_a_time_that_cannot_be_is_refused() -> None:
    late = 1 << 63
    assert Note.parse(NOTE + cosigned(TEXT, PRIVATE[1], WITNESS.name, late - 1)).verified([WITNESS]) == {
        WITNESS: late - 1
    }
    with pytest.raises(NotProven):
        Note.parse(NOTE + cosigned(TEXT, PRIVATE[1], WITNESS.name, late)).verified([WITNESS])


def test_neither_a_log_nor_a_witness_can_pass_for_the_other() -> None:
    # The same name and key; each kind has an id of its own, and signs another message.
    as_witness = verifier_key(PRIVATE[0], LOG.name, COSIGNATURE)
    with pytest.raises(NotProven, match="no known key"):
        Note.parse(NOTE).verified([as_witness])
    with pytest.raises(NotProven, match="no known key"):
        Note.parse(f"{TEXT}\n{cosigned(TEXT, PRIVATE[0], LOG.name, 7)}").verified([LOG])
    stolen = as_witness.line(bytes(8) + PRIVATE[0].sign(TEXT.encode()))
    with pytest.raises(NotProven, match=r"signature of log\.test/a"):
        Note.parse(f"{TEXT}\n{stolen}").verified([as_witness])
    stolen = LOG.line(PRIVATE[0].sign(f"cosignature/v1\ntime 7\n{TEXT}".encode()))
    with pytest.raises(NotProven, match=r"signature of log\.test/a"):
        Note.parse(f"{TEXT}\n{stolen}").verified([LOG])
