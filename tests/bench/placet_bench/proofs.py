"""Cost of proofs: a proof's length in a log of a million entries, its verification, and a whole log's."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from placet.event.v1 import event_pb2
from placet_approval.attester import Attester
from placet_audit.domain import Append, RequestKey
from placet_audit.leaf import seal
from placet_audit.log_keys import LogKeys
from placet_audit.merkle_store import Span, inclusion_spans, indexes_of, roots_of
from placet_audit.store import append
from placet_bench.figures import Figure, Report, at_most, percentile
from placet_bench.setting import Setting
from placet_domain.commands import CommentCommand
from placet_domain.events import Actor, ActorKind
from placet_proof import Leaf, leaf_hash, verify_inclusion
from placet_proof.frontier import Frontier
from placet_proof.grammar import BEGIN, follow
from placet_proof.grammar import Path as LogPath
from placet_proof.signer import new_key
from placet_storage import Database
from placet_testing.attestation import KEY, KEYS, attest
from placet_verify import KnownKeys, SqliteSource, Verification

MILLION = 1_000_000
SEED = 6962
TENANT, A_REQUEST, MOST_A_COMMIT = "bench", 100, 5
# Commits that are written in one transaction.
AT_ONCE = 1000


@dataclass(frozen=True)
class Proof:
    """An inclusion proof with what it is about."""

    leaf: bytes
    index: int
    hashes: Sequence[bytes]


async def measure(setting: Setting) -> Report:
    """Proofs of entries chosen at random; and a log in small commits, rebuilt and verified.

    The target is the tree's alone. A whole verification takes longer, most of it for signatures.
    """
    size, entries = (50_000, 5_000) if setting.quick else (MILLION, 100_000)
    root, proofs = await asyncio.to_thread(_proofs, size)
    taken = [_verification(proof, size, root) for proof in proofs for _ in range(5)]
    longest = max(len(proof.hashes) for proof in proofs)
    keys = replace(LogKeys.read(new_key(), "bench/log"), attesting=KEYS)
    signing, judging, again = await asyncio.to_thread(_attestations, 200 if setting.quick else 2000)
    setting.say(f"proofs: writing a log of {entries:,} entries")
    commits = await _write_log(setting.folder / "log.db", keys, entries)
    rebuilt = await asyncio.to_thread(_rebuild, setting.folder / "log.db", entries)
    verified = await asyncio.to_thread(_verify, setting.folder / "log.db", keys, entries, commits)
    return Report(
        (
            Figure(f"tree of {entries:,} entries rebuilt from the database", rebuilt, "s", target=at_most(2)),
            Figure(f"`placet audit verify` of the same, {commits:,} checkpoints, all checks", verified, "s"),
            Figure(f"inclusion proof in a log of {size:,}, longest", longest, "hashes", target=at_most(20)),
            Figure(
                "verification of an inclusion proof, p50", percentile(taken, 0.5), "µs", target=at_most(100)
            ),
            Figure("verification of an inclusion proof, p99", percentile(taken, 0.99), "µs"),
            Figure("attestation of a command: signing it, p50", percentile(signing, 0.5), "µs"),
            Figure("grammar and attestation of a command's event, p50", percentile(judging, 0.5), "µs"),
            Figure("grammar of the same, the signature being known, p50", percentile(again, 0.5), "µs"),
        )
    )


def _proofs(size: int) -> tuple[bytes, list[Proof]]:
    """A tree's root, and proofs of some hundred of its leaves; only what they need is kept of it."""
    chosen = [0, size - 1, *random.Random(SEED).sample(range(size), 200)]
    spans = {index: [Span(index, index + 1), *inclusion_spans(index, size)] for index in chosen}
    needed = set(indexes_of(span for some in spans.values() for span in some))
    tree, kept = Frontier(), dict[int, bytes]()
    for index in range(size):
        roots = tree.append(leaf_hash(index.to_bytes(8, "big")))
        if index in needed:
            kept[index] = b"".join(roots)
    proofs = []
    for index, some in spans.items():
        leaf, *hashes = roots_of(some, kept)
        proofs.append(Proof(leaf, index, hashes))
    return tree.root(), proofs


def _verification(proof: Proof, size: int, root: bytes) -> float:
    """Microseconds of one."""
    begun = time.perf_counter()
    verify_inclusion(proof.leaf, proof.index, size, proof.hashes, root)
    return 1e6 * (time.perf_counter() - begun)


async def _write_log(path: Path, keys: LogKeys, entries: int) -> int:
    """Writes the log; answers how many checkpoints it has."""
    database, commits = await Database.open(f"sqlite:///{path}", migrations="placet_audit"), 0
    rest, paths = _commits(entries), dict[RequestKey, tuple[int, LogPath]]()
    while some := list(itertools.islice(rest, AT_ONCE)):
        await database.transact(_append, some, keys, paths, operation="write")
        commits += len(some)
    await database.close()
    return commits


def _append(
    connection: sa.Connection,
    commits: Sequence[Append],
    keys: LogKeys,
    paths: dict[RequestKey, tuple[int, LogPath]],
) -> None:
    """A checkpoint for each, as AuditService signs them, but not a transaction for each: it is not writing
    that is measured."""
    for one in commits:
        paths |= append(connection, [one], keys, paths).paths


def _commits(entries: int) -> Iterator[Append]:
    """Comments with a name and a text, a hundred to a request, and one to five to a commit."""
    chosen, written = random.Random(SEED), 0
    while written < entries:
        request, before = divmod(written, A_REQUEST)
        approval_id = str(uuid.UUID(int=request))
        count = min(chosen.randint(1, MOST_A_COMMIT), A_REQUEST - before, entries - written)
        drafts = tuple(
            seal(
                event_pb2.Entry(
                    tenant=TENANT, approval_id=approval_id, number=number, event=_event(approval_id, number)
                )
            )
            for number in range(before + 1, before + count + 1)
        )
        yield Append(TENANT, approval_id, before + 1, drafts)
        written += count


def _event(approval_id: str, number: int) -> event_pb2.Event:
    """A request's first event, or a comment on it."""
    event = event_pb2.Event(
        actor=event_pb2.Actor(
            kind=event_pb2.ACTOR_KIND_PERSON,
            name=event_pb2.Erasable(value="alice@example.com"),
            authenticated_by="jwt:bench",
        ),
        cause_id=str(uuid.UUID(int=number)),
        command_digest=bytes(32),
    )
    text = event_pb2.Erasable(value="It is as it was agreed with the supplier")
    if number == 1:
        event.received.title.CopyFrom(text)
    else:
        event.commented.text.CopyFrom(text)
    event.time.GetCurrentTime()
    return event if number == 1 else attest(event, TENANT, approval_id)


def _attestations(times: int) -> tuple[list[float], list[float], list[float]]:
    """Microseconds of signing commands; of the grammar and the attestation of their events; of the grammar
    alone, for which the signature is known."""
    attester, approval_id = Attester(KEY), str(uuid.UUID(int=0))
    actor = Actor(kind=ActorKind.PERSON, name="alice@example.com", authenticated_by="jwt:bench")
    signing, judging, again = list[float](), list[float](), list[float]()
    first = seal(_entry(approval_id, 1))
    path = follow(BEGIN, Leaf.parse(first.leaf), first.values, KEYS)
    for number in range(times):
        command = CommentCommand(id=str(uuid.UUID(int=number)), actor=actor, text="It is as agreed")
        signing.append(_taken(partial(attester.attested, TENANT, approval_id, command)))
        draft = seal(_entry(approval_id, 2))
        leaf = Leaf.parse(draft.leaf)
        for taken in (judging, again):
            taken.append(_taken(partial(follow, path, leaf, draft.values, KEYS)))
    return signing, judging, again


def _entry(approval_id: str, number: int) -> event_pb2.Entry:
    event = _event(approval_id, number)
    return event_pb2.Entry(tenant=TENANT, approval_id=approval_id, number=number, event=event)


def _taken(step: Callable[[], object]) -> float:
    """Microseconds of a step."""
    begun = time.perf_counter()
    step()
    return 1e6 * (time.perf_counter() - begun)


def _rebuild(path: Path, entries: int) -> float:
    """Seconds of reading all leaves and growing the tree over them."""
    begun, tree = time.perf_counter(), Frontier()
    with closing(sqlite3.connect(path)) as connection:
        for (leaf,) in connection.execute(
            'SELECT leaf FROM entry WHERE tenant = ? ORDER BY "index"', (TENANT,)
        ):
            tree.append(leaf_hash(leaf))
    if tree.size != entries:
        raise AssertionError(f"{tree.size} entries were read")
    tree.root()
    return time.perf_counter() - begun


def _verify(path: Path, keys: LogKeys, entries: int, commits: int) -> float:
    """Seconds of what an auditor's command does."""
    begun = time.perf_counter()
    with closing(SqliteSource(path)) as source:
        verification = Verification(source, KnownKeys(keys.origin, tuple(keys.public), KEYS))
        for _ in verification.run():
            continue
    found = [(log.entries, log.checkpoints) for log in verification.logs]
    if verification.findings or found != [(entries, commits)]:
        raise AssertionError("a log that nobody touched does not verify")
    return time.perf_counter() - begun
