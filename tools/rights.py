"""Rights of each program of Placet, as the contracts give them: by RPC, event and kind of notification.

python tools/rights.py    renews the tables in docs/security.md; a test compares them, and one tries each cell
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import EnumDescriptor

from install import ROOT
from placet.approval.v1 import approval_service_pb2
from placet.audit.v1 import audit_service_pb2
from placet.decision.v1 import decision_service_pb2
from placet.event.v1 import event_pb2, options_pb2
from placet.notification.v1 import notification_pb2, notification_service_pb2
from placet.rpc.v1 import access_pb2
from placet_rpc.access import access_of
from placet_rpc.identity import PROGRAMS, program_name

PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- rights: begin -->", "<!-- rights: end -->"
YES = "yes"

COLUMNS = tuple(sorted(PROGRAMS))
SERVICES = [
    service
    for file in (approval_service_pb2, audit_service_pb2, decision_service_pb2, notification_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
]
PLACES = {
    options_pb2.PLACE_UNSPECIFIED: "a request's, not the first",
    options_pb2.PLACE_FIRST: "a request's first",
    options_pb2.PLACE_TENANT: "the tenant's",
}


@dataclass(frozen=True)
class Right:
    """A row of a table: a thing, what is said of it, and the programs that may use it."""

    name: str
    about: str
    programs: frozenset[str]


def rpcs() -> Iterator[Right]:
    """Each RPC, with the roles of people and callers."""
    for service in SERVICES:
        for method in service.methods:
            roles, programs = access_of(method)
            yield Right(f"{service.name}.{method.name}", ", ".join(sorted(roles)), programs)


def events() -> Iterator[Right]:
    """Each event, with its place."""
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields:
        if field.message_type is None:
            continue
        options = field.message_type.GetOptions()
        programs = options.Extensions[options_pb2.appended_by]
        place = PLACES[options.Extensions[options_pb2.place]] if programs else "by an RPC of operators alone"
        yield Right(field.name, place, frozenset(map(program_name, programs)))


def kinds() -> Iterator[Right]:
    """Each kind of notification."""
    kind: EnumDescriptor = notification_pb2.NotificationKind.DESCRIPTOR
    for value in kind.values:
        if value.number:
            senders = value.GetOptions().Extensions[access_pb2.sent_by]
            name = value.name.removeprefix("NOTIFICATION_KIND_")
            yield Right(name, "", frozenset(map(program_name, senders)))


def renewed(page: str) -> str:
    """The page with fresh tables."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    tables = (
        _table("RPC", "people and callers", rpcs()),
        _table("event, by AppendEvents", "place", events()),
        _table("notification, by SendNotification", "", kinds()),
    )
    return "".join((before, BEGIN, "\n", "\n\n".join(tables), "\n", END, after))


def written(page: str) -> dict[str, Collection[str]]:
    """The programs of each row of the page's tables, by the row's name: the page read back."""
    rows: dict[str, Collection[str]] = {}
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].startswith("`"):
            rows[cells[0].strip("`")] = {
                program for program, cell in zip(COLUMNS, cells[2:], strict=True) if cell == YES
            }
    return rows


def _table(what: str, about: str, rights: Iterable[Right]) -> str:
    lines = [_line(what, about, *COLUMNS), _line(*["---"] * (len(COLUMNS) + 2))]
    for right in rights:
        cells = (YES if program in right.programs else "" for program in COLUMNS)
        lines.append(_line(f"`{right.name}`", right.about, *cells))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text()))


if __name__ == "__main__":
    main()
