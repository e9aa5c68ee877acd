"""Coverage: what of a content its extracted text holds, and what not."""

from __future__ import annotations

from enum import StrEnum

from placet_domain.dto import Dto


class GapKind(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    IMAGE = "IMAGE"
    DRAWING = "DRAWING"
    FONT = "FONT"
    NOT_VISIBLE = "NOT_VISIBLE"
    LAYER = "LAYER"
    ATTACHMENT = "ATTACHMENT"
    XML_FORM = "XML_FORM"
    ACTION = "ACTION"
    REVISION = "REVISION"
    MALFORMED = "MALFORMED"
    BINARY = "BINARY"
    LIMIT = "LIMIT"


class ContentGap(Dto):
    kind: GapKind = GapKind.UNSPECIFIED
    count: int = 0
    first_page: int = 0


class ContentCoverage(Dto):
    whole: bool = False
    gaps: tuple[ContentGap, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True only if it says so and names no gap."""
        return self.whole and not self.gaps


WHOLE = ContentCoverage(whole=True)
