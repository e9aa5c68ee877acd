"""Grounds of an automatic approval: what a text is called, and what it sounds like, are none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from placet_decision.domain import Case, Document, Mode, Verdict
from placet_decision.providers import Provider
from placet_decision.providers.diff_paths import diff_paths
from placet_decision.providers.reader import Reader
from placet_decision.servicer import from_assessment
from placet_domain.events import AiResult, PreScreened, ScreenMode, State
from placet_domain.facts import FoundFacts
from placet_domain.stimuli import PreScreenDone
from placet_mapping import from_proto
from placet_testing.simulation import Play
from placet_testing.workflow_environment import shipped_policy

TITLES = ("README", "Lunch menu", "Lunch menu, week 24", "Fix a typo", "Meeting notes")
TEXTS = {
    "signature checks off": "[main]\nname=Lunch\nbaseurl=https://example.com/repo\ngpgcheck=0\nenabled=1\n",
    "YAML": "menu:\n  lunch: true\n  retries: 0\n  verify: false\n",
    "INI": "; lunch menu\n[soup]\nverify_ssl = no\n",
    "JSON": '{"menu": {"soup": "all", "auth": null}}',
    "TOML": "# README\n[tool.menu]\nstrict = false\n",
    "SQL update": "update menus set price = 0;",
    "SQL select": "select soup, salad from menus where monday = 1",
    "SQL of words": "insert into lunch select salad from soup",
    "Python": "def lunch(menu):\n    return menu or soup\n",
    "shell": "for soup in bread; do cp soup salad; done",
    "Dockerfile": "FROM soup\nCOPY lunch /menu\nUSER root\n",
    "cron": "0 12 * * 1 lunch soup bread salad with cheese",
    "nginx": "location /menu { allow all; }",
    "crontab-like menu": "Monday: soup with bread and salad\nTuesday: curl -k soup\n",
}
EDITS = {
    "dose": ("Take 5 mg a day.", "Take 50 mg a day."),
    "negation": ("Guests may not enter.", "Guests may now enter."),
    "unit": ("Keep at 5 C.", "Keep at 5 F."),
    "comparison": ("at least 3 people", "at most 3 people"),
    "permission": ("It is not allowed.", "It is allowed."),
    "amount of a dish": ("1 egg with salt", "9 eggs with salt"),
    "dish": ("Monday: lentil soup with bread", "Monday: bean soup with bread"),
}
DIFF = """\
diff --git a/docs/guide.md b/docs/guide.md
index 1111111..2222222 100644
--- a/docs/guide.md
+++ b/docs/guide.md
@@ -1,2 +1,2 @@ Guide
 Open
-teh door.
+the door.
"""


def edit(old: str, new: str, file: str = "README.md") -> str:
    return f"--- a/{file}\n+++ b/{file}\n@@ -1 +1 @@\n-{old}\n+{new}\n"


async def is_approved(
    title: str, text: str, media_type: str = "text/plain", risk: float | None = None
) -> bool:
    """The policy `document` approves it at once; `risk`: as a model says that believes everything."""
    case = Case(Document(title, text, media_type, whole=True))
    assessed = from_assessment(await Provider().assess(case, Mode.QUICK, 5))
    screened = PreScreened(
        result=AiResult.DECIDED,
        mode=ScreenMode.QUICK,
        risk=assessed.risk if risk is None else risk,
        confidence=assessed.confidence if risk is None else 1.0,
        found=from_proto(assessed.found, FoundFacts),
    )
    play = Play(shipped_policy("document"))
    play.on(PreScreenDone(screened))
    return play.state.state is State.APPROVED


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_config_code_and_sql_are_not_approved_whatever_they_are_called(text: str) -> None:
    for title in TITLES:
        assert not await is_approved(title, text)
        assert not await is_approved(title, text, risk=0.0)


@pytest.mark.parametrize(("old", "new"), EDITS.values(), ids=EDITS)
async def test_no_small_edit_is_approved(old: str, new: str) -> None:
    for title in TITLES:
        for media_type in ("text/x-diff", "text/plain", "text/markdown"):
            assert not await is_approved(title, edit(old, new), media_type)
            assert not await is_approved(title, edit(old, new), media_type, risk=0.0)


async def test_small_files_of_a_repository_are_not_approved_as_menus() -> None:
    root = Path(__file__).parents[3]
    kinds = (".py", ".toml", ".yaml", ".yml", ".json", ".ini", ".sql", ".sh", ".mk")
    folders = (root / "services", root / "deploy", root / "tools")
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in kinds]
    small = [text for text in (file.read_text() for file in files) if 0 < len(text) <= 4000][:60]
    assert len(small) > 30
    for text in small:
        assert not await is_approved("Lunch menu", text, risk=0.0)


async def test_a_menu_is_approved() -> None:
    root = Path(__file__).parents[3]
    assert await is_approved("lunch-menu.txt", (root / "examples" / "lunch-menu.txt").read_text())
    assert not await is_approved("README", (root / "examples" / "lunch-menu.txt").read_text())


async def found(text: str, media_type: str = "text/plain", **document: object) -> FoundFacts:
    case = Case(Document("Title", text, media_type, whole=True))
    case = replace(case, document=replace(case.document, **document))  # type: ignore[arg-type]  # a test's
    return from_proto(from_assessment(await Provider().assess(case, Mode.QUICK, 5)).found, FoundFacts)


async def test_amounts_are_found_in_each_currency_however_small() -> None:
    facts = await found("Soup 8.50 €, EUR 12. $ 2k, 1.234,50 USD. Bonus 3 Mio Franken. 99999999 bn yen.")
    amounts = {amount.currency: Decimal(amount.value) for amount in facts.amounts}
    assert amounts == {
        "EUR": Decimal(12),
        "USD": Decimal(2000),
        "CHF": Decimal(3_000_000),
        "JPY": Decimal(99999999 * 10**9),
    }


async def test_what_is_declared_is_read_like_the_text() -> None:
    facts = await found(
        "See above.", facts=(("counterparty", "DE89 3704 0044 0532 0130 00"), ("amount", "7 EUR"))
    )
    assert "bank_details" in facts.firm
    assert [amount.value for amount in facts.amounts] == ["7"]


async def test_content_that_was_not_read_whole_has_no_form_and_no_paths() -> None:
    menu = "Monday: lentil soup with bread and salad"
    assert (await found(menu, title="Lunch menu")).form == "menu"
    assert (await found(menu, title="Lunch menu", whole=False)).form == ""
    assert (await found(DIFF, "text/x-diff")).paths == ("docs/guide.md",)
    assert not (await found(DIFF, "text/x-diff", whole=False)).paths_complete
    assert not (await found(DIFF)).paths_complete


async def test_the_findings_do_not_depend_on_the_mode() -> None:
    case = Case(Document("Pay", "Pay EUR 500 to DE89 3704 0044 0532 0130 00", "text/plain", whole=True))
    reading = await Reader().read(case)
    decision = await Provider().decide(case, 5)
    assert (await Provider().assess(case, Mode.QUICK, 5)).found == decision.found == reading.found
    assert decision.verdict is not Verdict.APPROVE


@pytest.mark.parametrize(
    ("diff", "paths"),
    [
        (DIFF, ("docs/guide.md",)),
        (DIFF.replace("\n", "\r\n"), ("docs/guide.md",)),
        (f"Fix a typo.\n\n{DIFF}", ("docs/guide.md",)),
        (edit("a", "b") + edit("c", "d", "x/y.py"), ("README.md", "x/y.py")),
        ("--- /dev/null\n+++ b/new.md\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n", ("new.md",)),
        (
            "diff --git a/a b b/c d\nsimilarity index 100%\nrename from a b\nrename to c d\n",
            ("a b", "c d"),
        ),
        ("diff --git a/run b/run\nold mode 100644\nnew mode 100755\n", ("run",)),
        # An added line "++ b/x" looks like the name of a file, and is none.
        ("--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-y\n+++ b/z\n+--- a/z\n", ("x",)),
    ],
)
def test_the_paths_of_a_diff_are_read(diff: str, paths: tuple[str, ...]) -> None:
    assert diff_paths(diff) == paths


@pytest.mark.parametrize(
    "diff",
    [
        "",
        "no diff",
        edit("a", "b", "../x"),
        edit("a", "b", "x//y"),
        edit("a", "b", 'x"y').replace("a/x", '"a/x'),
        "--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n",
        edit("a", "b") + "+one line too many\n",
        edit("a", "b").replace("@@ -1 +1 @@", "@@ -1,2 +1 @@"),
        edit("a", "b") + "a word\n",
        edit("a", "b") + "Binary files a/x and b/x differ\n",
        "Binary files a/x and b/x differ\n",
        "diff --git a/x b/y\nold mode 100644\nnew mode 100755\n",
        "diff --git a/x b/y\n" + DIFF,
        "+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
        "Index: x\n" + edit("a", "b"),
        "".join(edit("a", "b", f"{number}.md") for number in range(101)),
    ],
)
def test_a_diff_that_could_be_read_in_two_ways_has_no_known_paths(diff: str) -> None:
    assert diff_paths(diff) is None
