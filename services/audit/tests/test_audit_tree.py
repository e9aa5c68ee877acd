"""The tree grows with the log, and each commit is signed, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.exc import DBAPIError

from placet_audit import tables
from placet_audit.domain import TENANT_LEVEL, Append, Placed
from placet_audit.log_keys import LogKeys
from placet_audit.proof_service import ProofService
from placet_audit.store import Store
from placet_proof import Note, NotProven, leaf_hash
from placet_proof.frontier import EMPTY_ROOT, Frontier
from placet_proof.signer import new_key
from placet_rpc.errors import DataLoss
from placet_storage import Database
from placet_testing.attestation import KEYS

MakeAppend = Callable[..., Append]
ORIGIN = "test.example/log"
OF_ANOTHER = 'SELECT roots FROM tree WHERE {it} AND "index" = 0'


def keys_of(pem: str) -> LogKeys:
    """Keys of a log, with those of attestations."""
    return replace(LogKeys.read(pem, ORIGIN), attesting=KEYS)


async def append(store: Store, *appends: Append) -> list[Placed]:
    results = await store.append(appends)
    return [placed for placed in results if isinstance(placed, Placed)]


async def rows(database: Database, table: sa.Table) -> list[tuple[object, ...]]:
    def read(connection: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]

    return await database.query(read)


def execute(connection: sa.Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(sa.text(statement))


async def damage(database: Database, *statements: str) -> None:
    """Changes rows as somebody can who may change the database's schema."""
    for table in ("entry", "tree", "checkpoint"):
        if database.dialect == "postgresql":
            await database.transact(execute, f"ALTER TABLE {table} DISABLE TRIGGER USER")
        else:
            await database.transact(
                execute,
                *(f"DROP TRIGGER {table}_is_never_{done}" for done in ("updated", "deleted", "replaced")),
            )
    await database.transact(execute, *statements)


async def test_each_commit_signs_a_checkpoint_of_all_that_was_there(
    store: Store, database: Database, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    await append(store, make_append("r1", 1, "a", "b"), make_append("r2", 1, "c", tenant="other"))
    await append(store, make_append("r2", 1, "d"), make_append(TENANT_LEVEL, 0, "e"))
    await append(store, make_append("r1", 1, "late"))

    notes = {
        (str(tenant), int(str(size))): note for tenant, size, note in await rows(database, tables.checkpoint)
    }
    assert set(notes) == {("default", 2), ("default", 4), ("other", 1)}
    for (tenant, size), note in notes.items():
        tree = Frontier()
        for entry in (await store.entries(tenant, 0, int(str(size)))).entries:
            tree.append(leaf_hash(entry.draft.leaf))
        checkpoint = log_keys.verified(str(tenant), str(note))
        assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (
            f"{ORIGIN}/{tenant}",
            size,
            tree.root(),
        )
    prover = ProofService(database, log_keys)
    assert await prover.checkpoint("default") == (notes["default", 4], 4)
    empty, size = await prover.checkpoint("nobody")
    assert (size, log_keys.verified("nobody", empty).root) == (0, EMPTY_ROOT)


async def root_of(store: Store, tenant: str, size: int) -> bytes:
    tree = Frontier()
    for entry in (await store.entries(tenant, 0, size)).entries:
        tree.append(leaf_hash(entry.draft.leaf))
    return tree.root()


async def test_what_is_kept_of_the_tree_grows_with_each_entry_by_what_it_completes(
    store: Store, database: Database, make_append: MakeAppend
) -> None:
    for number in range(1, 20):
        await append(store, make_append("r1", number, f"c{number}"))

    tree = Frontier()
    for entry, row in zip(
        (await store.entries("default", 0, 100)).entries, await rows(database, tables.tree), strict=True
    ):
        assert row == ("default", entry.index, b"".join(tree.append(leaf_hash(entry.draft.leaf))))


@pytest.mark.parametrize("table", ["tree", "checkpoint"])
async def test_the_database_refuses_to_change_the_tree_and_the_checkpoints(
    store: Store, database: Database, make_append: MakeAppend, table: str
) -> None:
    await append(store, make_append("r1", 1, "a", "b"))
    before = await rows(database, tables.metadata.tables[table])

    for statement in (f"UPDATE {table} SET tenant = 'forged'", f"DELETE FROM {table}"):
        with pytest.raises(DBAPIError, match="append-only"):
            await database.transact(execute, statement)
    if database.dialect == "sqlite":
        with pytest.raises(DBAPIError, match="append-only"):
            await database.transact(execute, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")

    assert await rows(database, tables.metadata.tables[table]) == before


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM checkpoint WHERE {it} AND size = 3",
        "DELETE FROM checkpoint WHERE {it}",
        'DELETE FROM tree WHERE {it} AND "index" = 2',
        f'UPDATE tree SET roots = ({OF_ANOTHER}) WHERE {{it}} AND "index" = 1',
        "UPDATE checkpoint SET note = (SELECT MAX(note) FROM checkpoint WHERE {it} AND size = 2) WHERE {it}",
        "UPDATE checkpoint SET note = '' WHERE {it} AND size = 3",
    ],
)
async def test_a_log_that_does_not_go_on_where_its_checkpoint_ends_takes_and_signs_nothing_more(
    database: Database, make_append: MakeAppend, statement: str
) -> None:
    keys = keys_of(new_key())
    store = Store(database, keys)
    await append(store, make_append("r1", 1, "a", "b"))
    await append(store, make_append("r2", 1, "c"), make_append("r1", 1, "d", tenant="other"))
    await damage(database, statement.format(it="tenant = 'default'"))

    with pytest.raises(DataLoss) as raised:
        await store.append([make_append("r3", 1, "e")])

    assert raised.value.reason == "LOG_INCONSISTENT"
    assert await store.size("default") == 3
    with pytest.raises(DataLoss, match="The log of default is not whole"):
        await ProofService(database, keys).checkpoint("default")
    (placed,) = await append(store, make_append("r4", 1, "f", tenant="other"))
    assert placed.new[0].index == 1


async def test_a_checkpoint_that_another_key_signed_is_not_gone_on_from(
    database: Database, make_append: MakeAppend
) -> None:
    await append(Store(database, keys_of(new_key())), make_append("r1", 1, "a"))

    with pytest.raises(DataLoss):
        await Store(database, keys_of(new_key())).append([make_append("r2", 1, "b")])


async def test_keys_change_hands_by_a_checkpoint_that_both_sign(
    database: Database, make_append: MakeAppend
) -> None:
    old, new = new_key(), new_key()
    first = keys_of(old)
    await append(Store(database, first), make_append("r1", 1, "a"))
    both = keys_of(new + old)
    await append(Store(database, both), make_append("r1", 2, "b"))
    retired = first.private[0].public_key()
    public = retired.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    after = keys_of(new + public)
    await append(Store(database, after), make_append("r1", 3, "c"))

    notes = [Note.parse(str(note)) for _, _, note in await rows(database, tables.checkpoint)]
    assert [len(note.signatures) for note in notes] == [1, 2, 1]
    assert notes[1].verified(first.of("default")).keys() == set(first.of("default"))
    assert notes[1].verified(both.of("default")).keys() == set(both.of("default"))
    # What the old key signed stays valid to who holds its public half, and it signs nothing more.
    for note in notes:
        assert note.verified(after.of("default"))
    with pytest.raises(NotProven):
        notes[2].verified(first.of("default"))


@pytest.mark.integration
async def test_an_entry_without_its_place_in_the_tree_is_refused(
    postgres_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    database = await Database.open(postgres_url, migrations="placet_audit")
    store = Store(database, log_keys)
    await append(store, make_append("r1", 1, "a"))
    row = "INSERT INTO entry VALUES ('default', 1, 'r1', 2, 'b', '')"

    with pytest.raises(DBAPIError, match="no place in the tree"):
        await database.transact(execute, row)

    (placed,) = await append(store, make_append("r1", 2, "b"))
    assert placed.new[0].index == 1
    await database.close()


async def test_several_processes_on_one_database_grow_one_tree(
    database_url: str, make_append: MakeAppend, log_keys: LogKeys
) -> None:
    databases = [await Database.open(database_url, migrations="placet_audit") for _ in range(3)]
    # Each with keys of its own in memory, as processes have.
    stores = [
        Store(database, LogKeys(log_keys.origin, log_keys.private, log_keys.public, KEYS))
        for database in databases
    ]

    async def write(store: Store, name: str) -> None:
        for number in range(1, 11):
            await append(store, make_append(name, number, f"{name}{number}"))

    await asyncio.gather(*(write(store, f"r{place}") for place, store in enumerate(stores)))

    tree, notes = Frontier(), {size: note for _, size, note in await rows(databases[0], tables.checkpoint)}
    for entry in (await stores[0].entries("default", 0, 100)).entries:
        tree.append(leaf_hash(entry.draft.leaf))
        assert log_keys.verified("default", str(notes[tree.size])).root == tree.root()
    assert tree.size == 30
    for database in databases:
        await database.close()


@pytest.mark.parametrize(
    "pem", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_what_is_no_key_is_refused_in_a_sentence_that_holds_nothing_of_it(pem: str) -> None:
    with pytest.raises(ValueError, match="the log's key") as raised:
        keys_of(pem)
    assert "AAAA" not in str(raised.value)
    assert "AAAA" not in repr(keys_of(new_key()))
