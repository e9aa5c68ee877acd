"""The rules: whose checkpoint it is, and what it must begin with."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from placet_proof import COSIGNATURE, Checkpoint, leaf_hash
from placet_proof.signer import cosigned, signed, verifier_key
from placet_testing.merkle import proof_of, root_of
from placet_witness.domain import (
    Answer,
    Kind,
    Refused,
    Signed,
    Trust,
    check_growth,
    check_size,
    needs_proof,
    read,
)

KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(40)]
VKEYS = [verifier_key(key, "log.test") for key in KEYS]
TEXT = Checkpoint("log.test", 3, bytes(32)).text


def answer(*signers: int, offered: tuple[int, ...] = (), text: str = TEXT) -> Answer:
    lines = "".join(signed(text, KEYS[number], "log.test") for number in signers)
    return Answer(f"{text}\n{lines}", tuple(str(VKEYS[number]) for number in offered))


def refusal(told: Answer, trust: Trust, origin: str = "") -> Kind:
    with pytest.raises(Refused) as refused:
        read(told, trust, origin)
    return refused.value.kind


signers = st.lists(st.integers(0, 4), max_size=4, unique=True).map(tuple)


@given(known=signers, by=signers, offered=signers, learns=st.booleans())
def test_a_checkpoint_is_read_only_if_a_known_key_signed_it_and_keys_join_only_by_signing_with_it(
    known: tuple[int, ...], by: tuple[int, ...], offered: tuple[int, ...], learns: bool
) -> None:
    trust = Trust(tuple(VKEYS[number] for number in known), learns)
    joining = [number for number in offered if number in by and number not in known] if learns else []
    first = learns and not known
    if by and (set(known) & set(by) or (first and joining)):
        read_now = read(answer(*by, offered=offered), trust)
        assert list(read_now.keys) == [VKEYS[number] for number in (*known, *joining)]
        shown = [line for line in read_now.note.splitlines() if line.startswith("—")]
        assert len(shown) == len({*known, *joining} & set(by))
    else:
        assert refusal(answer(*by, offered=offered), trust) is Kind.BAD_SIGNATURE


def test_without_any_key_nothing_is_believed_unless_it_shall_be_learned() -> None:
    assert refusal(answer(1, offered=(1,)), Trust(())) is Kind.BAD_SIGNATURE
    assert read(answer(1, offered=(1,)), Trust((), learns=True)).keys == (VKEYS[1],)


def test_a_witnesss_key_is_no_logs_key() -> None:
    line = cosigned(TEXT, KEYS[1], "log.test", 7)
    vkey = str(verifier_key(KEYS[1], "log.test", COSIGNATURE))
    assert refusal(Answer(f"{TEXT}\n{line}", (vkey,)), Trust((), learns=True)) is Kind.BAD_SIGNATURE


def test_keys_do_not_pile_up_without_end() -> None:
    trust = Trust((VKEYS[0],), learns=True)
    for number in range(1, 40):
        trust = Trust(read(answer(0, number, offered=(number,)), trust).keys, learns=True)
    assert len(trust.keys) == 16


def test_a_checkpoint_is_that_of_the_log_which_is_watched() -> None:
    trust = Trust((VKEYS[0],))
    assert read(answer(0), trust, "log.test").checkpoint.origin == "log.test"
    assert refusal(answer(0), trust, "other.test") is Kind.OTHER_LOG


@pytest.mark.parametrize(
    ("trust", "kind"),
    [
        (Trust((VKEYS[0],)), Kind.OTHER_LOG),
        (Trust((VKEYS[0],), learns=True), Kind.OTHER_LOG),
        (Trust((), learns=True), Kind.BAD_SIGNATURE),
    ],
)
def test_another_logs_checkpoint_under_this_logs_name_is_not_believed_at_first_sight(
    trust: Trust, kind: Kind
) -> None:
    # All tenants' logs are signed with one private key, and the name beside a signature is not signed.
    other = Checkpoint("other.test", 3, bytes(32)).text
    relabelled = answer(0, offered=(0,), text=other)
    assert refusal(relabelled, trust) is kind


def test_extension_lines_are_cosigned_as_they_are() -> None:
    text = TEXT + "an extension\n"
    shown = read(answer(0, text=text), Trust((VKEYS[0],)))
    assert (shown.text, shown.checkpoint.size) == (text, 3)


def leaves_of(entries: list[int]) -> list[bytes]:
    return [leaf_hash(bytes([entry])) for entry in entries]


def shown_of(entries: list[int]) -> Signed:
    checkpoint = Checkpoint("log.test", len(entries), root_of(leaves_of(entries)))
    return Signed(checkpoint, checkpoint.text, "", ())


def verdict(before: list[int], now: list[int]) -> Kind | None:
    """Returns the verdict of a witness on a log that changed from one state to another."""
    earlier, shown = shown_of(before).checkpoint, shown_of(now)
    try:
        check_size(earlier, shown)
        if needs_proof(earlier, shown):
            check_growth(earlier, shown, proof_of(len(before), leaves_of(now)))
    except Refused as refused:
        return refused.kind
    return None


entries = st.lists(st.integers(0, 1), max_size=12)


@pytest.mark.slow
@given(before=entries, now=entries)
def test_only_a_log_that_begins_with_all_that_it_was_goes_through(before: list[int], now: list[int]) -> None:
    if now[: len(before)] == before:
        assert verdict(before, now) is None
    else:
        assert verdict(before, now) is (Kind.ROLLBACK if len(now) < len(before) else Kind.FORK)


@pytest.mark.slow
@given(before=st.lists(st.integers(0, 1), min_size=1, max_size=12), data=st.data())
def test_no_proof_makes_another_log_of_a_larger_size_the_same(before: list[int], data: st.DataObject) -> None:
    now = data.draw(st.lists(st.integers(0, 1), min_size=len(before) + 1, max_size=20))
    hashes = st.sampled_from(
        [root_of(leaves_of(now)), root_of(leaves_of(before)), leaf_hash(b"\0"), leaf_hash(b"\1")]
    )
    proof = data.draw(st.lists(hashes, max_size=6))
    if now[: len(before)] != before:
        with pytest.raises(Refused):
            check_growth(shown_of(before).checkpoint, shown_of(now), proof)


def test_alarms_grow_graver_from_silence_to_fork_and_only_the_last_two_are_final() -> None:
    assert sorted(Kind, key=lambda kind: kind.gravity) == [
        Kind.SILENCE, Kind.BAD_SIGNATURE, Kind.OTHER_LOG, Kind.ROLLBACK, Kind.FORK
    ]  # fmt: skip
    assert [kind for kind in Kind if kind.final] == [Kind.ROLLBACK, Kind.FORK]
