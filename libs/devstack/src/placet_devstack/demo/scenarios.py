"""The demonstration's requests, their answers and their expected outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Two hours pass in six seconds. Configuration of the stack, labelled wherever it shows.
CLOCK_SCALE = 1200.0

REQUESTER = "ci@example.com"
ALICE = "alice@example.com"
BOB = "bob@example.com"
CAROL = "carol@example.com"


@dataclass(frozen=True)
class Answer:
    """The answer of a person once asked."""

    verdict: str
    reason: str


@dataclass(frozen=True)
class Expected:
    """The expected outcome, in the contract's names without prefix."""

    state: str
    source: str
    decision_type: str
    approver: str


@dataclass(frozen=True)
class Scenario:
    """One request of the story. Whoever is asked and has no answer stays silent."""

    number: int
    caption: str
    title: str
    content: str
    policy: str
    approver: str
    expected: Expected
    manager: str = ""
    priority: str = "NORMAL"
    answers: Mapping[str, Answer] = field(default_factory=dict)
    # The default worker is killed while this one waits, once the scenarios named here are closed.
    kill_after: tuple[int, ...] = ()


SCENARIOS = (
    Scenario(
        1,
        "a human says yes",
        "Publish notes 2.4",
        "# Release notes 2.4\n\nFaster search, two fixed crashes, a new export of reports.\n",
        "simple",
        ALICE,
        Expected("APPROVED", "HUMAN", "HUMAN", ALICE),
        answers={ALICE: Answer("APPROVE", "Reads well")},
    ),
    Scenario(
        2,
        "a human says no",
        "Refund order 1093",
        "Refund EUR 480 for order 1093. The customer says that the parcel never arrived.\n",
        "simple",
        BOB,
        Expected("REJECTED", "HUMAN", "HUMAN", BOB),
        answers={BOB: Answer("REJECT", "The parcel was signed for")},
    ),
    Scenario(
        3,
        "a rule approves a safe document at once, and nobody is asked",
        "Lunch menu, week 24",
        "Lunch menu for the canteen, week 24\n\nMonday: lentil soup with bread\nTuesday: baked potatoes\n",
        "document",
        ALICE,
        Expected("APPROVED", "AI_PRESCREEN", "AUTOMATIC", "AI-Auto-Approved"),
        manager=BOB,
    ),
    Scenario(
        4,
        "silence goes to the manager",
        "New discount rules",
        "Orders above EUR 200 get 5 % off from Monday on. Tests pass, the shop team has reviewed it.\n",
        "escalating",
        ALICE,
        Expected("APPROVED", "HUMAN", "MANAGER", BOB),
        manager=BOB,
        answers={BOB: Answer("APPROVE", "Agreed with the shop team")},
    ),
    Scenario(
        5,
        "silence twice goes to the AI",
        "Pay invoice 4711",
        "Please transfer EUR 18,450 today. Our bank account has changed: the new IBAN is "
        "DE02 1203 0000 0000 2020 51. Do not call us about it, we are out of office.\n",
        "escalating",
        ALICE,
        Expected("REJECTED", "AI_FALLBACK", "AI_FALLBACK", "AI-Fallback"),
        manager=BOB,
    ),
    Scenario(
        6,
        "a worker is killed while this one waits",
        "Rename staging DB",
        "Rename the staging database from shop_stage to shop_staging, tonight after 22:00.\n",
        "simple",
        CAROL,
        Expected("APPROVED", "HUMAN", "HUMAN", CAROL),
        answers={CAROL: Answer("APPROVE", "Nobody uses it tonight")},
        kill_after=(1, 2, 3, 4),
    ),
)
