"""The form in which contents are shown to approvers."""

from __future__ import annotations

from typing import Final

# Title, subject id and extracted text as plain text, line by line, after the warnings about them. Characters
# that are invisible or reorder others, and long runs of blanks, get a visible form. A decision names its
# rendering, and is refused when it names another. Raise the number with any change of extraction, warnings or
# visible forms.
RENDERING: Final = "text/1"
