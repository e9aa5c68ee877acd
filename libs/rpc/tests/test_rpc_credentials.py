"""Every RPC of every service times every bad credential is denied, and reaches no handler.

The RPCs come from the contracts' descriptors, so that one added later is in the matrix by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from placet.rpc.v1 import access_pb2
from placet_rpc.access import Method
from placet_rpc.identity import PROGRAMS
from placet_rpc.server import RunningServer, start
from placet_rpc.settings import ServerSettings
from placet_rpc.tokens.mint import SigningKey, generate_keys, mint, mint_for_program
from placet_testing.recording_server import METHODS, SERVICES, Metadata, bearer, recording_endpoints
from placet_testing.tokens import revoke

pytestmark = pytest.mark.integration

DENIED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}

ROLES = frozenset(name.removeprefix("ROLE_").lower() for name in access_pb2.Role.keys()[1:]) - {"program"}


@dataclass(frozen=True)
class Hall:
    """All four services in one server, the key of its tokens, and the RPCs that reached a handler."""

    server: RunningServer
    key: SigningKey
    jwks: Any
    handled: list[str]
    forger: SigningKey

    def good(self, method: Method, **changes: Any) -> str:
        """A token that opens the RPC: a program's, unless the RPC is for people or the changes are."""
        values: dict[str, Any] = {"tenant": "default", "ttl": 600}
        if method.programs and changes.keys().isdisjoint({"subject", "roles"}):
            return mint_for_program(self.key, **(values | {"program": min(method.programs)} | changes))
        return mint(self.key, **(values | {"subject": "somebody", "roles": method.roles} | changes))

    def program(self, method: Method, **changes: Any) -> str:
        """A token of a program, of one that the RPC names if it names any."""
        values: dict[str, Any] = {
            "program": min(method.programs or PROGRAMS),
            "tenant": "default",
            "ttl": 600,
        }
        return mint_for_program(self.key, **(values | changes))


def encoded(value: dict[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(base64.urlsafe_b64decode(part + "==")))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, claims, signature = token.split(".")
    return decoded(header), decoded(claims), signature


def forged(hall: Hall, method: Method, header: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A good token's claims under another header, signed by `sign`."""
    original, claims, _ = parts(hall.good(method))
    signed = f"{encoded(original | header)}.{encoded(claims)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def resigned(hall: Hall, token: str, change: Callable[[dict[str, Any]], None]) -> str:
    """A token of the right key with claims that it should never sign."""
    header, claims, _ = parts(token)
    change(claims)
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(signer(hall.key)(signed.encode()))}"


def signer(key: SigningKey) -> Callable[[bytes], bytes]:
    return key.private_key.sign


def other_claims(hall: Hall, method: Method) -> str:
    header, _, signature = hall.good(method, roles=["nobody"]).split(".")
    _, rich, _ = parts(hall.good(method))
    return f"{header}.{encoded(rich)}.{signature}"


def hs256(hall: Hall, method: Method) -> str:
    public = hall.jwks.read_bytes()
    return forged(hall, method, {"alg": "HS256"}, lambda text: hmac.digest(public, text, hashlib.sha256))


def rs256_with_own_key(hall: Hall, method: Method) -> str:
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": encoded(numbers.n.to_bytes(256)), "e": encoded(numbers.e.to_bytes(3))}
    return forged(
        hall,
        method,
        {"alg": "RS256", "jwk": jwk},
        lambda text: private.sign(text, padding.PKCS1v15(), hashes.SHA256()),
    )


def revoked(hall: Hall, method: Method) -> str:
    token = hall.good(method)
    revoke(hall.jwks, token)
    return token


def truncated(hall: Hall, method: Method) -> str:
    return hall.good(method)[:-10]


def without(claim: str) -> Callable[[Hall, Method], str]:
    return lambda hall, method: resigned(hall, hall.good(method), lambda claims: claims.pop(claim))


def wrong_role(hall: Hall, method: Method) -> Metadata:
    return bearer(hall.good(method, roles=ROLES - method.roles))


def other_tenant(hall: Hall, method: Method) -> Metadata:
    """A person's token of one tenant, on a call that names another."""
    return bearer(hall.good(method, roles=method.roles or {"requester"}), tenant="other")


def wrong_program(hall: Hall, method: Method) -> Metadata:
    return bearer(hall.program(method, program=min(PROGRAMS - method.programs)))


def with_role_besides(hall: Hall, method: Method) -> str:
    """A program's token that also has the roles of people."""
    roles = ["program", *sorted(method.roles)] if method.roles else ["program", "operator"]
    return resigned(hall, hall.program(method), lambda claims: claims.update(roles=roles))


TOKENS: dict[str, Callable[[Hall, Method], str]] = {
    "expired": lambda hall, method: hall.good(method, now=time.time() - 3600, ttl=3599),
    "not yet valid": lambda hall, method: hall.good(method, now=time.time() + 60),
    "wrong audience": lambda hall, method: hall.good(method, audience="elsewhere"),
    "wrong issuer": lambda hall, method: hall.good(method, issuer="mallory"),
    "wrong key": lambda hall, method: mint(hall.forger, "svc", "default", method.roles, 600),
    "wrong key under the right key's id": lambda hall, method: forged(hall, method, {}, signer(hall.forger)),
    "alg none": lambda hall, method: forged(hall, method, {"alg": "none"}, lambda _: b""),
    "alg none, key id dropped": lambda hall, method: forged(
        hall, method, {"alg": "None", "kid": ""}, lambda _: b""
    ),
    "HS256 with the public key as secret": hs256,
    "RS256 with its own key in the header": rs256_with_own_key,
    "truncated": truncated,
    "signature dropped": lambda hall, method: hall.good(method).rpartition(".")[0] + ".",
    "claims of another token": other_claims,
    "revoked": revoked,
    "no expiry": without("exp"),
    "no id": without("jti"),
    "no tenant": without("tenant"),
    "roles as text": lambda hall, method: resigned(
        hall, hall.good(method), lambda claims: claims.update(roles=",".join(claims["roles"]))
    ),
    "expiry that is no number": lambda hall, method: resigned(
        hall, hall.good(method), lambda claims: claims.update(exp="never")
    ),
    "a program's without tenants": lambda hall, method: resigned(
        hall, hall.program(method), lambda claims: claims.pop("tenants")
    ),
    "a program's with another role": with_role_besides,
    "a program's of no program": lambda hall, method: resigned(
        hall, hall.program(method), lambda claims: claims.update(sub="worker")
    ),
    "not a token": lambda hall, method: "null",
    "a subject beyond its bound": lambda hall, method: hall.good(method, subject="s" * 255),
}

BAD: dict[str, Callable[[Hall, Method], Metadata]] = {
    "none": lambda hall, method: (),
    "empty": lambda hall, method: bearer(""),
    "another scheme": lambda hall, method: (("authorization", f"Basic {hall.good(method)}"),),
    "two tokens": lambda hall, method: bearer(hall.good(method)) + bearer(hall.good(method)),
    "wrong role": wrong_role,
    "another tenant's": other_tenant,
    "wrong program": wrong_program,
    "a program's, for another tenant": lambda hall, method: bearer(hall.program(method), tenant="other"),
    "a program's, for no tenant": lambda hall, method: bearer(hall.program(method), tenant=None),
    **{
        name: lambda hall, method, make=make: bearer(make(hall, method))  # type: ignore[misc]  # mypy infers no lambda with a default
        for name, make in TOKENS.items()
    },
}


@pytest.fixture(scope="module")
async def hall(
    tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., ServerSettings]
) -> AsyncIterator[Hall]:
    folder = tmp_path_factory.mktemp("hall")
    files, forger = generate_keys(folder / "own"), generate_keys(folder / "forger")
    handled: list[str] = []
    server = await start(settings(jwks_file=files.jwks), recording_endpoints(handled))
    keys = [SigningKey.load(file.private_key) for file in (files, forger)]
    yield Hall(server, keys[0], files.jwks, handled, keys[1])
    await server.stop(0)


async def code_of(
    channel: grpc.aio.Channel, method: Method, metadata: Metadata, request: bytes = b""
) -> grpc.StatusCode:
    """Status of a raw call, as a stranger would make it."""
    # Any: bytes are sent and received, whatever the method's messages.
    try:
        if method.streaming:
            stream: Any = channel.unary_stream(method.path)
            async for _ in stream(request, metadata=metadata, timeout=10):
                pass
        else:
            unary: Any = channel.unary_unary(method.path)
            await unary(request, metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_the_matrix_covers_what_it_promises() -> None:
    assert len(BAD) >= 12
    assert len(METHODS) == sum(len(service.methods) for service in SERVICES) >= 18


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_credential_is_denied_on_every_rpc_without_effect(hall: Hall, name: str) -> None:
    hall.handled.clear()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hall.server.port}") as channel:
        answers = {
            method.name: await code_of(channel, method, BAD[name](hall, method))
            for method in METHODS.values()
        }

    assert {path: code for path, code in answers.items() if code not in DENIED} == {}
    assert hall.handled == []


async def test_a_good_credential_passes_on_every_rpc(hall: Hall) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hall.server.port}") as channel:
        for method in METHODS.values():
            code = await code_of(channel, method, bearer(hall.good(method)))
            assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL}, method.path


async def test_a_role_alone_opens_exactly_the_rpcs_that_name_it(hall: Hall) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hall.server.port}") as channel:
        for role in ROLES:
            for method in METHODS.values():
                code = await code_of(channel, method, bearer(hall.good(method, roles=[role])))
                assert (code in DENIED) == (role not in method.roles), (role, method.path)


async def test_a_stranger_s_bytes_are_not_even_parsed(hall: Hall) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hall.server.port}") as channel:
        for method in METHODS.values():
            assert await code_of(channel, method, (), b"\xff\xff\xff") == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("path", ["/placet.audit.v1.AuditService/DropAll", "/a.B/C", "/", "/x"])
async def test_an_unknown_method_is_denied(hall: Hall, path: str) -> None:
    any_method = next(iter(METHODS.values()))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hall.server.port}") as channel:
        for metadata in ((), bearer(hall.good(any_method, roles=ROLES))):
            call: Any = channel.unary_unary(path)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", metadata=metadata, timeout=10)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
