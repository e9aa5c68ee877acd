"""RENDERING names one way of showing contents: another way needs another name."""

from __future__ import annotations

import hashlib
import json

from placet_approval.content.extraction import extract
from placet_approval.content.pdf import text_of
from placet_approval.content.warnings import RENDERING, warnings_of
from placet_testing.pdf import pdf
from placet_text import lines_of, one_line, visible_line

TEXTS = {
    "text/plain": "\ufeffPay 100 €\r\n\tto Bob\rtoday\u2028or never\n\n",
    "text/markdown": "# Pay\n[bank](https://bank.example)\u202egnp.exe\u200b <b>now</b>",
    "text/x-diff": "-a = 1\n+a\u0430 = 1\n \x1b[31mred\x07",
    "application/json": '{"to": "раypal", "emoji": "👩\u200d💻", "tag": "\U000e0041"}',
}
# SHA-256 of all that a person gets to see of them, by what it is called. Whoever changes what is shown adds a
# name, in RENDERING too; decisions under way that name the one of before are then void.
KNOWN = {
    "text/1": "bf7c7101fec6584d15598c0e023446d4b0114930e3b821bca49199335fa11057",
    "text/2": "0f005299cf601d17aa7c2fed847223b71bfee96442eb6c1a9407f61ff3e81ec9",
}


def shown() -> list[object]:
    texts = [extract(text.encode(), media_type).text for media_type, text in TEXTS.items()]
    texts.append(text_of(pdf("Pay \\(100 \\200\\)", "second page")))
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
