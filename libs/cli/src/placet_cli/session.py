"""The context of a command: the stack, the acting person, the output."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from placet_cli.command_name import pasted
from placet_cli.home import DEFAULT_HOME, DEFAULT_PORT_BASE, Home, Ports, shown, typed
from placet_cli.identity import OWNER, person
from placet_cli.local_stack import LocalStack
from placet_cli.option_parsers import address_of
from placet_cli.problems import Problem, WrongInput, addressed_step
from placet_cli.screen import Screen, short
from placet_text import visible

# Each imported where it is used: what a command does not call, it does not pay for.
if TYPE_CHECKING:
    import grpc.aio

    from placet.approval.v1 import approval_pb2, approval_service_pb2
    from placet_client import PlacetClient
    from placet_rpc.tls import ClientTls
    from placet_rpc.tokens.sources import TokenSource

# Seconds that a command waits for a service that is away: long enough for a restart, short for a person.
PATIENCE = 5.0
LOOKED_THROUGH = 1000


@dataclass(frozen=True)
class Session:
    """A command's surroundings. `given_port_base` and `identity` are None when the user gave none."""

    home: Home
    given_port_base: int | None = None
    identity: str | None = None
    json: bool = False
    home_is_typed: bool = False
    ports_are_typed: bool = False
    screen: Screen = field(default_factory=Screen)

    @classmethod
    def of(
        cls,
        home: Path | None,
        port_base: int | None,
        identity: str | None,
        *,
        json: bool,
        home_is_typed: bool = False,
        ports_are_typed: bool = False,
    ) -> Session:
        """The session of these options. Raises WrongInput for an identity, ports or a home that cannot be."""
        if identity is not None:
            address_of("--as", identity)
        if port_base is not None:
            Ports(port_base)
        found = Home.at(home or Path(DEFAULT_HOME))
        try:
            str(found.path).encode()
        except UnicodeEncodeError as error:
            raise WrongInput(
                f"--home {visible(str(found.path))} cannot be used",
                "the path holds bytes that are not UTF-8",
                tries=("the same command with --home /another/folder",),
            ) from error
        return cls(found, port_base, identity, json, home_is_typed, ports_are_typed)

    @property
    def ports(self) -> Ports:
        """The ports as given; else those of the stack that runs on this home; else the default ones."""
        if self.given_port_base is not None:
            return Ports(self.given_port_base)
        state = LocalStack.read(self.home)
        return Ports(state.port_base if state is not None else DEFAULT_PORT_BASE)

    @property
    def options(self) -> str:
        """Options that select the same stack in another terminal; "" for the default home."""
        home = "" if self.home == Home.at(Path(DEFAULT_HOME)) else f" --home {typed(self.home.path)}"
        state = LocalStack.read(self.home)
        known = state is not None and state.port_base == self.given_port_base
        return home if self.given_port_base is None or known else f"{home} --port-base {self.given_port_base}"

    def again(self, command: str) -> str:
        """A command for pasting, meant for the same stack and the same person as this one."""
        identity = "" if self.identity is None else f" --as {shlex.quote(self.identity)}"
        return f"{pasted(command)}{identity}{self.options}"

    @property
    def given(self) -> list[str]:
        """The options that the user gave to say which stack is meant; the environment says the same again."""
        given = []
        if self.home != Home.at(Path(os.environ.get("PLACET_HOME") or DEFAULT_HOME)):
            given.append(f"--home {typed(self.home.path)}")
        port_base = self.given_port_base
        if port_base is not None and str(port_base) != os.environ.get("PLACET_PORT_BASE"):
            given.append(f"--port-base {port_base}")
        return given

    def addressed(self, step: str) -> str:
        """A next step with the options that select the same stack and the same person."""
        return addressed_step(step, self.given, self.identity)

    @property
    def own_home(self) -> Home:
        """The home, for a command that reads its files or stops its stack.

        Raises Problem when the given ports are those of another stack, which would not be the one meant.
        """
        if self.elsewhere:
            raise Problem(
                f"--port-base {self.given_port_base} is not where this home's stack runs",
                self.elsewhere,
                tries=("the same command without --port-base or PLACET_PORT_BASE",),
            )
        other = None if self.given_port_base is None else _home_at(self.ports)
        if other is not None and other != self.home.path:
            raise Problem(
                f"--port-base {self.given_port_base} is the stack of another home",
                f"the ports from {self.given_port_base} on are held by the stack of {shown(other)}",
                tries=(
                    f"the same command with --home {typed(other)}",
                    "the same command without --port-base or PLACET_PORT_BASE",
                ),
            )
        return self.home

    @property
    def elsewhere(self) -> str:
        """The ports of this home's stack, in words, when the user gave other ones; else ""."""
        state = LocalStack.read(self.home)
        if self.given_port_base is None or state is None or not state.runs:
            return ""
        if state.port_base == self.given_port_base:
            return ""
        return f"the stack of {shown(self.home.path)} runs on the ports from {state.port_base} on"

    @property
    def starting(self) -> str:
        """The progress of the stack's start, in words; "" when it is not starting."""
        state = LocalStack.read(self.home)
        return state.starting if state is not None and state.port_base == self.ports.base else ""

    @property
    def who(self) -> str:
        """The acting person's address."""
        return self.identity or OWNER

    @property
    def acting(self) -> str:
        """The acting person, in words; the owner of a token file is known to its issuer alone."""
        return "who PLACET_TOKEN_FILE names" if self._outside("PLACET_TOKEN_FILE") else self.who

    @property
    def acts_as_anybody(self) -> bool:
        """True where --as may name anybody: the home's key mints the tokens."""
        return not self._outside("PLACET_TOKEN_FILE")

    @property
    def with_the_role(self) -> tuple[str, ...]:
        """Next steps for a person who lacks a role."""
        if self._outside("PLACET_TOKEN_FILE"):
            return ("set PLACET_TOKEN_FILE to a token with one of these roles, or unset it",)
        return (f"the same command without --as: {OWNER}, who runs the stack, has all roles of people",)

    def tokens(self) -> TokenSource:
        """The tokens of who acts: minted with the home's key, else PLACET_TOKEN_FILE's. Raises Problem."""
        outside = self._outside("PLACET_TOKEN_FILE")
        if not outside:
            return person(self.home, self.who)
        if self.identity is not None:
            raise WrongInput(
                f"--as {self.identity} and PLACET_TOKEN_FILE both say who acts",
                f"PLACET_TOKEN_FILE is {outside}",
                tries=("unset PLACET_TOKEN_FILE", "the same command without --as"),
            )
        from placet_rpc.tokens.sources import FileTokenSource

        return FileTokenSource(Path(outside))

    def address(self, service: str) -> str:
        """host:port of a service: PLACET_<SERVICE>_ADDRESS, unless ports were typed; or this stack's."""
        outside = "" if self.ports_are_typed else self._outside(f"PLACET_{service.upper()}_ADDRESS")
        return outside or self.ports.address(service)

    def _outside(self, variable: str) -> str:
        """An environment variable's value; ignored for a home that was typed, which selects the stack."""
        return "" if self.home_is_typed else os.environ.get(variable, "")

    def client(self, *, patience: float = PATIENCE) -> PlacetClient:
        """The SDK, acting as who acts."""
        return self._connected(self.tokens(), patience)

    def _connected(self, tokens: TokenSource, patience: float = PATIENCE) -> PlacetClient:
        from placet_client import PlacetClient

        return PlacetClient.connect(self.address("approval"), tokens, patience=patience, tls=_tls())

    @asynccontextmanager
    async def channel(self, service: str) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to a service, acting as who acts."""
        from placet_rpc.client import channel

        opened = channel(self.address(service), self.tokens(), tls=_tls())
        try:
            yield opened
        finally:
            await opened.close()

    @asynccontextmanager
    async def overseer(self, client: PlacetClient) -> AsyncIterator[PlacetClient]:
        """A client that sees all requests, where the embedded stack's keys allow it; else `client` itself."""
        if self.identity is None:
            yield client
            return
        tokens = person(self.home, OWNER)
        async with self._connected(tokens) as seeing:
            yield seeing

    async def look(
        self, client: PlacetClient, approval_id: str
    ) -> tuple[approval_pb2.Approval, approval_service_pb2.GetContentResponse | None]:
        """A request, whoever acts, and what is to be decided; None when nothing is any more."""
        async with self.overseer(client) as seeing:
            approval = await seeing.get(approval_id)
            if approval.HasField("outcome"):
                return approval, None
            return approval, await seeing.get_content(approval.approval_id, approval.content_digest)

    async def resolve(self, client: PlacetClient, given: str) -> str:
        """The id that the user means by an id or its unique beginning, see `check_id`. Raises Problem."""
        try:
            return str(uuid.UUID(given))
        except ValueError:
            prefix = given.lower()
        async with self.overseer(client) as seeing:
            listed = await seeing.list(limit=LOOKED_THROUGH)
        found = [one for one in listed.approvals if one.approval_id.startswith(prefix)]
        if len(found) == 1:
            return found[0].approval_id
        if not found:
            raise Problem(
                f"none of the last {LOOKED_THROUGH:,} requests begins with {given}",
                "older ones are known by their whole id",
                tries=("placet list",),
            )
        from placet_cli.formatting import named

        raise Problem(
            f"{len(found)} requests begin with {given}",
            "\n".join(f"{one.approval_id}  {named(one.title)}" for one in found[:5]),
            tries=(f"use more characters than {short(given)}",),
        )


def _home_at(ports: Ports) -> Path | None:
    """The home of the embedded stack that holds these ports; None when there is none."""
    if importlib.util.find_spec("placet_devstack") is None:
        return None
    # By name: this package does not depend on the embedded stack.
    found: Path | None = importlib.import_module("placet_devstack.ports").home_at(ports)
    return found


def _tls() -> ClientTls | None:
    """The TLS files that the environment names. Raises Problem where it names them by halves."""
    from placet_rpc.client import tls_from_environment

    try:
        return tls_from_environment()
    except ValueError as error:
        raise Problem(
            "the environment says by halves how to speak TLS, and nothing was sent",
            str(error),
            tries=("set PLACET_TLS_CA_FILE too, or unset all that begins with PLACET_TLS_",),
        ) from error
