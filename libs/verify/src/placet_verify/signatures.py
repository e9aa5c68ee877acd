"""The checkpoints of one log: who signed them, for which root, and what they cover."""

from __future__ import annotations

from collections.abc import Sequence

from placet_proof import Checkpoint, Note, NotProven, VerifierKey
from placet_verify.findings import Check, Findings, quoted
from placet_verify.keys import signed_by
from placet_verify.rebuilt_tree import RebuiltTree

# Unknown keys that are remembered; an unknown one may have signed each checkpoint.
MOST_UNKNOWN = 10


class Signatures:
    """Verifies checkpoints, as the tree grows to each."""

    def __init__(
        self, tenant: str, keys: Sequence[VerifierKey], tree: RebuiltTree, findings: Findings
    ) -> None:
        self._tenant, self._keys, self._tree, self._findings = tenant, keys, tree, findings
        self.count = 0
        """The number of checkpoints."""
        self.also_signed = dict[str, int]()
        """Unknown keys that signed beside known ones, each with the size of the first checkpoint."""
        self.strange = ""
        """The first note that no known key signed; "": there is none."""
        self._newest = 0
        # The last that was right, and those that were not since then: the first of them, and how many.
        self._right = 0
        self._wrong: tuple[int, str] | None = None
        self._wrong_count = 0

    def checkpoint(self, size: int, note: object, *, reached: bool) -> None:
        """One that is stored as of `size` entries; `reached`: so many are there, and the tree is theirs."""
        self.count += 1
        if not isinstance(note, str):
            self._add(Check.TYPES, f"its note is not text: {quoted(note)}", size)
            return
        try:
            signed = self._signed(note)
        except NotProven as error:
            self._add(Check.SIGNATURE, str(error), size)
            return
        if signed.size != size:
            self._add(
                Check.SIZE, f"what was signed in its place is a checkpoint of {signed.size:,} entries", size
            )
            return
        self._newest = max(self._newest, size)
        if reached:
            self._compare(signed)

    def end(self, entries: int) -> None:
        """There are no more, and so many entries."""
        self._report_wrong()
        if self._newest > entries:
            what = f"{self._newest:,} entries were signed, and there are {entries:,}"
            self._findings.add(
                Check.COVERAGE,
                self._tenant,
                what,
                first=entries,
                last=self._newest - 1,
                checkpoint=self._newest,
            )
        if self._newest < entries:
            what = "no checkpoint covers what is there"
            self._findings.add(Check.COVERAGE, self._tenant, what, first=self._newest, last=entries - 1)

    def _signed(self, note: str) -> Checkpoint:
        """Verifies a checkpoint by a known key, or in the log's own name. Raises NotProven."""
        parsed = Note.parse(note)
        if not self.strange and not signed_by(parsed, self._keys):
            self.strange = note
        checkpoint, signers = parsed.of_log(self._keys)
        known = {(key.name, key.id) for key in signers}
        for name, key_id, _ in parsed.signatures:
            if name != checkpoint.origin:
                raise NotProven(f"{name} signed it too, which is not the log")
            # As C2SP's signed notes want it, a key that nobody knows says nothing: a log may change its keys.
            if (name, key_id) not in known and len(self.also_signed) < MOST_UNKNOWN:
                self.also_signed.setdefault(f"{name}+{key_id.hex()}", checkpoint.size)
        return checkpoint

    def _compare(self, signed: Checkpoint) -> None:
        tree = self._tree
        if not tree.torn and tree.root == signed.root:
            self._report_wrong()
            self._right = signed.size
            return
        if tree.torn:
            what = "the checkpoint's root cannot be compared, because entries are missing"
        elif tree.stored_root == signed.root:
            what = "the checkpoint's root is not that of the entries, but that of the tree as it is stored"
            tree.resume()
        else:
            what = "the checkpoint's root is not that of the entries"
        self._wrong = self._wrong or (signed.size, what)
        self._wrong_count += 1

    def _report_wrong(self) -> None:
        """Joins findings that follow from one change."""
        if self._wrong is None:
            return
        size, what = self._wrong
        after = self._wrong_count - 1
        more = f"; the same goes for {after:,} checkpoint{'s' * (after > 1)} after it" if after else ""
        self._findings.add(
            Check.ROOT, self._tenant, what + more, first=self._right, last=size - 1, checkpoint=size
        )
        self._wrong, self._wrong_count = None, 0

    def _add(self, check: Check, what: str, size: int) -> None:
        self._findings.add(check, self._tenant, what, checkpoint=size)
