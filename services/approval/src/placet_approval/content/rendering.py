"""How a content is to be shown."""

from __future__ import annotations

from typing import Final

# Title, caller's id and extracted text as plain text, line by line, after the warnings about them, and with a
# visible form for each character that is not shown or turns others. A decision names this, and is void when
# it names another: raise the number with whatever lets people see the same content in another way, be it how
# text is extracted, what is warned of, or what is made visible.
RENDERING: Final = "text/1"
