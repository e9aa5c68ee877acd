"""Makes the keys, tokens and passwords with which `docker compose --profile trial up` tries Placet out.

In production an identity provider issues the tokens, and a secret store hands out the rest; this is neither.
Keys and passwords that exist stay, because stored data depends on them; tokens are written anew.

    python trial_keys.py FOLDER [--hours 24] [--database-host postgres] [--owners]
    python trial_keys.py FOLDER --token alice@example.com --roles approver    prints a person's token

Each subfolder of FOLDER is for one container, which sees nothing of the others'.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placet_proof.signer import attestation_key, new_key, read_key
from placet_rpc.files import replacing
from placet_rpc.identity import PROGRAMS
from placet_rpc.tokens.mint import (
    KeyFiles,
    SigningKey,
    generate_keys,
    mint,
    mint_for_program,
)

TENANT = "default"
SERVICES = ("approval", "audit", "decision", "notification")
WORKERS = ("worker-default", "worker-ml", "worker-openai")
WITNESS = "witness"
# Roles of people, and of programs that are not Placet's.
ROLES = ("requester", "approver", "auditor", "operator")
# Holders of the key of Temporal's payloads: all that talk to Temporal.
ENCRYPTING = ("approval", *WORKERS)
# The users that containers run as: ours, Temporal's, and PostgreSQL's, whose image starts as root.
OURS, TEMPORALS, ROOT = 10001, 1000, 0


@dataclass(frozen=True)
class Folders:
    """The folders of the containers' secrets, below one folder."""

    top: Path
    owners: bool

    def write(self, recipient: str, name: str, content: bytes, owner: int, mode: int = 0o600) -> None:
        """Puts a file into its recipient's folder in one step; a secret, unless `mode` says otherwise."""
        with replacing(self.of(recipient) / name, mode=mode) as file:
            file.write(content)
            if self.owners:
                os.fchown(file.fileno(), owner, owner)

    def write_token(self, recipient: str, token: str) -> None:
        """Renews a token."""
        self.write(recipient, "token", f"{token}\n".encode(), OURS)

    def of(self, recipient: str) -> Path:
        """The folder of a recipient."""
        path = self.top / recipient
        path.mkdir(parents=True, exist_ok=True)
        return path

    def kept(self, name: str, fresh: bytes) -> bytes:
        """Returns the value made under this name at the first run, and makes it if this is the first."""
        path = self.of("signing") / name
        if not path.exists():
            self.write("signing", name, fresh, ROOT)
        return path.read_bytes()


def signing_key(folders: Folders) -> SigningKey:
    """The key that signs tokens; its public half goes where every service reads it."""
    files = KeyFiles.below(folders.of("signing"))
    if not files.private_key.exists():
        generate_keys(folders.of("signing"))
    name = files.jwks.name
    if not (folders.of("jwks") / name).exists():
        # Not written again: revocations are kept in it.
        folders.write("jwks", name, files.jwks.read_bytes(), ROOT, mode=0o644)
    return SigningKey.load(files.private_key)


def write_tokens(folders: Folders, key: SigningKey, seconds: float) -> None:
    """A fresh token for every program that calls others."""
    for program in sorted(PROGRAMS):
        folders.write_token(program, mint_for_program(key, program, TENANT, seconds))


def write_payload_key(folders: Folders) -> None:
    """The one AES-256 key of Temporal's payloads."""
    key = folders.kept("payload.key", secrets.token_bytes(32))
    for name in ENCRYPTING:
        folders.write(name, "payload.key", key, OURS)


def write_log_key(folders: Folders) -> None:
    """The key that the log's checkpoints are signed with."""
    folders.write("audit", "log.pem", folders.kept("log.pem", new_key().encode()), OURS)


def write_attestation_keys(folders: Folders) -> None:
    """The key that ApprovalService signs people's commands with, and its public half."""
    private = folders.kept("attestation.pem", new_key().encode())
    public = attestation_key(read_key(private))
    folders.write("approval", "attestation.pem", private, OURS)
    for name in ("approval", "audit"):
        folders.write(name, "attestation.vkey", f"{public}\n".encode(), OURS)


def write_witness_key(folders: Folders) -> None:
    """The key that the witness signs with."""
    folders.write(WITNESS, "witness.pem", folders.kept("witness.pem", new_key().encode()), OURS)


def write_passwords(folders: Folders, host: str) -> None:
    """A password for each database role, in the form that each reader of it wants."""
    for name in SERVICES:
        role = f"placet_{name}"
        password = _password(folders, role)
        folders.write(name, "pgpass", f"{host}:*:{role}:{role}:{password}\n".encode(), OURS)
        folders.write("databases", f"{role}.password", password.encode(), OURS)
    temporal = _password(folders, "temporal")
    folders.write("databases", "temporal.password", temporal.encode(), OURS)
    folders.write("temporal", "password", temporal.encode(), TEMPORALS)
    administrator = _password(folders, "postgres")
    folders.write("databases", "pgpass", f"{host}:*:*:postgres:{administrator}\n".encode(), OURS)
    folders.write("postgres", "password", administrator.encode(), ROOT)


def _password(folders: Folders, role: str) -> str:
    return folders.kept(f"{role}.password", secrets.token_urlsafe(32).encode()).decode()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=24.0, help="how long tokens are good for")
    parser.add_argument("--database-host", default="postgres")
    parser.add_argument(
        "--owners", action="store_true", help="give each file to its container's user; needs root"
    )
    parser.add_argument("--token", metavar="SUBJECT", help="print a token of this person or caller instead")
    parser.add_argument(
        "--roles", nargs="+", default=["requester"], choices=ROLES, help="the roles of that token"
    )
    asked = parser.parse_args(arguments)
    folders = Folders(asked.folder, asked.owners)
    key, seconds = signing_key(folders), asked.hours * 3600
    if asked.token:
        sys.stdout.write(mint(key, asked.token, TENANT, asked.roles, seconds) + "\n")
        return 0
    write_tokens(folders, key, seconds)
    write_payload_key(folders)
    write_log_key(folders)
    write_attestation_keys(folders)
    write_witness_key(folders)
    write_passwords(folders, asked.database_host)
    return 0


if __name__ == "__main__":
    sys.exit(main())
