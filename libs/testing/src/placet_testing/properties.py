"""Pytest plugin: the number of examples and of flipped bits that a test tries, and no clock for an example.

The suite tries few. With PLACET_THOROUGH set (`make test THOROUGH=1`) it tries forty times the examples, and
each bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hypothesis import HealthCheck, settings

THOROUGH = bool(os.environ.get("PLACET_THOROUGH"))
EXAMPLES = 50

settings.register_profile(
    "placet",
    deadline=None,
    max_examples=40 * EXAMPLES if THOROUGH else EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("placet")


def bits_to_flip(size: int) -> Iterable[int]:
    """Numbers of bits in so many bytes: one of each byte, in turn the first to the eighth; THOROUGH: all."""
    return range(8 * size) if THOROUGH else (8 * byte + byte % 8 for byte in range(size))
