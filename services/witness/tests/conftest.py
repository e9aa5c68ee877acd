"""A log that a test makes grow, go back, fork, change keys and fall silent; and witnesses of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_proof import Checkpoint, VerifierKey, leaf_hash
from placet_proof.signer import signed, verifier_key
from placet_rpc import identity
from placet_rpc.errors import Unavailable
from placet_rpc.server import Endpoint, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import (
    JWKS_FILE,
    PRIVATE_KEY_FILE,
    SigningKey,
    generate_keys,
    mint_for_program,
    write_token,
)
from placet_testing.merkle import proof_of, root_of
from placet_testing.servicers import partial_servicer
from placet_witness.config import Settings
from placet_witness.domain import Answer, NoAnswer, Trust
from placet_witness.keys import Signer
from placet_witness.store import Folder
from placet_witness.watcher import Witness

AUDIT_SERVICE = audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"]
ORIGIN = "placet.test/default"
INTERVAL = 10.0


@dataclass
class FakeLog:
    """A log that signs whatever it is told to. `keys` sign; `offered` are those that it says are its own, by
    default these. While `refusing` or `hanging` it does not answer; while `unproven`, it proves nothing."""

    origin: str = ORIGIN
    leaves: list[bytes] = field(default_factory=list)
    keys: list[Ed25519PrivateKey] = field(default_factory=lambda: [Ed25519PrivateKey.generate()])
    offered: list[str] | None = None
    refusing: bool = False
    hanging: bool = False
    unproven: bool = False
    # Signatures of others.
    lines: str = ""
    # Answer that it gives instead of the true one.
    lie: str = ""
    # Number of calls.
    asked: int = 0
    callers: set[tuple[str, str]] = field(default_factory=set)

    def grow(self, count: int = 1, what: str = "entry") -> None:
        """Appends entries."""
        self.leaves += [leaf_hash(f"{what} {len(self.leaves) + n}".encode()) for n in range(count)]

    def roll_back(self, size: int) -> None:
        """Forgets all but the first entries."""
        del self.leaves[size:]

    def vkey(self, number: int = 0) -> VerifierKey:
        """The public half of one of its keys."""
        return verifier_key(self.keys[number], self.origin)

    @property
    def checkpoint_now(self) -> Checkpoint:
        """Its content."""
        return Checkpoint(self.origin, len(self.leaves), root_of(self.leaves))

    @property
    def note(self) -> str:
        """Its signed checkpoint."""
        if self.lie:
            return self.lie
        text = self.checkpoint_now.text
        return text + "\n" + "".join(signed(text, key, self.origin) for key in self.keys) + self.lines

    async def checkpoint(self) -> Answer:
        """See placet_witness.watcher.Log."""
        await self._listen()
        own = [str(self.vkey(number)) for number in range(len(self.keys))]
        return Answer(self.note, tuple(own if self.offered is None else self.offered))

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """See placet_witness.watcher.Log."""
        await self._listen()
        if self.unproven:
            raise NoAnswer("it proves nothing")
        return tuple(proof_of(first, self.leaves[:second]))

    async def _listen(self) -> None:
        self.asked += 1
        if self.refusing:
            raise NoAnswer("it is away")
        if self.hanging:
            await asyncio.Event().wait()


@pytest.fixture
def log() -> FakeLog:
    """A log with three entries."""
    log = FakeLog()
    log.grow(3)
    return log


@dataclass
class Watched:
    """A witness's folder and key, for one witness after the other."""

    path: Path
    log: FakeLog
    signer: Signer

    @contextmanager
    def witness(
        self,
        *keys: VerifierKey,
        interval: float = INTERVAL,
        clock: Callable[[], float] = lambda: 1_700_000_000.0,
    ) -> Iterator[Witness]:
        """A witness that believes these keys; without any, those that it sees first."""
        with Folder.held(self.path) as folder:
            trust = Trust(keys, learns=not keys)
            yield Witness(self.log, folder, self.signer, trust, interval=interval, clock=clock)

    def text(self, kind: str) -> str:
        """Reads a file of the log in the folder; "" without it."""
        path = self.path / f"placet.test_default.{kind}"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def watched(tmp_path: Path, log: FakeLog) -> Watched:
    """The log's witnesses."""
    signer = Signer(Ed25519PrivateKey.generate(), "witness.test")
    return Watched(tmp_path / "witness", log, signer)


@partial_servicer(AUDIT_SERVICE)
@dataclass
class FakeAuditService:
    """AuditService, as far as a witness asks it."""

    log: FakeLog

    async def GetCheckpoint(
        self, request: audit_service_pb2.GetCheckpointRequest, context: object
    ) -> audit_service_pb2.GetCheckpointResponse:
        """Returns the log's checkpoint."""
        self.log.callers.add((identity.current().subject, identity.current().tenant))
        try:
            answer = await self.log.checkpoint()
        except NoAnswer as error:
            raise Unavailable(str(error)) from error
        return audit_service_pb2.GetCheckpointResponse(
            checkpoint=answer.checkpoint, size=len(self.log.leaves), keys=answer.keys
        )

    async def GetConsistencyProof(
        self, request: audit_service_pb2.GetConsistencyProofRequest, context: object
    ) -> audit_service_pb2.GetConsistencyProofResponse:
        """Returns the log's proof."""
        try:
            proof = await self.log.consistency(request.first_size, request.second_size)
        except NoAnswer as error:
            raise Unavailable(str(error)) from error
        return audit_service_pb2.GetConsistencyProofResponse(second_size=request.second_size, proof=proof)


@pytest.fixture
async def settings(tmp_path: Path, log: FakeLog) -> AsyncIterator[Settings]:
    """Settings of a witness of the log behind a real server."""
    generate_keys(tmp_path)
    endpoint = Endpoint(
        AUDIT_SERVICE, audit_service_pb2_grpc.add_AuditServiceServicer_to_server, FakeAuditService(log)
    )
    server = await start(ServerSettings(listen="127.0.0.1:0", jwks_file=tmp_path / JWKS_FILE), [endpoint])
    key = SigningKey.load(tmp_path / PRIVATE_KEY_FILE)
    write_token(tmp_path / "token", mint_for_program(key, "witness", "default", 600))
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "witness.pem").touch(mode=0o600)
    (tmp_path / "witness.pem").write_bytes(pem)
    yield Settings(
        audit_address=f"127.0.0.1:{server.port}",
        token_file=tmp_path / "token",
        folder=tmp_path / "state",
        key_file=tmp_path / "witness.pem",
        trust_on_first_use=True,
        interval=1.5,
        ready_file=tmp_path / "ready",
    )
    await server.stop(0)
