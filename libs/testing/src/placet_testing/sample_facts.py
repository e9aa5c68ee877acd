"""Facts of a request in the sample log, with each of their values."""

from __future__ import annotations

from placet.event.v1 import event_pb2


def erasable(value: str) -> event_pb2.Erasable:
    """A value."""
    return event_pb2.Erasable(value=value)


def facts() -> event_pb2.Facts:
    """Declared facts, with each value that can be erased."""
    named = event_pb2.NamedFact(name="invoice", value=erasable("R-7"))
    return event_pb2.Facts(
        kind="payment",
        amount="120",
        currency="EUR",
        counterparty=erasable("Acme"),
        target=erasable("Account 4"),
        environment="production",
        others=[named],
    )


def found() -> event_pb2.FoundFacts:
    """Facts found in a content."""
    return event_pb2.FoundFacts(
        amounts=[event_pb2.Amount(value="500", currency="EUR")],
        firm=["amount"],
        paths=[erasable("docs/prices.md")],
        paths_complete=True,
    )
