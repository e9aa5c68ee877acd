"""Commands about receipts: get one, verify one."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, proof_pb2
from placet.event.v1 import event_pb2
from placet_cli import completion
from placet_cli.commands.options import Id, command
from placet_cli.commands.queries import print_path
from placet_cli.event_rows import counted, entries
from placet_cli.export_file import entry_json, replacing
from placet_cli.key_options import KEY, ORIGIN, known_keys
from placet_cli.problems import Problem
from placet_cli.receipt_proof import GONE, NONE, Proof, advised, own_keys, read_receipt, verified
from placet_cli.screen import Screen, short
from placet_cli.session import Session
from placet_cli.times import point, point_of
from placet_proof import ATTESTATION, LOG_SIGNATURE, MOST_RECEIPT_BYTES, NotAttested, NotProven, VerifierKey
from placet_text import one_line
from placet_verify import ATTESTING_ADVICE, KnownKeys

STATUSES = (
    "Exit status: 0 proven, 1 not proven, 2 wrong usage. Proven is only what a key proves that is known from "
    "elsewhere: --key, or the key of this home."
)


def register(app: typer.Typer) -> None:
    """Adds these commands."""
    command(app, "receipt", json="the receipt as proto3 JSON, as without it")(receipt)
    command(app, "verify-receipt", epilog=STATUSES, json="what is proven as JSON")(verify_receipt)


Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write to FILE. [default: standard output]",
        show_default=False,
        autocompletion=completion.files,
    ),
]


async def receipt(session: Session, request: Id, output: Output = "-") -> None:
    """Get a request's path with the proof that the log holds it.

    Whoever has this receipt can verify it offline, with the log's public key and nothing else. Keep it with
    what was decided about. For who asked or was asked, auditors and operators; once values were erased, for
    the last two only.
    """
    async with session.client() as client:
        approval_id = await session.resolve(client, request)
    async with session.channel("audit") as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        found = (await stub.GetReceipt(audit_service_pb2.GetReceiptRequest(approval_id=approval_id))).receipt
    entries = [entry_json(one) for one in found.entries]
    text = json.dumps(MessageToDict(found) | {"entries": entries}, indent=2)
    _check(text.encode())
    if output == "-":
        session.screen.raw(text)
    else:
        if _write(text, Path(output)):
            session.screen.aside(f"Replaced {one_line(output)}, which was there before.")
    session.screen.aside(_holds(found))
    shown = "FILE" if output == "-" else shlex.quote(output)
    session.screen.aside(f"To verify it: {session.addressed(f'placet audit verify-receipt {shown}')}")
    session.screen.aside(elsewhere(session))


def _write(text: str, path: Path) -> bool:
    """Writes the file and returns True when it replaced one."""
    replaced = path.exists()
    with replacing(path) as file:
        file.write(text + "\n")
    return replaced


def _check(raw: bytes) -> None:
    """Raises Problem for a receipt that does not hold by the keys that it brings along itself."""
    try:
        verified(read_receipt(raw), KnownKeys())
    except NotProven as error:
        raise Problem(
            "the log gave a receipt that proves nothing, and it was not written",
            one_line(str(error)),
            tries=("placet audit verify",),
        ) from error


def elsewhere(session: Session) -> str:
    """Instructions for another machine, which lacks the home's key."""
    made = f"{session.addressed('placet audit checkpoint --keys')} > log.vkey"
    return f"Elsewhere add --key log.vkey, made here once: {made}"


def _holds(found: proof_pb2.Receipt) -> str:
    events = [event_pb2.Entry.FromString(one.leaf).event for one in found.entries]
    erased = sum(event.erased.values for event in events)
    lost = f"; {counted(erased, 'value was', 'values were')} erased" if erased else ""
    closed = any(event.WhichOneof("body") == "closed" for event in events)
    open_still = "" if closed else ", so far: it is not closed"
    return f"Holds the {entries(len(events))} of request {short(found.approval_id)}{open_still}{lost}"


async def verify_receipt(
    session: Session,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="The receipt; -: stdin.", autocompletion=completion.files),
    ],
    key: Annotated[list[str] | None, KEY] = None,
    origin: Annotated[str, ORIGIN] = "",
) -> None:
    """Verify a receipt offline: who decided what, and when.

    Prints the evidence too, and that the log says so. Needs no stack, no home and no network: only the
    log's public key, got from somewhere else than the receipt. All that is printed was read from the bytes
    that are proven.
    """
    known = known_keys(session.home, key or [], origin)
    raw, found = _read(file), NONE
    try:
        found = read_receipt(raw)
        proof = verified(found, known)
    except NotProven as error:
        unknown = isinstance(error, NotAttested) and not known.attesting
        advice = ATTESTING_ADVICE if unknown else advised(found, known)
        _refuse(session, str(error), advice if known.any else "")
        raise typer.Exit(1) from None
    if session.json:
        session.screen.raw(json.dumps(proof.as_json(), indent=2))
    else:
        print_proof(session.screen, proof)
        _print_trust(session.screen, proof, key, [] if proof.by_known_key else own_keys(found))
    if not proof.by_known_key:
        raise typer.Exit(1)


def _read(file: str) -> bytes:
    """Reads a file, and of one that is too large only so much that it fails as a receipt later."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(MOST_RECEIPT_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MOST_RECEIPT_BYTES + 1)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror or error}", param_hint="'FILE'") from error


def _refuse(session: Session, why: str, advice: str) -> None:
    if session.json:
        session.screen.raw(json.dumps({"proven": False, "consistent": False, "why": why}, indent=2))
        return
    session.screen.say("✗ Not proven", "bold red")
    session.screen.paragraph(one_line(why))
    session.screen.paragraph(one_line(advice))


def print_proof(screen: Screen, proof: Proof) -> None:
    """Prints the content of a receipt."""
    screen.paragraph(proof.sentence, "bold")
    decided = proof.first("decided")
    if decided is not None and decided.decided.reasoning.value:
        screen.paragraph(f"“{one_line(decided.decided.reasoning.value)}”")
    received = proof.first("received")
    if received is not None:
        asked = f"asked {point(received.time)} by {one_line(received.actor.name.value) or 'nobody'}"
        screen.say(f"“{one_line(received.received.title.value)}”, {asked}", "dim")
    screen.say(f"request {one_line(proof.proven.approval_id)}", "dim")
    screen.say()
    print_path(screen, proof.path)
    screen.say()
    for name, fact in [*_evidence(proof), *_place(proof), *_erasures(proof)]:
        screen.say(f"{name:<10}{fact}")


def _evidence(proof: Proof) -> list[tuple[str, str]]:
    """Content, policy and authenticated approver of the decision."""
    facts = []
    received = proof.first("received")
    if received is not None:
        body = received.received
        facts += [
            ("content", f"{counted(body.content_size, 'byte')} of {one_line(body.media_type)}"),
            ("", f"SHA-256 {body.content_digest.hex()}"),
            ("policy", f"{one_line(body.policy)}, version {body.policy_version}"),
            ("", f"SHA-256 {body.policy_digest.hex()}"),
        ]
    for event in proof.events:
        if event.WhichOneof("body") == "voted":
            facts += _vote(event)
    return facts


def _vote(event: event_pb2.Event) -> list[tuple[str, str]]:
    voted, how = event.voted, one_line(event.actor.authenticated_by) or "in a way that is not on record"
    facts = [("approver", f"{one_line(event.actor.name.value)}, authenticated by {how}")]
    if voted.on_behalf_of.value:
        facts.append(("", f"on behalf of {one_line(voted.on_behalf_of.value)}"))
    if voted.rendering:
        facts.append(("", f"was shown the content as {one_line(voted.rendering)}"))
    # The log's grammar takes no vote on another content or policy.
    facts.append(("", "decided on this content"))
    return facts


def _place(proof: Proof) -> list[tuple[str, str]]:
    proven = proof.proven
    indexes = ", ".join(f"{one.index:,}" for one in proven.entries)
    facts = [
        ("log", one_line(proven.checkpoint.origin)),
        ("entries", f"{indexes} of {proven.checkpoint.size:,}, counted from 0"),
    ]
    for key, time in proven.signers.items():
        when = "" if time is None else f" at {_time(time)}"
        facts.append(("signed by" if key.kind == LOG_SIGNATURE else "witness", f"{one_line(str(key))}{when}"))
    return facts


def _erasures(proof: Proof) -> list[tuple[str, str]]:
    facts = []
    for event in proof.events:
        if event.WhichOneof("body") == "erased":
            who = one_line(event.actor.name.value) or GONE
            facts.append(
                ("erased", f"{counted(event.erased.values, 'value')} at {point(event.time)} by {who}")
            )
            facts.append(("", f"“{one_line(event.erased.reason.value)}”"))
    for index, path in proof.withheld:
        facts.append(("withheld", f"{path} of entry {index:,}: no erasure is on record for it"))
    return facts


def _print_trust(screen: Screen, proof: Proof, given: list[str] | None, brought: list[VerifierKey]) -> None:
    """Prints by which keys the receipt is proven."""
    screen.say()
    if proof.by_known_key:
        whose = "the key of this home" if given is None else "the key that you gave"
        screen.say(f"✓ Proven, by {whose}", "bold green")
        return
    screen.say("! Consistent, but not proven", "bold yellow")
    screen.paragraph(
        "The keys came with the receipt, so that whoever made it may have made them too. Compare the key "
        "with the one that the log's operator gave you, or give that one with --key:"
    )
    for key in brought:
        if key in proof.proven.signers or key.kind == ATTESTATION:
            screen.say(f"  {one_line(str(key))}")
            screen.say(f"  SHA-256 {fingerprint(key)}")
    screen.paragraph("The SHA-256 is that of a file of this line alone: sha256sum log.vkey")


def fingerprint(key: VerifierKey) -> str:
    """The SHA-256 of the verifier key's line with its line end, in hex, for two people to compare."""
    return hashlib.sha256(f"{key}\n".encode()).hexdigest()


def _time(posix: int) -> str:
    try:
        return point_of(datetime.fromtimestamp(posix, UTC))
    except (ValueError, OverflowError, OSError):
        return f"{posix} s after 1970"
