"""Tokens and JWKS that somebody else wrote: read in one way, or refused; the cause stays on the server."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet_proof import read_object
from placet_rpc.errors import Unauthenticated
from placet_rpc.tokens import ALGORITHM, AUDIENCE, ISSUER
from placet_rpc.tokens.mint import KeyFiles, SigningKey, generate_keys, mint
from placet_rpc.tokens.verify import Verifier
from placet_testing.tokens import revoke

Sign = Callable[[bytes, bytes], str]
HEADER = json.dumps({"alg": ALGORITHM}).encode()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> KeyFiles:
    """Keys that no test changes."""
    return generate_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def sign(files: KeyFiles) -> Sign:
    """Signs any bytes as header and claims, as an issuer with a careless library could."""
    private = SigningKey.load(files.private_key).private_key

    def signed(header: bytes, claims: bytes) -> str:
        text = f"{encoded(header)}.{encoded(claims)}"
        return f"{text}.{encoded(private.sign(text.encode()))}"

    return signed


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: object) -> bytes:
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "svc",
        "tenant": "default",
        "roles": ["auditor"],
        "nbf": now - 60,
        "exp": now + 600,
        "jti": "1",
    }
    return json.dumps(good | changes).encode()


def test_a_token_that_was_signed_so_is_taken(files: KeyFiles, sign: Sign) -> None:
    assert Verifier(files.jwks).verify(sign(HEADER, claims())).subject == "svc"
    half = claims(exp=time.time() + 600.5)
    assert Verifier(files.jwks).verify(sign(HEADER, half)).subject == "svc"


HEADERS = {
    "critical extensions": b'{"alg": "Ed25519", "crit": ["exp"], "exp": 1}',
    "critical extensions that are the library's": b'{"alg": "Ed25519", "crit": ["b64"], "b64": true}',
    "no critical extension": b'{"alg": "Ed25519", "crit": []}',
    "the payload as it is": b'{"alg": "Ed25519", "b64": false}',
    "a name twice": b'{"alg": "Ed25519", "alg": "Ed25519"}',
    "a name twice, the first one bad": b'{"alg": "none", "alg": "Ed25519"}',
    "a list": b'["alg"]',
    "a huge integer": b'{"alg": "Ed25519", "kid": ' + b"9" * 300 + b"}",
    "NaN": b'{"alg": "Ed25519", "kid": NaN}',
    "deep lists": b'{"alg": "Ed25519", "kid": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    "a byte order mark": b"\xef\xbb\xbf" + HEADER,
    "not UTF-8": b'{"alg": "Ed25519", "kid": "\xff"}',
    "an algorithm that is a list": b'{"alg": ["Ed25519"]}',
    "a key id that is a list": b'{"alg": "Ed25519", "kid": []}',
}
CLAIMS = {
    "a name twice": claims()[:-1] + b', "sub": "root"}',
    "expiry without end": claims(exp=float("inf")),
    "expiry that is no number": claims(exp=float("nan")),
    "expiry of many digits": claims().replace(b'"jti"', b'"iat": ' + b"9" * 1000 + b', "jti"'),
    "expiry beyond what JSON carries": claims(exp=1 << 60),
    "expiry that is large": claims().replace(b'"exp": ', b'"exp": 1e400, "x": '),
    "expiry that is true": claims(exp=True),
    "expiry that is text": claims(exp="9999999999"),
    "an id that is a list": claims(jti=["1"]),
    "an id that is an object": claims(jti={}),
    "deep lists": claims(x=json.loads("[" * 900 + "]" * 900)),
    "deep lists without end": b'{"x": ' + b"[" * 5000,
    "a list": b"[]",
    "nothing": b"",
    "half a surrogate pair": claims(sub="\ud800"),
    "a byte order mark": b"\xef\xbb\xbf" + claims(),
    "not UTF-8": b'{"sub": "\xff"}',
    "an audience of objects": claims(aud=[{}]),
    "an issuer that is a list": claims(iss=[ISSUER]),
    "roles that are an object": claims(roles={"service": 1}),
    "a tenant that is null": claims(tenant=None),
}


def check_refused(jwks: Path, token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Verifier(jwks).verify(token)
    # What a caller is told; the cause is for the server's log.
    assert str(caught.value) in ("the token is not valid here", "the token has expired; get a fresh one")


@pytest.mark.parametrize("how", HEADERS)
def test_a_signed_token_is_refused_for_its_header(files: KeyFiles, sign: Sign, how: str) -> None:
    check_refused(files.jwks, sign(HEADERS[how], claims()))


@pytest.mark.parametrize("how", CLAIMS)
def test_a_signed_token_is_refused_for_its_claims(files: KeyFiles, sign: Sign, how: str) -> None:
    check_refused(files.jwks, sign(HEADER, CLAIMS[how]))


def test_a_critical_extension_is_named_as_the_cause(files: KeyFiles, sign: Sign) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Verifier(files.jwks).verify(sign(HEADERS["critical extensions"], claims()))
    assert str(caught.value.__cause__) == "the header names critical extensions, and none is understood here"


def test_claims_are_read_only_when_the_signature_is_good(
    files: KeyFiles, sign: Sign, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[bytes]()

    def recorded(raw: bytes, most: int) -> Any:  # Any: JSON
        read.append(raw)
        return read_object(raw, most)

    verifier = Verifier(files.jwks)
    monkeypatch.setattr("placet_rpc.tokens.verify.read_object", recorded)
    token = sign(HEADER, claims())
    forged = token[:-8] + "AAAAAAAA"
    with pytest.raises(Unauthenticated):
        verifier.verify(forged)
    assert read == [HEADER]


@pytest.mark.parametrize("part", ["header", "padding", "spelling", "spaces"])
def test_a_header_in_another_spelling_of_base64_is_refused(files: KeyFiles, sign: Sign, part: str) -> None:
    token = sign(HEADER + b" ", claims())
    header, _, rest = token.partition(".")
    changed = {
        "header": "é" + header,
        "padding": header + "=",
        "spelling": header[:-1] + chr(ord(header[-1]) + 1),
        "spaces": header[:4] + "\n" + header[4:],
    }
    check_refused(files.jwks, f"{changed[part]}.{rest}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_signed_bytes_are_taken_or_refused_in_one_way(
    files: KeyFiles, sign: Sign, data: st.DataObject
) -> None:
    pieces = st.binary(max_size=3) | st.sampled_from(
        [b"null", b"[]", b"{}", b"NaN", b"1e999", b"9" * 400, b'"', b"\\ud800", b"[" * 99, b"true"]
    )
    parts = [bytearray(HEADER), bytearray(claims())]
    raw = data.draw(st.sampled_from(parts))
    start = data.draw(st.integers(0, len(raw)))
    raw[start : start + data.draw(st.integers(0, 9))] = data.draw(pieces)
    try:
        Verifier(files.jwks).verify(sign(bytes(parts[0]), bytes(parts[1])))
    except Unauthenticated as error:
        assert "token" in str(error)  # noqa: PT017  # any other error fails the test


def jwk(x: bytes) -> dict[str, object]:
    return {"kty": "OKP", "crv": "Ed25519", "x": encoded(x)}


JWKS = {
    "a key of small order": json.dumps({"keys": [jwk(bytes(32))]}),
    "the neutral element": json.dumps({"keys": [jwk(b"\1" + bytes(31))]}),
    "a key that is not canonical": json.dumps({"keys": [jwk(b"\xff" * 31 + b"\x7f")]}),
    "a key that is short": json.dumps({"keys": [jwk(b"\2" * 31)]}),
    "a key without x": '{"keys": [{"kty": "OKP", "crv": "Ed25519"}]}',
    "a key whose x is a list": '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": []}]}',
    "a key with padding": json.dumps({"keys": [jwk(b"\2" * 32) | {"x": encoded(b"\2" * 32) + "="}]}),
    "a key id that is a list": json.dumps({"keys": [jwk(b"\2" * 32) | {"kid": []}]}),
    "a name twice": '{"keys": [], "keys": []}',
    "NaN": '{"keys": [], "revoked": {"1": NaN}}',
    "a revocation without a time": json.dumps({"keys": [jwk(b"\2" * 32)], "revoked": {"1": "x"}}),
    "deep lists": "[" * 100_000,
    "much": '{"keys": "' + "a" * (30 << 20) + '"}',
}


@pytest.mark.parametrize("how", JWKS)
def test_a_jwks_is_refused_in_words_of_ours(tmp_path: Path, how: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(JWKS[how])
    with pytest.raises(ValueError, match="JWKS") as caught:
        Verifier(path)
    assert not any(word in str(caught.value) for word in ("Expecting", "Error", "object is", "bytes long"))


def test_a_private_key_s_file_that_is_none_is_refused_in_words_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.touch(mode=0o600)
    for text in ("{", "[]", "NaN", '{"kty": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"key.json holds no Ed25519 key$"):
            SigningKey.load(path)


def test_a_token_that_is_none_cannot_be_revoked(files: KeyFiles) -> None:
    for token in ("", "a", "a.b.c", "é.é.é", "." * 9000, mint_of(files)[:-4]):
        with pytest.raises(ValueError, match="not signed by a key of this JWKS"):
            revoke(files.jwks, token)


def mint_of(files: KeyFiles) -> str:
    return mint(SigningKey.load(files.private_key), "svc", "default", ["auditor"], 60)
