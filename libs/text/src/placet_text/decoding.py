"""Text from bytes: UTF-8, with or without a byte order mark."""

from __future__ import annotations

import codecs

_MARK = "\ufeff"
# The mark of UTF-32 in little-endian order begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Bytes that tell an encoding without a mark.
_LOOKED_AT = 4096


class NotText(ValueError):
    """The bytes are not text in UTF-8; `encoding` is theirs, or "". The message continues "the content …"."""

    def __init__(self, message: str, encoding: str = "") -> None:
        super().__init__(message)
        self.encoding = encoding


def decoded(body: bytes) -> str:
    """The text of some bytes, without the byte order mark at its beginning. Raises NotText.

    NUL belongs to no text: it is invisible, and not every database stores it.
    """
    encoding = _other_encoding(body)
    if encoding:
        raise NotText(
            f"is text in {encoding}, and only UTF-8 is taken: save it as UTF-8, e.g. with iconv", encoding
        )
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotText(
            f"is not UTF-8 text: byte {error.start} cannot be read; save it as UTF-8, e.g. with iconv"
        ) from error
    if "\0" in text:
        raise NotText(f"is not text: byte {body.index(0)} is NUL")
    return text.removeprefix(_MARK)


def _other_encoding(body: bytes) -> str:
    """The encoding of bytes that are not UTF-8, by their mark or by NUL in every other byte; "" else."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    begin = body[:_LOOKED_AT]
    even, odd = begin[::2], begin[1::2]
    for high, low, name in ((even, odd, "UTF-16BE"), (odd, even, "UTF-16LE")):
        # Text that is mostly ASCII, without a mark.
        if len(body) % 2 == 0 and low and not low.count(0) and high.count(0) > len(high) // 2:
            return name
    return ""
