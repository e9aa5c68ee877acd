"""Public keys under which signatures prove nothing are refused: all that the curve's group law finds."""

from __future__ import annotations

from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from placet_proof import COSIGNATURE, LOG_SIGNATURE, NotProven, VerifierKey, check_public_key

# Edwards25519, as RFC 8032, section 5.1, defines it.
P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def added(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P)
    return x % P, y % P


def times(factor: int, point: Point) -> Point:
    found = IDENTITY
    for bit in f"{factor:b}":
        found = added(found, found)
        if bit == "1":
            found = added(found, point)
    return found


def with_y(y: int) -> list[Point]:
    """The points of the curve with this y, none to two."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    return [(one, y) for one in {x, -x % P}] if x * x % P == square else []


def small_order() -> set[Point]:
    """The points whose order divides 8: the multiples of one of order 8.

    Such a point is left of another one when that one's part of large order is gone.
    """
    left = (times(ORDER, point) for y in range(2, P) for point in with_y(y))
    generator = next(point for point in left if times(4, point) != IDENTITY)
    return {times(factor, generator) for factor in range(8)}


def spellings(point: Point) -> set[bytes]:
    """The 32 bytes that any library could read as this point: y or y + p, with either sign where x is 0."""
    x, y = point
    signs = {0, 1} if x == 0 else {x & 1}
    return {
        (value | sign << 255).to_bytes(32, "little")
        for value in (y, y + P)
        if value < 1 << 255
        for sign in signs
    }


def test_every_spelling_of_every_point_of_small_order_is_refused() -> None:
    points = small_order()
    assert len(points) == 8
    assert all(times(8, point) == IDENTITY for point in points)
    keys = set[bytes]().union(*map(spellings, points))
    assert len(keys) == 14
    for key in keys:
        with pytest.raises(NotProven, match=r"small order|canonical"):
            check_public_key(key)
        # With the other sign it is a point of small order too, or none.
        with pytest.raises(NotProven, match=r"small order|canonical"):
            check_public_key(key[:31] + bytes([key[31] ^ 0x80]))


@pytest.mark.parametrize("y", [*range(P, 1 << 255)])
def test_a_y_that_is_not_canonical_is_refused(y: int) -> None:
    for sign in (0, 1):
        with pytest.raises(NotProven, match="canonical"):
            check_public_key((y | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(NotProven, match="32 bytes"):
        check_public_key(bytes(size))


def test_keys_that_were_generated_are_taken() -> None:
    for n in range(50):
        private = Ed25519PrivateKey.from_private_bytes(sha256(bytes([n])).digest())
        check_public_key(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


@pytest.mark.parametrize("kind", [LOG_SIGNATURE, COSIGNATURE])
def test_a_verifier_key_of_small_order_is_refused(kind: int) -> None:
    for y in (0, 1, P - 1):
        public = y.to_bytes(32, "little")
        key = VerifierKey("log.example/home", kind, public)
        with pytest.raises(NotProven, match="small order"):
            VerifierKey.parse(str(key))
