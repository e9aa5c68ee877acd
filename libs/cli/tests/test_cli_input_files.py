"""Any real file can be asked about, or it is said why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from placet_cli.input_files import MAX_BYTES, MAX_TITLE, heading_of, read_document
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


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("# The title\n", "The title"),
        ("text\n\n### Later ###\n# More\n", "Later"),
        ("The title\n=========\n", "The title"),
        ("Over\ntwo lines\n---\n", "Over two lines"),
        ("```\n# no heading\n```\n\n# The title\n", "The title"),
        ("~~~~ sh\n# no heading\n~~~\n~~~~\n# The title\n", "The title"),
        ("    # indented code\n\n# The title\n", "The title"),
        ("<!--\n# no heading\n-->\n# The title\n", "The title"),
        ("> # of a quote\n\n- # of a list\n\n# The title\n", "The title"),
        ("---\ntitle: front matter\n---\n\n# The title\n", "The title"),
        ("---\n\n# The title\n\n---\n", "The title"),
        ("#\n\n# \u200b\n\n## The title\n", "The title"),
        ("#hashtag\n\n\\# escaped\n\n# The title\r\n", "The title"),
        (
            "# The *real* `code` [link](u) ![alt](i) &amp; <b>title</b> \\*\n",
            "The real code link alt & title *",
        ),
        ("# see [there]\n\n[there]: /u\n", "see there"),
        ("```\n# never closed\n", ""),
        ("just text\n", ""),
    ],
)
def test_the_title_of_markdown_is_its_first_heading(tmp_path: Path, text: str, heading: str) -> None:
    assert heading_of(text) == heading
    for number, mark in enumerate(("", "\ufeff")):
        file = tmp_path / f"file-{number}.md"
        file.write_text(mark + text)
        assert read_document(str(file)).title == (heading or file.name)


def test_a_long_heading_is_cut_and_shows_it(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"# {'word ' * 100_000}\n")
    title = read_document(str(tmp_path / "a.md")).title
    assert len(title) == MAX_TITLE
    assert title.endswith("word…")


def test_a_heading_is_one_line_whatever_it_says(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# one&#10;two\\\nthree\n")
    assert read_document(str(tmp_path / "a.md")).title == "one two\\"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_refused_with_the_command_that_changes_it(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a b.csv"
    file.write_bytes("id;amount;name\r\n1;950,00;Zoë\r\n".encode(encoding))
    with pytest.raises(Problem, match="not text in UTF-8") as told:
        read_document(str(file))
    (step,) = told.value.tries
    assert step.startswith("iconv -f UTF-")
    assert f"'{file}'" in step


def test_a_file_whose_name_is_not_utf_8_is_read(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.txt")
    Path(name).write_text("pay")
    assert read_document(name).title == "caf\ufffd .txt"
    Path(name).write_bytes(b"\xff\xfe")
    with pytest.raises(Problem):
        read_document(name)
