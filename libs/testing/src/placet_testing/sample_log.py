"""A small log with what there can be in one, written by a real AuditService; and its rows, to be changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet.event.v1 import error_reason_pb2, event_pb2
from placet_proof import Checkpoint, leaf_hash
from placet_proof.frontier import Frontier
from placet_proof.signer import signed
from placet_rpc.client import channel
from placet_rpc.identity import acting_for
from placet_rpc.tokens.mint import KeyFiles, SigningKey, mint, mint_for_program
from placet_testing.attestation import attest_all
from placet_testing.tokens import StaticToken
from placet_verify import Findings, Record, Row, Table, merged
from placet_verify.sqlite import NotUtf8

ORIGIN = "localhost/placet"
# Closed, then erased; closed; of the other tenant; of the tenant whose one request met with everything.
ERASED, CLOSED, ELSEWHERE, EVENTFUL = (f"1c9f0e4a-000{n}-5000-8000-000000000000" for n in range(4))
REFUSING = "/placet.approval.v1.ApprovalService/SubmitDecision"
ALICE, BOB, CAROL = "alice@example.com", "bob@example.com", "carol@example.com"


def event(cause: str, actor: str = "", **body: Any) -> event_pb2.Event:  # Any: a message of the contract
    """An event of a person, or of the clock."""
    made = event_pb2.Event(cause_id=cause, **body)
    made.actor.kind = event_pb2.ACTOR_KIND_PERSON if actor else event_pb2.ACTOR_KIND_CLOCK
    if actor:
        made.actor.name.value = actor
        made.actor.authenticated_by = "jwt:placet-embedded"
    made.time.FromSeconds(1_700_000_000)
    return made


def erasable(value: str) -> event_pb2.Erasable:
    """A value."""
    return event_pb2.Erasable(value=value)


def received(title: str) -> event_pb2.Event:
    """A request's first."""
    body = event_pb2.Received(
        title=erasable(title),
        policy="simple",
        policy_version=1,
        policy_digest=b"p" * 32,
        content_digest=b"c" * 32,
    )
    return event("intake", CAROL, received=body)


def facts() -> event_pb2.Facts:
    """Declared facts, with each value that can be erased."""
    named = event_pb2.NamedFact(name="invoice", value=erasable("R-7"))
    return event_pb2.Facts(kind="sale", counterparty=erasable("Acme"), target=erasable("4"), others=[named])


def found() -> event_pb2.FoundFacts:
    """Facts found in a content."""
    return event_pb2.FoundFacts(paths=[erasable("a.md")], paths_complete=True)


def withdrawal(cause: str, comment: str) -> list[event_pb2.Event]:
    """Events of a request that is withdrawn after a comment."""
    state = event_pb2.STATE_CANCELLED
    decided = event_pb2.Decided(state=state, source=event_pb2.SOURCE_REQUESTER, approver=erasable(CAROL))
    return [
        event(cause, ALICE, commented=event_pb2.Commented(text=erasable(comment))),
        event(f"{cause}/decided", CAROL, decided=decided),
        event(f"{cause}/closed", closed=event_pb2.Closed(state=state)),
    ]


def asking() -> list[event_pb2.Event]:
    """Events by which a request reaches people."""
    screened = event_pb2.PreScreened(
        result=event_pb2.AI_RESULT_DECIDED,
        mode=event_pb2.SCREEN_MODE_QUICK,
        risk=0.75,
        threshold=0.25,
        level=event_pb2.RISK_LEVEL_HIGH,
        confidence=0.5,
        model="rules/1",
        reasoning=erasable("Large"),
        prompt_digest=b"q" * 32,
        input_digest=b"i" * 32,
        found=found(),
    )
    processed = event_pb2.Processed(method="text", characters=9, words=2, text_digest=b"t" * 32)
    image = event_pb2.ContentGap(kind=event_pb2.GAP_KIND_IMAGE, count=2, first_page=1)
    processed.coverage.gaps.append(image)
    asked = event_pb2.Asked(tier=1, person=erasable(BOB), reason=erasable("Named"))
    opened = event_pb2.TierOpened(tier=1, name="approver", quorum=2)
    opened.due_time.FromSeconds(1_700_003_600)
    withheld = event_pb2.Withheld(reason=erasable("Switched off"))
    return [
        event("process", processed=processed),
        event("withheld", withheld=withheld),
        event("pre-screen", pre_screened=screened),
        event("tier/1", tier_opened=opened),
        event("tier/1/asked", asked=asked),
        event(
            "n1",
            notified=event_pb2.Notified(
                notification_id="n1", delivered=True, channel="email", asked_number=6
            ),
        ),
        event("c1", BOB, commented=event_pb2.Commented(text=erasable("Which cost centre?"))),
    ]


def falling_back() -> list[event_pb2.Event]:
    """One person of two answers in time, so that an AI decides."""
    silence, state = erasable("Too few responded"), event_pb2.STATE_APPROVED
    voted = event_pb2.Voted(
        tier=1,
        verdict=event_pb2.VERDICT_APPROVE,
        reason=erasable("ok"),
        on_behalf_of=erasable(ALICE),
        content_digest=b"c" * 32,
        policy_version=1,
        policy_digest=b"p" * 32,
        rendering="text/1",
    )
    timed_out = event_pb2.TimedOut(tier=1, reason=silence)
    timed_out.waited.FromSeconds(3600)
    answered = event_pb2.AiDecided(
        result=event_pb2.AI_RESULT_DECIDED,
        verdict=event_pb2.VERDICT_APPROVE,
        confidence=0.5,
        model="rules/1",
        reasoning=erasable("As before"),
        prompt_digest=b"q" * 32,
        input_digest=b"i" * 32,
        found=found(),
    )
    decided = event_pb2.Decided(
        state=state,
        source=event_pb2.SOURCE_AI_FALLBACK,
        decision_type=event_pb2.DECISION_TYPE_AI_FALLBACK,
        approver=erasable("AI-Fallback"),
        on_behalf_of=erasable(BOB),
        model="rules/1",
        confidence=0.5,
        reasoning=erasable("As before"),
    )
    return [
        event("v5", BOB, voted=voted),
        event("tier/1/timed-out", timed_out=timed_out),
        event("tier/2", escalated=event_pb2.Escalated(from_tier=1, to_tier=2, reason=silence)),
        event("tier/2/opened", tier_opened=event_pb2.TierOpened(tier=2, name="manager", quorum=1)),
        event("tier/2/timed-out", timed_out=event_pb2.TimedOut(tier=2, reason=silence)),
        event("fallback", fell_back=event_pb2.FellBack(reason=silence)),
        event("fallback/held", paused=event_pb2.Paused(step="fallback", reason="no model answers")),
        event("fallback/decided", ai_decided=answered),
        event("decided", decided=decided),
        event("closed", closed=event_pb2.Closed(state=state)),
    ]


class Writer:
    """Writes to an AuditService as those programs and people do whose job it is."""

    def __init__(self, address: str, keys: KeyFiles) -> None:
        self._address = address
        self._key = SigningKey.load(keys.private_key)

    async def append(self, tenant: str, approval_id: str, number: int, *events: event_pb2.Event) -> None:
        """In one commit."""
        attested = attest_all(events, tenant, approval_id)
        request = audit_service_pb2.AppendEventsRequest(
            approval_id=approval_id, expected_next=number, events=attested
        )
        program = "worker-default" if number > 1 else "approval"
        token = mint_for_program(self._key, program, tenant, 60)
        await self._call(tenant, token, "AppendEvents", request)

    async def erase(self, tenant: str, approval_id: str) -> None:
        """A request's values."""
        request = audit_service_pb2.EraseEventsRequest(approval_id=approval_id, reason="asked to")
        token = mint(self._key, ALICE, tenant, ["operator"], 60)
        await self._call(tenant, token, "EraseEvents", request)

    async def switch(self, tenant: str, *, off: bool) -> None:
        """Automatic decisions."""
        request = audit_service_pb2.SwitchAutomationRequest(off=off, reason="an exercise")
        token = mint(self._key, ALICE, tenant, ["operator"], 60)
        await self._call(tenant, token, "SwitchAutomation", request)

    async def _call(self, tenant: str, token: str, rpc: str, request: object) -> None:
        with acting_for(tenant):
            async with channel(self._address, StaticToken(token)) as opened:
                await getattr(audit_service_pb2_grpc.AuditServiceStub(opened), rpc)(request)


async def write_sample(writer: Writer) -> None:
    """Three tenants, four requests, refusals, erasures, and what came after an erasure; each kind of entry,
    and each kind of value that can be erased."""
    refused = event_pb2.AccessRefused(method=REFUSING, reason="ROLE_REQUIRED", approval_id=CLOSED)
    closed = error_reason_pb2.ERROR_REASON_CLOSED
    late = event_pb2.Refused(command="decision", reason=closed, message=erasable("It is closed"))
    await writer.append("default", ERASED, 1, received("Pay"))
    await writer.append("default", CLOSED, 1, received("Ship"))
    await writer.append("default", ERASED, 2, *withdrawal("v1", "fine"))
    await writer.append(
        "default", "", 0, event("approval/refusal/1", "eve@example.com", access_refused=refused)
    )
    await writer.append("default", "", 0, event("approval/refusal/2", access_refused=refused))
    await writer.erase("default", ERASED)
    await writer.append("default", ERASED, 5, event("v2", ALICE, refused=late))
    await writer.append("other", ELSEWHERE, 1, received("Hire"))
    await writer.append("default", CLOSED, 2, *withdrawal("v3", "go"))
    await writer.append("other", ELSEWHERE, 2, event("v4", ALICE, refused=late))
    eventful = received("Sell")
    eventful.received.facts.CopyFrom(facts())
    for slot, person in (("required_approver", BOB), ("manager_approver", ALICE)):
        eventful.received.assignments.add(slot=slot).people.add(value=person)
    await writer.append("eventful", EVENTFUL, 1, eventful)
    await writer.append("eventful", EVENTFUL, 2, *asking())
    await writer.append("eventful", EVENTFUL, 9, *falling_back())
    await writer.switch("eventful", off=True)
    await writer.switch("eventful", off=False)
    alarm = event_pb2.FallbackAlarm(policy="sale", raised=True, decisions=20, fallbacks=12, threshold=0.5)
    await writer.append("eventful", "", 0, event("approval/alarm/1", "", fallback_alarm=alarm))


@dataclass
class Logbook:
    """The rows of all tables, the tenant first in each."""

    tables: dict[Table, list[Row]]

    has_tables = True

    @classmethod
    def read(cls, path: Path) -> Logbook:
        """All that is in a SQLite file, which nobody has open."""
        # Else files are made beside it, as if somebody had.
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
            return cls({table: list(connection.execute(_SELECT.format(*_names(table)))) for table in Table})

    def write(self, path: Path) -> None:
        """Puts these rows in the place of those in a SQLite file, as whoever owns the file can."""
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            triggers = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            for table, rows in self.tables.items():
                connection.execute(f"DELETE FROM {table.label}")  # noqa: S608  # names of ours
                for row in rows:
                    marks = ", ".join("CAST(? AS TEXT)" if isinstance(one, NotUtf8) else "?" for one in row)
                    stored = [one.raw if isinstance(one, NotUtf8) else one for one in row]
                    connection.execute(f"INSERT INTO {table.label} VALUES ({marks})", stored)  # noqa: S608  # as above
            for _, trigger in triggers:
                connection.execute(trigger)

    def copied(self) -> Logbook:
        """One that can be changed."""
        return Logbook({table: list(rows) for table, rows in self.tables.items()})

    def of(self, table: Table, tenant: str) -> list[Row]:
        """A tenant's rows."""
        return [row for row in self.tables[table] if row[0] == tenant]

    def set(self, table: Table, at: int, **columns: object) -> None:
        """Changes columns of the row number `at`."""
        row = dict(zip(("tenant", *table.columns), self.tables[table][at], strict=True)) | columns
        self.tables[table][at] = tuple(row.values())

    def find(self, table: Table, tenant: str, place: int) -> int:
        """The number of a tenant's row of an index or a size."""
        return next(at for at, row in enumerate(self.tables[table]) if row[0] == tenant and row[1] == place)

    def entry(self, tenant: str, index: int) -> event_pb2.Entry:
        """Content of a leaf."""
        leaf = self.tables[Table.ENTRY][self.find(Table.ENTRY, tenant, index)][-1]
        assert isinstance(leaf, bytes)
        return event_pb2.Entry.FromString(leaf)

    def rewrite(self, tenant: str, index: int, entry: event_pb2.Entry) -> None:
        """Lets a leaf say something else, and its columns too."""
        self.set(
            Table.ENTRY,
            self.find(Table.ENTRY, tenant, index),
            approval_id=entry.approval_id,
            number=entry.number,
            cause_id=entry.event.cause_id,
            leaf=entry.SerializeToString(deterministic=True),
        )

    def insert(self, tenant: str, index: int, entry: event_pb2.Entry) -> None:
        """Puts an entry in the place of another, which moves on with all that follow. Values stay where they
        belong; the tree and the checkpoints stay as they are."""
        self._move(tenant, index, 1)
        self.tables[Table.ENTRY].append((tenant, index, "", 0, "", b""))
        self.rewrite(tenant, index, entry)

    def remove(self, tenant: str, index: int) -> None:
        """Takes an entry out with its values; all that follow move up. Otherwise as `insert`."""
        for table in (Table.ENTRY, Table.DISCLOSURE):
            self.tables[table] = [row for row in self.tables[table] if row[:2] != (tenant, index)]
        self._move(tenant, index, -1)

    def delete(self, tenant: str, index: int, *tables: Table) -> None:
        """Takes an entry's rows out of some tables (a checkpoint: of so many entries); nothing moves."""
        for table in tables:
            self.tables[table] = [row for row in self.tables[table] if row[:2] != (tenant, index)]

    def _move(self, tenant: str, index: int, by: int) -> None:
        for table in (Table.ENTRY, Table.DISCLOSURE):
            for at, row in enumerate(self.tables[table]):
                if row[0] == tenant and int(str(row[1])) >= index:
                    self.set(table, at, index=int(str(row[1])) + by)

    def cut(self, tenant: str, size: int, *tables: Table) -> None:
        """Takes out of some tables what is of entries from `size` on."""
        for table in tables:
            last = size if table is Table.CHECKPOINT else size - 1
            self.tables[table] = [
                row for row in self.tables[table] if row[0] != tenant or int(str(row[1])) <= last
            ]

    def regrow(self, tenant: str) -> None:
        """Grows a tenant's tree again from its entries. The checkpoints stay as they are."""
        checkpoints = self.tables[Table.CHECKPOINT]
        self.reseal(tenant, Ed25519PrivateKey.generate())
        self.tables[Table.CHECKPOINT] = checkpoints

    def reseal(self, tenant: str, key: Ed25519PrivateKey, *, sizes: Sequence[int] = ()) -> None:
        """Grows a tenant's tree again from its entries, and signs it with a key, as who stole that could:
        checkpoints of `sizes`, or of those that there were, and of all."""
        entries = sorted(self.of(Table.ENTRY, tenant), key=lambda row: _order(row[1:]))
        wanted = set(sizes or [int(str(row[1])) for row in self.of(Table.CHECKPOINT, tenant)]) | {
            len(entries)
        }
        for table in (Table.TREE, Table.CHECKPOINT):
            self.tables[table] = [row for row in self.tables[table] if row[0] != tenant]
        tree, name = Frontier(), f"{ORIGIN}/{tenant}"
        for entry in entries:
            leaf = entry[-1]
            assert isinstance(leaf, bytes)
            self.tables[Table.TREE].append((tenant, tree.size, b"".join(tree.append(leaf_hash(leaf)))))
            if tree.size in wanted:
                text = Checkpoint(name, tree.size, tree.root()).text
                note = f"{text}\n{signed(text, key, name)}"
                self.tables[Table.CHECKPOINT].append((tenant, tree.size, note))

    # As a source to verify.

    def damage(self) -> Iterator[str]:
        """None: there are no pages."""
        yield from ()

    def schema_faults(self) -> Iterator[str]:
        """None: there is no database."""
        yield from ()

    def tenants(self) -> Sequence[object]:
        """Of all rows."""
        return list({row[0] for rows in self.tables.values() for row in rows})

    def rows(self, table: Table, tenant: str) -> Iterator[Row]:
        """In the order in which databases give them."""
        return iter(sorted((row[1:] for row in self.of(table, tenant)), key=_order))

    def records(self, tenant: str, findings: Findings) -> Iterator[Record]:
        """See Source."""
        return merged(self, tenant, findings)


def _order(row: Row) -> tuple[int, Any]:  # Any: numbers are compared with numbers only
    rank = 0 if isinstance(row[0], int | float) else 1
    return rank, row[0] if not rank else str(row[0])


_SELECT = "SELECT {1} FROM {0} ORDER BY rowid"


def _names(table: Table) -> tuple[str, str]:
    return table.label, ", ".join(f'"{column}"' for column in ("tenant", *table.columns))
