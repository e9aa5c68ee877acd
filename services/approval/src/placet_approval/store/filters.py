"""Queries of requests in the view, by visibility and filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from placet_approval.store.tables import view, view_asked, view_label
from placet_approval.visibility import Visibility


@dataclass(frozen=True)
class Filter:
    """Selection of requests; empty means any."""

    states: tuple[str, ...] = ()
    policy: str = ""
    subject_id: str = ""
    waiting_for: str = ""
    requester: str = ""
    approver: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    from_create_time: datetime | None = None
    until_create_time: datetime | None = None


def visible_requests(visible: Visibility, wanted: Filter) -> sa.Select[tuple[datetime, str, bytes]]:
    """Create time, id and stored message of the visible requests that match the filter."""
    query = sa.select(view.c.create_time, view.c.approval_id, view.c.approval).where(
        view.c.tenant == visible.tenant
    )
    if not visible.everything:
        query = query.where((view.c.requester == visible.subject) | _asks(visible.subject))
    return query.where(*_conditions(wanted))


def _conditions(wanted: Filter) -> Iterator[sa.ColumnElement[bool]]:
    """One condition for each field of the filter that is set."""
    equal = (
        (view.c.policy, wanted.policy),
        (view.c.subject_id, wanted.subject_id),
        (view.c.requester, wanted.requester),
    )
    yield from (column == value for column, value in equal if value)
    if wanted.approver:
        yield _asks(wanted.approver)
    yield from (_is_labelled(key, value) for key, value in wanted.labels)
    if wanted.states:
        yield view.c.state.in_(wanted.states)
    if wanted.waiting_for:
        yield _asks(wanted.waiting_for, view_asked.c.awaited)
        yield view.c.state == "STATE_PENDING"
    # With the column's own type: PostgreSQL would read a plain time in the session's zone.
    if wanted.from_create_time is not None:
        yield view.c.create_time >= sa.literal(wanted.from_create_time, view.c.create_time.type)
    if wanted.until_create_time is not None:
        yield view.c.create_time < sa.literal(wanted.until_create_time, view.c.create_time.type)


def _is_labelled(key: str, value: str) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        view_label.c.tenant == view.c.tenant,
        view_label.c.approval_id == view.c.approval_id,
        view_label.c.key == key,
        view_label.c.value == value,
    )


def _asks(person: str, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        view_asked.c.tenant == view.c.tenant,
        view_asked.c.approval_id == view.c.approval_id,
        view_asked.c.person == person,
        *conditions,
    )
