"""Public keys of Ed25519 under which signatures prove nothing."""

from __future__ import annotations

from placet_proof.tree import NotProven

PUBLIC_KEY_BYTES = 32

_P = (1 << 255) - 19
# The y of the points of order 8 is one of these two; see `check_public_key`.
_ORDER_8 = int.from_bytes(
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
)
_SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def check_public_key(public: bytes) -> None:
    """Raises NotProven for a key that is not 32 bytes, not canonical, or a point of small order.

    Under a key of small order anybody can make a signature that verifies for many texts or for all. The curve
    has eight such points (order 1, 2, 4 or 8), which have five values of y, 0, 1, -1 and two more. With their
    other spellings they are fourteen keys; https://github.com/C2SP/CCTV/tree/main/ed25519 lists them. Not
    canonical is a y of p = 2^255 - 19 or more, which RFC 8032, section 5.1.3, refuses to decode, and a sign
    where x is 0, which is of small order too. Libraries differ in all of these.
    """
    if len(public) != PUBLIC_KEY_BYTES:
        raise NotProven(f"a public key of Ed25519 has {PUBLIC_KEY_BYTES} bytes, not {len(public)}")
    # The highest bit is the sign of x.
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    if y >= _P:
        raise NotProven("the public key is not in its canonical spelling (RFC 8032, section 5.1.3)")
    if y in _SMALL_ORDER:
        raise NotProven("the public key is a point of small order, under which anybody can sign")
