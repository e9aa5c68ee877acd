"""RENDERING names one way of showing contents: another way needs another name."""

from __future__ import annotations

import hashlib
import json

from placet_approval.content.extraction import extract
from placet_approval.content.pdf import read_pdf
from placet_approval.content.warnings import RENDERING, warnings_of
from placet_testing.pdf import pdf, pdf_file, shows
from placet_text import lines_of, one_line, visible_line

TEXTS = {
    "text/plain": "\ufeffPay 100 €\r\n\tto Bob\rtoday\u2028or never\n\n",
    "text/markdown": "# Pay\n[bank](https://bank.example)\u202egnp.exe\u200b <b>now</b>",
    "text/x-diff": "-a = 1\n+a\u0430 = 1\n \x1b[31mred\x07",
    "application/json": '{"to": "раypal", "emoji": "👩\u200d💻", "tag": "\U000e0041"}',
}
# SHA-256 of all that a person gets to see of them, by what it is called. Whoever changes what is shown adds a
# name, in RENDERING too; decisions under way that name the one of before are then void.
KNOWN = {"text/1": "cf41192c4fb3c1568529c95c01ef0a42f2ff2546ba85f35443dc3e4f3785a3e3"}


def shown() -> list[object]:
    texts = [extract(text.encode(), media_type).text for media_type, text in TEXTS.items()]
    texts.append(read_pdf(pdf("Pay \\(100 \\200\\)", "second page"))[0])
    field = "<< /FT /Tx /T (amount) /V (100) /Type /Annot /Subtype /Widget /Rect [0 0 9 9] >>"
    note = "<< /Type /Annot /Subtype /Text /Contents (now) /Rect [0 0 9 9] >>"
    hidden = f"{shows('Pay')} {shows('Bob', before='3 Tr')}"
    marked = pdf_file(
        hidden, field, note, catalog="/AcroForm << /Fields [5 0 R] >>", page="/Annots [5 0 R 6 0 R]"
    )
    texts.append(read_pdf(marked)[0])
    return [
        [
            [visible_line(line) for line in lines_of(text)],
            one_line(text),
            [[warning.kind, warning.message, warning.count] for warning in warnings_of({"text": text})],
        ]
        for text in texts
    ]


def test_what_people_see_changes_only_together_with_its_name() -> None:
    digest = hashlib.sha256(json.dumps(shown()).encode()).hexdigest()
    assert {**KNOWN, RENDERING: digest} == KNOWN
