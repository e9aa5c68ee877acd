"""The one mapper between the workflow's events (pydantic DTOs) and the audit contract (protobuf).

It is generic: names are equal on both sides (a contract test says so), and a field's proto type decides
how its value crosses. An Erasable message is its text; bytes are lower-case hex; an enum value is its name
without the enum's prefix; Timestamp and Duration are datetime (UTC) and timedelta, to the microsecond.
"""

from placet_mapping.mapper import from_proto, to_proto

__all__ = ["from_proto", "to_proto"]
