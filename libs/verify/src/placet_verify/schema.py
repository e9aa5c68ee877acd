"""The schema of a log's database, compared with the one that AuditService's migrations make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

_MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """A table, trigger, index or anything else with a name. `definition`: in the database's words."""

    kind: str
    name: str
    definition: str

    @classmethod
    def of(cls, kind: object, name: object, definition: object) -> SchemaObject:
        """As it is stored; white space in a definition says nothing."""
        return cls(str(kind), str(name), " ".join(str(definition or "").split()))

    @property
    def label(self) -> str:
        """Kind and name, in words."""
        return f"{self.kind} {self.name}"


def schema_faults(expected: Collection[SchemaObject], found: Iterable[SchemaObject]) -> Iterator[str]:
    """Yields what is gone, changed or extra, in words.

    A trigger that is gone changes no entry. It shows that somebody took away what refuses changes.
    """
    missing = Counter(expected)
    extra = list[SchemaObject]()
    for one in found:
        if missing[one]:
            missing[one] -= 1
        else:
            extra.append(one)
    gone = {one.label: one for one in missing.elements()}
    for one in extra:
        if gone.pop(one.label, None):
            yield f"the {one.label} of its schema was changed: {one.definition[:_MOST_CHARACTERS]}"
        else:
            yield f"there is a {one.label} in its schema, which is none of the log's"
    for label in gone:
        yield f"the {label} of its schema is gone"
