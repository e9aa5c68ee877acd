"""The processes of the embedded stack, with their commands and environments."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from placet_cli.home import HOST, Home, Ports
from placet_cli.identity import OWNER, TENANT
from placet_cli.problems import Problem
from placet_cli.telemetry import OTLP_ENDPOINT
from placet_devstack import temporal_server as temporal
from placet_devstack.child import ProcessSpec
from placet_devstack.probes import file_exists, grpc_serving, port_open
from placet_domain.policy_files import BadPolicy, load
from placet_rpc.identity import PROGRAMS
from placet_rpc.tokens.mint import KeyFiles

SERVICES = ("audit", "decision", "notification", "approval")
WORKERS = ("default", "openai", "ml")
WITNESS = "witness"

# Prefixes of the variables that a part takes from the environment. All others that begin with PLACET_ are
# set here, so that another installation's do not leak in. Keys of AI services reach DecisionService alone.
_SHARED = ("PLACET_LOG_LEVEL", "PLACET_WORKER_")
_OWN = {
    "approval": ("PLACET_APPROVAL_",),
    "audit": ("PLACET_AUDIT_",),
    "decision": ("PLACET_DECISION_", "PLACET_OPENAI_", "OPENAI_"),
    "notification": ("PLACET_NOTIFICATION_",),
    WITNESS: ("PLACET_WITNESS_",),
}
_SECRET = ("OPENAI_", "PLACET_")


@dataclass(frozen=True)
class StackOptions:
    """Options of a stack.

    `fast`: commits of Temporal are not synced. `clock_scale`: how much faster than written the policies'
    clocks run; 1 except in demonstrations. `embedded_ai`: no model outside is asked, whatever is configured.
    """

    fast: bool = False
    clock_scale: float = 1.0
    embedded_ai: bool = False


def stack(
    home: Home, ports: Ports, options: StackOptions, environment: Mapping[str, str] = os.environ
) -> list[ProcessSpec]:
    """The processes, each after what it needs.

    Raises Problem when Temporal is not installed, or a policy of the operator's folder cannot be used.
    """
    _check_policies(environment)
    plan = _Plan(home, ports, options, environment)
    foundations = [plan.temporal(), plan.mail(), *plan.spans()]
    services = [plan.service(name) for name in SERVICES]
    return [*foundations, *services, plan.witness(), *(plan.worker(name) for name in WORKERS)]


def _check_policies(environment: Mapping[str, str]) -> None:
    """Loads the policies as ApprovalService does, which starts late. Raises Problem."""
    folder = environment.get("PLACET_APPROVAL_POLICY_FOLDER")
    try:
        load(Path(folder) if folder else None)
    except BadPolicy as error:
        raise Problem(
            f"{error}", "nothing was started", tries=("placet up  (once this is corrected)",)
        ) from error


@dataclass(frozen=True)
class _Plan:
    home: Home
    ports: Ports
    options: StackOptions
    outside: Mapping[str, str]

    def temporal(self) -> ProcessSpec:
        command = temporal.server_command(
            temporal.executable(),
            port=self.ports.all["temporal"],
            ui_port=self.ports.all["temporal-ui"],
            database=self.home.database("temporal"),
            fast=self.options.fast,
        )
        return ProcessSpec(
            "temporal",
            command,
            self._environment("temporal"),
            self.home.log("temporal"),
            grpc_serving(self.ports.address("temporal"), temporal.HEALTH),
            address=self.ports.address("temporal"),
        )

    def spans(self) -> list[ProcessSpec]:
        """The local span store, unless the spans go to a backend."""
        if self.outside.get(OTLP_ENDPOINT):
            return []
        arguments = ("--listen", self.ports.address("spans"), "--database", str(self.home.database("spans")))
        return [
            ProcessSpec(
                "spans",
                (sys.executable, "-m", "placet_devstack.spans", *arguments),
                self._environment("spans"),
                self.home.log("spans"),
                port_open(HOST, self.ports.all["spans"]),
                address=self.ports.address("spans"),
            )
        ]

    def mail(self) -> ProcessSpec:
        arguments = ("--port", str(self.ports.all["mail"]), "--directory", str(self.home.mails))
        return ProcessSpec(
            "mail",
            (sys.executable, "-m", "placet_devstack.mail_sink", *arguments),
            self._environment("mail"),
            self.home.log("mail"),
            port_open(HOST, self.ports.all["mail"]),
            address=self.ports.address("mail"),
        )

    def service(self, name: str) -> ProcessSpec:
        needs = {
            "audit": self._tracing(),
            "decision": self._tracing(),
            "notification": (*self._tracing(), "mail"),
            "approval": ("audit", "temporal"),
        }
        own = {
            f"PLACET_{name.upper()}_LISTEN": self.ports.address(name),
            f"PLACET_{name.upper()}_DATABASE_URL": f"sqlite:///{self.home.database(name)}",
        }
        if name == "audit":
            own["PLACET_AUDIT_LOG_KEY_FILE"] = str(self.home.log_key)
        if name in ("audit", "approval"):
            own["PLACET_ATTESTATION_KEYS_FILE"] = str(self.home.attestation_keys)
        if name == "approval":
            own["PLACET_APPROVAL_ATTESTATION_KEY_FILE"] = str(self.home.attestation_key)
            own["PLACET_APPROVAL_CLOCK_SCALE"] = repr(self.options.clock_scale)
            recipients = "PLACET_APPROVAL_ALARM_RECIPIENTS"
            own[recipients] = self.outside.get(recipients) or OWNER
        if name == "decision" and self.options.embedded_ai:
            own["PLACET_DECISION_PROVIDER"] = "embedded"
        if name == "notification":
            own["PLACET_NOTIFICATION_SMTP_HOST"] = HOST
            own["PLACET_NOTIFICATION_SMTP_PORT"] = str(self.ports.all["mail"])
        return ProcessSpec(
            name,
            (sys.executable, "-m", f"placet_{name}"),
            self._environment(name) | own,
            self.home.log(name),
            grpc_serving(self.ports.address(name)),
            needs=needs[name],
            address=self.ports.address(name),
            # A little more than the grace that calls in flight get.
            stop_limit=20.0,
        )

    def witness(self) -> ProcessSpec:
        ready = self.home.ready(WITNESS)
        own = {
            "PLACET_WITNESS_TENANT": TENANT,
            "PLACET_WITNESS_FOLDER": str(self.home.witness),
            "PLACET_WITNESS_KEY_FILE": str(self.home.witness_key),
            # Nobody is there who could give it the log's key.
            "PLACET_WITNESS_TRUST_ON_FIRST_USE": "true",
            "PLACET_READY_FILE": str(ready),
        }
        return ProcessSpec(
            WITNESS,
            (sys.executable, "-m", "placet_witness"),
            self._environment(WITNESS) | own,
            self.home.log(WITNESS),
            file_exists(ready),
            needs=("audit",),
            ready_file=ready,
            optional=True,
        )

    def worker(self, queue: str) -> ProcessSpec:
        name = f"worker-{queue}"
        ready = self.home.ready(name)
        needs = {
            "default": ("temporal", "audit", "decision", "notification"),
            "openai": ("temporal", "decision"),
            "ml": ("temporal", "audit"),
        }
        return ProcessSpec(
            name,
            (sys.executable, "-m", f"placet_worker_{queue}"),
            self._environment(name) | {"PLACET_READY_FILE": str(ready)},
            self.home.log(name),
            file_exists(ready),
            needs=needs[queue],
            ready_file=ready,
            stop_limit=20.0,
        )

    def _tracing(self) -> tuple[str, ...]:
        return () if self.outside.get(OTLP_ENDPOINT) else ("spans",)

    def _environment(self, name: str) -> dict[str, str]:
        """The outside's environment as far as this process may see it, and what all parts are given."""
        allowed = (*_SHARED, *_OWN.get(name, ()))
        outside = {
            key: value
            for key, value in self.outside.items()
            if key.startswith(allowed) or not key.startswith(_SECRET)
        }
        given = {
            "PLACET_HOME": str(self.home.path),
            "PLACET_JWKS_FILE": str(KeyFiles.below(self.home.keys).jwks),
            "PLACET_PAYLOAD_KEY_FILE": str(self.home.payload_key),
            "PLACET_TEMPORAL_ADDRESS": self.ports.address("temporal"),
            "PLACET_TEMPORAL_NAMESPACE": "default",
            **{f"PLACET_{service.upper()}_ADDRESS": self.ports.address(service) for service in SERVICES},
            "PYTHONUNBUFFERED": "1",
        }
        if name in PROGRAMS:
            given["PLACET_TOKEN_FILE"] = str(self.home.token(name))
        if name not in ("temporal", "spans") and not self.outside.get(OTLP_ENDPOINT):
            given[OTLP_ENDPOINT] = f"http://{self.ports.address('spans')}"
        return outside | given
