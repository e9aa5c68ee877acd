"""Consumers of the log: tailers with checkpoints and leases, live streams, wake-ups. See the README."""

from placet_logtail.consumers import Consumers
from placet_logtail.live_stream import LiveStream
from placet_logtail.recent import RecentItems
from placet_logtail.store import Cursor, CursorMoved, LeaseStore, LogTables, SkippedEntries
from placet_logtail.stream import Batch, beyond_end, follow
from placet_logtail.tailer import LogTailer, TailStatus, report_skipped
from placet_logtail.wakeup import Listener, Listeners, Wakeup, wait_for

__all__ = [
    "Batch",
    "Consumers",
    "Cursor",
    "CursorMoved",
    "LeaseStore",
    "Listener",
    "Listeners",
    "LiveStream",
    "LogTables",
    "LogTailer",
    "RecentItems",
    "SkippedEntries",
    "TailStatus",
    "Wakeup",
    "beyond_end",
    "follow",
    "report_skipped",
    "wait_for",
]
