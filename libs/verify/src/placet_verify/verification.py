"""All logs of a source, verified from the stored bytes: tree, entries, signatures and values.

Nothing here is shared with AuditService but the definitions in placet_proof.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from placet_verify.findings import Check, Findings, quoted
from placet_verify.keys import KnownKeys
from placet_verify.log import LogReport, LogVerification
from placet_verify.rows import Source, Unreadable
from placet_verify.witness import Seen


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of verified entries of a tenant's log."""

    tenant: str
    entries: int


class Verification:
    """Runs once; then `logs` and `findings` say what there is and what is wrong."""

    def __init__(
        self,
        source: Source,
        keys: KnownKeys,
        *,
        seen: Sequence[Seen] = (),
        tenant: str = "",
        without: Collection[Check] = (),
        findings: Findings | None = None,
    ) -> None:
        """`seen`: what a witness saw. `tenant`: only this one's log; "": all. `without`: see Findings.
        `findings`: where there are some already."""
        self._source, self._keys, self._tenant = source, keys, tenant
        self._seen = [one for one in seen if tenant in ("", one.tenant)]
        self.findings = Findings(without) if findings is None else findings
        self.logs: list[LogReport] = []

    def run(self) -> Iterator[Progress]:
        """Verifies, a part at each step."""
        for what in self._source.damage():
            self.findings.add(Check.FILE, "", what)
        self._schema()
        yield Progress("", 0)
        for tenant in self._tenants():
            seen = [one for one in self._seen if one.tenant == tenant]
            keys, attesting = self._keys.of(tenant), self._keys.attesting
            log = LogVerification(self._source, tenant, keys, attesting, seen, self.findings)
            for entries in log.run():
                yield Progress(tenant, entries)
            self.logs.append(log.report())

    def _schema(self) -> None:
        try:
            for what in self._source.schema_faults():
                self.findings.add(Check.SCHEMA, "", what)
        except Unreadable as error:
            self.findings.add(Check.FILE, "", f"the schema cannot be read: {error}")

    def _tenants(self) -> list[str]:
        """The tenants whose logs there are, or were when a witness saw them."""
        found = {one.tenant for one in self._seen}
        try:
            stored = self._source.tenants()
        except Unreadable as error:
            self.findings.add(Check.FILE, "", f"whose logs there are cannot be read: {error}")
            stored = []
        for tenant in stored:
            if isinstance(tenant, str):
                found.add(tenant)
            else:
                self.findings.add(
                    Check.TYPES, "", f"there are rows of a tenant {quoted(tenant)}, which is no text"
                )
        return sorted(found & {self._tenant} if self._tenant else found)
