"""The public keys that a log is verified with, as an auditor knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from placet_proof import ATTESTATION, LOG_SIGNATURE, Note, NotProven, VerifierKey, check_public_key
from placet_verify.errors import CannotVerify, WrongOption, fault_of
from placet_verify.files import MOST_KEY_BYTES, read_text

DEFAULT_ORIGIN = "localhost/placet"

ATTESTING_ADVICE = (
    "Give the keys of people's commands too: --key with a file of all lines that "
    "`placet audit checkpoint --keys` prints where the log is."
)
"""The next step where attestations cannot be verified, because no key of them is known."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
# The expression looks for the end of each block from its beginning on.
_MOST_BLOCKS = 100


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """`public`: keys of all logs whose names begin with `origin`, newest first. `named`: keys of one log
    each, of witnesses, and of attestations."""

    origin: str = DEFAULT_ORIGIN
    public: tuple[bytes, ...] = ()
    named: tuple[VerifierKey, ...] = ()

    @property
    def any(self) -> bool:
        """True when a key of a log or a witness is known."""
        return bool(self.public) or any(one.kind != ATTESTATION for one in self.named)

    @property
    def attesting(self) -> tuple[VerifierKey, ...]:
        """The keys of attestations."""
        return tuple(one for one in self.named if one.kind == ATTESTATION)

    def with_pem(self, pem: str) -> KnownKeys:
        """With those of a file as the log's own: PEM blocks, of which only the public halves are kept.

        Raises ValueError.
        """
        return replace(self, public=(*self.public, *_public_halves(pem)))

    def with_given(self, given: str) -> KnownKeys:
        """With what an auditor gives: a verifier key, or the name of a file that holds some or is in PEM.

        Raises ValueError, OSError.
        """
        path = Path(given)
        if "\0" in given:
            raise ValueError("it is neither a verifier key nor the name of a file")
        if "+" in given and not path.exists():
            return self._with_named([given])
        text = read_text(path, MOST_KEY_BYTES)
        if "-----BEGIN " in text:
            return self.with_pem(text)
        return self.with_lines(text)

    def with_lines(self, text: str) -> KnownKeys:
        """With a verifier key on each line; empty lines and comments (#) are left out. Raises ValueError."""
        lines = (line.strip() for line in text.splitlines())
        return self._with_named(line for line in lines if line and not line.startswith("#"))

    def of(self, tenant: str) -> list[VerifierKey]:
        """The keys of a tenant's log."""
        name = f"{self.origin}/{tenant}"
        named = [one for one in self.named if one.kind == LOG_SIGNATURE and one.name.endswith(f"/{tenant}")]
        return [VerifierKey(name, LOG_SIGNATURE, one) for one in self.public] + named

    def of_receipt(self, tenant: str) -> list[VerifierKey]:
        """The keys of a tenant's log, of witnesses and of attestations."""
        return self.of(tenant) + [one for one in self.named if one.kind != LOG_SIGNATURE]

    def tenant_of(self, origin: str) -> str | None:
        """The tenant whose log has this name, if a key of it is known."""
        below = origin.removeprefix(f"{self.origin}/")
        if self.public and below != origin:
            return below
        return origin.rpartition("/")[2] if origin in {one.name for one in self.named} else None

    def _with_named(self, lines: Iterable[str]) -> KnownKeys:
        try:
            found = tuple(VerifierKey.parse(line) for line in lines)
        except NotProven as error:
            raise ValueError(str(error)) from error
        if not found:
            raise ValueError("it holds no key")
        return replace(self, named=(*self.named, *found))


def load_keys(
    given: Sequence[str], origin: str, default: Path | None, attesting: Path | None = None
) -> KnownKeys:
    """The given keys, else those of the default files; none, where neither is there.

    `default`: the log's own keys; `attesting`: those of attestations. Raises WrongOption for a given key,
    CannotVerify for a default file.
    """
    known = KnownKeys(origin or DEFAULT_ORIGIN)
    for one in given:
        try:
            known = known.with_given(one)
        except OSError as error:
            raise WrongOption("--key", f"{one}: {error.strerror or error}") from error
        except ValueError as error:
            raise WrongOption("--key", f"{one}: {fault_of(error)}") from error
    if given or default is None:
        return known
    path = default
    try:
        with suppress(FileNotFoundError):
            known = known.with_pem(read_text(path, MOST_KEY_BYTES))
        if attesting is not None:
            path = attesting
            with suppress(FileNotFoundError):
                known = known.with_lines(read_text(path, MOST_KEY_BYTES))
    except (OSError, ValueError) as error:
        what = f"the key of this home, {path}, cannot be used"
        tries = ("placet doctor", "the same command with --key")
        raise CannotVerify(what, fault_of(error), tries=tries) from error
    return known


def signed_by(note: Note, keys: Iterable[VerifierKey]) -> bool:
    """True when it has a signature, valid or not, in the name of one of these keys."""
    signers = {(name, key_id) for name, key_id, _ in note.signatures}
    return any((key.name, key.id) in signers for key in keys)


def advice(note: str, keys: Sequence[VerifierKey]) -> str:
    """The next step for a checkpoint that none of these keys signed; "" for any other note."""
    try:
        parsed = Note.parse(note)
        origin = parsed.checkpoint.origin
    except NotProven:
        return ""
    logs = [key for key in keys if key.kind == LOG_SIGNATURE]
    if signed_by(parsed, keys) or (keys and not logs):
        return ""
    if not keys:
        return (
            f"No known key is one of the log {origin}. Give one with --key, as its operator has it; --tenant "
            "verifies one log alone."
        )
    if signed_by(parsed, [replace(key, name=origin) for key in logs]):
        above = origin.rpartition("/")[0]
        return (
            f"A known key signed it by the name of {origin}, and not of {logs[0].name}. If that is the log "
            f"that you mean, then say so: --origin {above}"
        )
    if all(key.name != origin for key in logs):
        return (
            f"It is a checkpoint of the log {origin}, and the known key is one of {logs[0].name}. Is it the "
            "log that you mean? Then give its own key with --key."
        )
    return (
        "Is the known key the right one? If the log's key was changed, ask its operator for the new one "
        "(`placet audit checkpoint --keys` prints it there) and give it with --key, beside the old one. If "
        "it was not changed, then somebody else signed this."
    )


def _public_halves(pem: str) -> Iterable[bytes]:
    if pem.count("-----BEGIN ") > _MOST_BLOCKS:
        raise ValueError(f"it holds more than {_MOST_BLOCKS} keys")
    found = [_public_half(block[0]) for block in _BLOCK.finditer(pem)]
    if not found:
        raise ValueError("it holds no key in PEM")
    return found


def _public_half(block: str) -> bytes:
    try:
        if "PUBLIC" in block.partition("\n")[0]:
            key: object = load_pem_public_key(block.encode())
        else:
            key = load_pem_private_key(block.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("a key in PEM cannot be read") from error
    if isinstance(key, Ed25519PrivateKey):
        key = key.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("a key in PEM is not an Ed25519 key")  # noqa: TRY004  # a wrong file, not a wrong call
    public = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    try:
        check_public_key(public)
    except NotProven as error:
        raise ValueError(f"a key in PEM cannot be used: {error}") from error
    return public
