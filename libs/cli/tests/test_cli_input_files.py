"""Any real file can be asked about, or it is said why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet_cli.input_files import MAX_BYTES, read_document
from placet_cli.problems import Problem

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("name", "media_type", "title"),
    [
        ("payment.md", "text/markdown", "Release payment 4711 to Nordwind Logistics"),
        ("typo-fix.diff", "text/x-diff", "typo-fix.diff"),
        ("lunch-menu.txt", "text/plain", "lunch-menu.txt"),
    ],
)
def test_the_examples_are_known_for_what_they_are(name: str, media_type: str, title: str) -> None:
    document = read_document(str(EXAMPLES / name))
    assert (document.media_type, document.title) == (media_type, title)
    assert document.body == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "body", "media_type"),
    [
        ("a.json", b"{}", "application/json"),
        ("a.PDF", b"%PDF-1.7 \xff", "application/pdf"),
        ("a.patch", b"+x", "text/x-diff"),
        ("Makefile", b"all:", "text/plain"),
        ("no-heading.md", b"just text", "text/markdown"),
    ],
)
def test_a_suffix_tells_the_type_and_all_other_text_is_plain(
    tmp_path: Path, name: str, body: bytes, media_type: str
) -> None:
    (tmp_path / name).write_bytes(body)
    document = read_document(str(tmp_path / name))
    assert (document.media_type, document.title) == (media_type, name)


@pytest.mark.parametrize(
    ("body", "why"), [(b"", "empty"), (b"\xff\xfe", "not text"), (b"x" * (MAX_BYTES + 1), "too large")]
)
def test_a_file_that_cannot_be_decided_is_a_problem_before_anything_is_sent(
    tmp_path: Path, body: bytes, why: str
) -> None:
    (tmp_path / "file").write_bytes(body)
    with pytest.raises(Problem, match=why):
        read_document(str(tmp_path / "file"))


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot read"):
        read_document(str(tmp_path / "nothing"))
