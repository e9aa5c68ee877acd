"""The plan of the embedded stack: who is told what."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from placet_cli.home import Home, Ports
from placet_devstack.child import ProcessSpec
from placet_devstack.plan import StackOptions, stack
from placet_devstack.secrets import CALLER, Tokens, make_keys
from placet_devstack.temporal_server import POLL_LIMITS
from placet_rpc.identity import PROGRAMS
from placet_rpc.tokens.verify import Verifier
from placet_witness.keys import Signer

PORTS = Ports(27_500)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    home.prepare()
    return home


def plan(home: Home, environment: dict[str, str] | None = None, **options: float) -> dict[str, ProcessSpec]:
    specs = stack(home, PORTS, StackOptions(**options), environment or {})  # type: ignore[arg-type]  # a test's shorthand
    return {spec.name: spec for spec in specs}


def test_the_stack_is_temporal_four_services_a_witness_three_workers_mail_and_spans(home: Home) -> None:
    assert set(plan(home)) == {
        "temporal",
        "spans",
        "mail",
        "audit",
        "approval",
        "decision",
        "notification",
        "witness",
        "worker-default",
        "worker-openai",
        "worker-ml",
    }


def test_the_key_of_an_ai_service_reaches_the_decision_service_alone(home: Home) -> None:
    keys = {"OPENAI_API_KEY": "k", "PLACET_OPENAI_API_KEY": "k"}
    for name, spec in plan(home, keys | {"PATH": "/bin"}).items():
        assert spec.env["PATH"] == "/bin"
        assert (keys.keys() <= spec.env.keys()) == (name == "decision")


def test_another_installations_addresses_do_not_leak_in(home: Home) -> None:
    specs = plan(home, {"PLACET_AUDIT_ADDRESS": "elsewhere:1", "PLACET_TOKEN_FILE": "/elsewhere"})
    for spec in specs.values():
        assert spec.env["PLACET_AUDIT_ADDRESS"] == "127.0.0.1:27501"
        assert spec.env.get("PLACET_TOKEN_FILE", str(home.path)).startswith(str(home.path))


def test_a_token_is_for_the_programs_that_call_others_alone(home: Home) -> None:
    specs = plan(home)
    given = {
        name: spec.env["PLACET_TOKEN_FILE"] for name, spec in specs.items() if "PLACET_TOKEN_FILE" in spec.env
    }
    assert given == {program: str(home.token(program)) for program in PROGRAMS}
    assert specs.keys() > PROGRAMS


def test_the_witness_keeps_what_it_saw_apart_from_the_data_of_the_log(home: Home) -> None:
    spec = plan(home)["witness"]
    assert Path(spec.env["PLACET_WITNESS_FOLDER"]) == home.witness
    database = Path(plan(home)["audit"].env["PLACET_AUDIT_DATABASE_URL"].removeprefix("sqlite:///"))
    assert not home.witness.is_relative_to(database.parent)
    assert spec.needs == ("audit",)
    # A log whose witness is away is not held up.
    assert [name for name, one in plan(home).items() if one.optional] == ["witness"]
    assert spec.env["PLACET_WITNESS_TENANT"] == "default"


def test_temporal_syncs_each_commit_unless_it_is_to_be_fast(home: Home) -> None:
    assert "synchronous=FULL" in plan(home)["temporal"].command
    assert "synchronous=NORMAL" in plan(home, fast=True)["temporal"].command
    for limit in POLL_LIMITS:
        assert any(part.startswith(f"{limit}=") for part in plan(home)["temporal"].command)


def test_a_backend_for_spans_replaces_the_local_store(home: Home) -> None:
    specs = plan(home, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4317"})
    assert "spans" not in specs
    assert specs["audit"].env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4317"
    assert plan(home)["audit"].env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:27512"


def test_keys_and_tokens_are_for_their_owner_alone_and_stay(home: Home) -> None:
    make_keys(home)
    payload_key, witness_key = home.payload_key.read_bytes(), home.witness_key.read_bytes()
    Tokens(home).write_all()
    make_keys(home)
    assert home.payload_key.read_bytes() == payload_key
    assert home.witness_key.read_bytes() == witness_key
    assert Signer.load(home.witness_key, "placet-witness").key.name == "placet-witness"
    assert len(payload_key) == 32
    private = [
        home.payload_key,
        home.witness_key,
        home.keys / "signing-key.json",
        *(home.token(name) for name in (*PROGRAMS, CALLER)),
    ]
    assert {path.name for path in home.token(CALLER).parent.iterdir()} == PROGRAMS | {CALLER}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    verifier = Verifier(home.keys / "jwks.json")
    for name in PROGRAMS:
        principal = verifier.verify(home.token(name).read_text().strip())
        assert principal.program == name
        assert principal.tenants == {"default"}
    caller = verifier.verify(home.token(CALLER).read_text().strip())
    assert (caller.subject, caller.program) == (CALLER, "")
    assert caller.roles == {"requester"}
