"""Whatever others wrote, nothing in it is hidden from who reads it; honest text stays as it was written."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from placet_text import (
    Deception,
    deceptive,
    lines_of,
    named,
    one_line,
    says_nothing,
    visible,
    visible_line,
    warning_words,
    without_hidden,
)

BIDIRECTIONAL = [
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
INVISIBLE = [
    *"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180e\u180f\u200b\u200c\u200d\u2028\u2029\u2060\u2064\u206a\u2800",
    *"\u3164\ufe00\ufe0e\ufe0f\ufeff\uffa0\ufff9\U0001bca0\U0001d159\U0001d173\U000e0001\U000e0041\U000e0100",
]
UNDEFINED = [
    *"\ue000\uf8ff\ufdd0\ufdef\ufffc\ufffe\uffff\U0001fffe\U000dffff\U000efffe\U000f0000\U000ffffd\U0010ffff"
]
STRIKING = [*"\u0334\u0335\u0336\u0337\u0338\u20d2\u20d8\u20e0\u20e5\u20e6\u20ea\u20eb"]
CONTROL = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"]
DECEPTIVE = (
    *((character, Deception.BIDIRECTIONAL) for character in BIDIRECTIONAL),
    *((character, Deception.INVISIBLE) for character in INVISIBLE),
    *((character, Deception.CONTROL) for character in CONTROL),
    *((character, Deception.UNDEFINED) for character in UNDEFINED),
    *((character, Deception.STRUCK_THROUGH) for character in STRIKING),
)
HONEST = (
    "Zahlung an Müller & Söhne – über 1.200 €",
    "L’été dernier, Noël coûtait 3 € de plus",
    "Перевести 100 рублей",
    "Πληρωμή 100 ευρώ",
    "ادفع ١٠٠ يورو",
    "می\u200cخواهم پرداخت کنم",  # with U+200C, as Persian is spelt
    "שלמו 100 אירו",
    "請求書を支払う（100円）",
    "청구서를 지불하십시오",
    "ชำระเงิน 100 บาท",
    "भुगतान करें, क्\u200dष और क्\u200cष",  # with U+200D and U+200C
    "👨\u200d👩\u200d👧 ❤\ufe0f 🏳\ufe0f\u200d🌈 👩🏽\u200d⚕\ufe0f 1\ufe0f⃣ #\ufe0f⃣ ☎\ufe0e 🇩🇪",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a ≠ b, x =\u0338 y, x \u2208\u0338 M",  # decomposed
)
# Of all characters seldom, of these often; and what they are honest beside.
HIDING = st.sampled_from([*(character for character, _ in DECEPTIVE), *"\t\n\r", *"👩❤🏴1\u20e3مक"])
ANY = st.text(st.one_of(HIDING, st.characters()))


@pytest.mark.parametrize(("character", "deception"), DECEPTIVE, ids=[named(one) for one, _ in DECEPTIVE])
def test_each_character_that_hides_turns_or_steers_is_found_and_made_visible(
    character: str, deception: Deception
) -> None:
    text = f"pay {character}now{character}"
    (found,) = deceptive(text).items()
    assert found[0] is deception
    assert (found[1].place, found[1].counts) == (4, {character: 2})
    assert visible(text) == f"pay <U+{ord(character):04X}>now<U+{ord(character):04X}>"


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_left_as_it_was_written(text: str) -> None:
    assert deceptive(text) == {}
    assert visible(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "pay\u200dme",  # a joiner that joins nothing
        "\u200d👩",
        "👩\u200d",
        "👩\u200d\u200d👧",
        "❤\ufe0f\ufe0f",  # a second selector selects nothing
        "a\ufe0f",
        "1\ufe0f",
        "a\ufe0f\u200d👩",
        "❤\ufe00",
        "葛\U000e0100",
        "م\u200c.",
        "م\u200c\u200dم",
        "🏴\U000e0067\U000e007f",  # no region
        "👩\U000e0068\U000e0069",
    ],
)
def test_what_shapes_nothing_is_found_beside_honest_text_too(text: str) -> None:
    assert Deception.INVISIBLE in deceptive(text)
    assert deceptive(visible(text)) == {}


def test_all_kinds_are_found_each_from_its_first_place() -> None:
    found = deceptive("a\u200b\u202eb\x1b\u200c\u00ad\u200b")
    assert {kind: one.place for kind, one in found.items()} == {
        Deception.INVISIBLE: 1,
        Deception.BIDIRECTIONAL: 2,
        Deception.CONTROL: 4,
    }
    assert list(found[Deception.INVISIBLE].counts.items()) == [("\u200b", 2), ("\u00ad", 1), ("\u200c", 1)]


@given(ANY)
@example("a\ufe0f\u200d👩")
@example("👩\u200d🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f")
@example("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f\U000e007f")
def test_nothing_that_is_shown_can_deceive(text: str) -> None:
    for shown in (visible(text), one_line(text)):
        assert deceptive(shown) == {}
        assert not any(unicodedata.category(one) in ("Cc", "Zl", "Zp") for one in shown)
        assert visible(shown) == shown
        shown.encode()


@given(ANY, st.sampled_from(["", " "]))
def test_what_is_replaced_is_what_is_found(text: str, instead: str) -> None:
    kept = without_hidden(text, instead)
    assert deceptive(kept) == {}
    kept.encode()


def test_words_stay_apart_without_what_stood_between_them() -> None:
    assert without_hidden("ig\u200bnore\u2028all\x0brules 👩\u200d👧\n") == "ignore all rules 👩\u200d👧\n"
    assert without_hidden("a\u202eb\ud800c", "-") == "a-b-c"


@given(st.text(st.one_of(HIDING, st.characters(codec="utf-8"))))
def test_what_is_found_is_what_is_made_visible(text: str) -> None:
    found = {character for one in deceptive(text).values() for character in one.counts}
    assert {one for one in text if f"<U+{ord(one):04X}>" in visible(text)} - set("\t\n\r") == found


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_is_never_touched(text: str) -> None:
    assert visible(text) == text
    assert deceptive(text) == {}


@given(ANY)
def test_one_line_is_one_line_with_single_spaces(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown == " ".join(shown.split())


def test_lines_end_where_every_program_ends_them_and_nowhere_else() -> None:
    assert lines_of("a\r\nb\rc\n\nd\x0be\x85f\u2028g\n") == ["a", "b", "c", "", "d\x0be\x85f\u2028g"]
    assert lines_of("") == []
    assert lines_of("a") == lines_of("a\n") == ["a"]


def test_a_half_of_a_surrogate_pair_can_be_shown() -> None:
    assert visible("a\ud800") == "a<U+D800>"


def test_a_warning_is_a_sentence_and_what_a_later_service_knows_is_told_too() -> None:
    assert warning_words("text", "INVISIBLE", "U+200B ZERO WIDTH SPACE at line 1, column 4", 1200) == (
        "The content holds characters that are not shown, 1,200 in all: "
        "U+200B ZERO WIDTH SPACE at line 1, column 4"
    )
    assert warning_words("label", "", "U+0041", 1) == "label may deceive: U+0041"


@pytest.mark.parametrize(
    "text", ["", " \t\r\n", "\u00a0\u3000\u2028", "\u200b\u2060\u00ad", "\u3164\u115f\u2800"]
)
def test_blanks_and_characters_that_are_not_shown_say_nothing(text: str) -> None:
    assert says_nothing(text)
    assert says_nothing("\u0301" + text + "\ufffd\x07")
    assert not says_nothing(text + "x")


@given(ANY)
def test_what_shows_a_letter_or_digit_says_something(text: str) -> None:
    hidden = without_hidden(text)
    assert says_nothing(text) <= (not any(one.isalnum() for one in hidden))
    assert not says_nothing(f"{text}.")


def test_blanks_in_a_row_are_shown_by_their_number() -> None:
    assert visible_line(f"EUR 10 to ACME{' ' * 1600}EUR 1000000 to Eve") == (
        "EUR 10 to ACME<1,600 blanks>EUR 1000000 to Eve"
    )
    assert visible_line("\t" * 200 + "x") == "<1,600 blanks>x"
    assert visible_line("\u00a0\u3000" * 100) == "<200 blanks>"
    assert visible_line(f"{' ' * 40}|{' ' * 40}|") == f"{' ' * 40}|{' ' * 40}|"
    assert visible_line("\tif x:\u202e") == "        if x:<U+202E>"
