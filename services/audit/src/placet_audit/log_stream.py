"""The log as a stream: history from the store, then each new entry as it becomes durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from placet.event.v1 import event_pb2
from placet_audit.domain import DEFAULT_PAGE, Entry
from placet_audit.leaf import disclose
from placet_audit.store import Store
from placet_logtail import Batch, LiveStream


class LogStream(LiveStream[event_pb2.LogEntry]):
    """All tails of this process. The newest entries of each tailed tenant are kept, disclosed, once for all
    readers: `keep` bytes at most."""

    def __init__(self, store: Store, *, keep: int, poll: float, sign_of_life: float) -> None:
        super().__init__(
            _History(store),
            poll=poll,
            sign_of_life=sign_of_life,
            keep=keep,
            size=event_pb2.LogEntry.ByteSize,
            erases=lambda entry: entry.entry.event.HasField("erased"),
        )

    def publish_entries(self, entries: Sequence[Entry]) -> None:
        """Hands durable entries to their followers."""
        for tenant in {entry.tenant for entry in entries} & self.followed:
            added = [entry for entry in entries if entry.tenant == tenant]
            self.publish(tenant, added[0].index, [disclose(entry) for entry in added])

    def disclosed(self, entry: Entry) -> event_pb2.LogEntry:
        """An entry as its readers get it; one that is kept is not disclosed again."""
        return self.kept(entry.tenant, entry.index) or disclose(entry)


class _History:
    """The store, as LiveStream reads it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ends(self, tenants: Sequence[str]) -> Mapping[str, int]:
        return await self._store.sizes(tenants)

    async def read(self, tenant: str, position: int) -> Batch[event_pb2.LogEntry]:
        page = await self._store.entries(tenant, position, DEFAULT_PAGE)
        following = position + len(page.entries)
        return Batch([disclose(entry) for entry in page.entries], following, following + page.more)
