"""Settings that services and callers read from environment variables, and the sentences for wrong ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from placet_rpc.tls import TLS_PREFIX, ClientTls, ServerTls
from placet_rpc.tokens import AUDIENCE, ISSUER

# The words for a fault, by pydantic's name of it.
_FAULTS = {
    "missing": "is required",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "{input!r} is not a whole number"),
    "int_parsing_size": "{input!r} is too large a number",
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), "{input!r} is not a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "{input!r} is neither true nor false"),
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    **dict.fromkeys(("literal_error", "enum"), "must be {expected}"),
    "string_pattern_mismatch": "must have the form {pattern}",
    "string_too_short": "must not be empty",
}


class ServerSettings(BaseModel):
    """Parameters of one gRPC server."""

    model_config = ConfigDict(frozen=True)

    listen: str = Field(description="host:port; port 0 lets the system choose")
    jwks_file: Path = Field(description="public keys that tokens are checked with")
    issuer: str = ISSUER
    audience: str = AUDIENCE
    reflection: bool = Field(default=False, description="serve gRPC reflection to all")
    grace: float = Field(default=10.0, ge=0, description="seconds for calls in flight at a stop")
    tls: ServerTls | None = Field(default=None, description="without it, only for trusted networks")
    max_message_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    max_calls: int = Field(default=10_000, gt=0, description="handled at once; more are refused")


class TlsVariables(BaseSettings):
    """Settings that take an empty variable for an unset one, except where that would turn TLS off."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    # Any: the values before validation.
    @model_validator(mode="before")
    @classmethod
    def _no_tls_file_is_empty(cls, values: Any) -> Any:
        """Refuses an empty name: a template writes one for a variable that it does not know."""
        for field in cls.model_fields.values():
            name = str(field.validation_alias)
            if name.startswith(TLS_PREFIX) and os.environ.get(name) == "":
                raise ValueError(f"{name} is set but empty: name a PEM file, or unset it")
        return values


class ServiceSettings(TlsVariables):
    """Settings of every service; each service's own settings extend them."""

    listen: str
    """host:port to serve on."""

    jwks_file: Path = Field(default=Path(".placet/keys/jwks.json"), validation_alias="PLACET_JWKS_FILE")
    """The public keys that callers' tokens are checked with."""

    jwt_issuer: str = Field(default=ISSUER, min_length=1, validation_alias="PLACET_JWT_ISSUER")
    """Issuer of callers' tokens (their claim `iss`)."""

    jwt_audience: str = Field(default=AUDIENCE, min_length=1, validation_alias="PLACET_JWT_AUDIENCE")
    """Audience of callers' tokens (their claim `aud`)."""

    tls_certificate_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CERTIFICATE_FILE")
    """PEM file of the service's certificate and its chain. Unset: plain, for trusted networks only."""

    tls_key_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_KEY_FILE")
    """PEM file of that certificate's private key."""

    tls_client_ca_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CLIENT_CA_FILE")
    """PEM file of the authority whose certificate callers must show. Unset: they need none."""

    reflection: bool = False
    """Serve gRPC reflection: anybody can read the contracts from the server."""

    grace: float = Field(default=10, ge=0)
    """Seconds that calls in flight get when the service stops."""

    @model_validator(mode="after")
    def _tls_files_fit(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("PLACET_TLS_CERTIFICATE_FILE and PLACET_TLS_KEY_FILE go together")
        if self.tls_client_ca_file is not None and self.tls_certificate_file is None:
            raise ValueError("PLACET_TLS_CLIENT_CA_FILE needs PLACET_TLS_CERTIFICATE_FILE")
        return self

    def server(self) -> ServerSettings:
        """Parameters for `placet_rpc.server.serve`."""
        return ServerSettings(
            listen=self.listen,
            jwks_file=self.jwks_file,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            tls=self._server_tls(),
            reflection=self.reflection,
            grace=self.grace,
        )

    def _server_tls(self) -> ServerTls | None:
        if self.tls_certificate_file is None or self.tls_key_file is None:
            return None
        return ServerTls(self.tls_certificate_file, self.tls_key_file, self.tls_client_ca_file)


class CallerSettings(TlsVariables):
    """Settings of every program that calls services."""

    tls_ca_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CA_FILE")
    """PEM file of the authority that services' certificates are checked with. Unset: services speak plain."""

    tls_own_certificate_file: Path | None = Field(
        default=None, validation_alias="PLACET_TLS_CLIENT_CERTIFICATE_FILE"
    )
    """PEM file of the certificate that this caller shows to services that want one."""

    tls_own_key_file: Path | None = Field(default=None, validation_alias="PLACET_TLS_CLIENT_KEY_FILE")
    """PEM file of that certificate's private key."""

    @model_validator(mode="after")
    def _own_tls_files_fit(self) -> Self:
        if (self.tls_own_certificate_file is None) != (self.tls_own_key_file is None):
            raise ValueError("PLACET_TLS_CLIENT_CERTIFICATE_FILE and PLACET_TLS_CLIENT_KEY_FILE go together")
        if self.tls_own_certificate_file is not None and self.tls_ca_file is None:
            raise ValueError("PLACET_TLS_CLIENT_CERTIFICATE_FILE needs PLACET_TLS_CA_FILE")
        return self

    def tls(self) -> ClientTls | None:
        """TLS files for `placet_rpc.client.channel`; None for a plain connection."""
        if self.tls_ca_file is None:
            return None
        return ClientTls(self.tls_ca_file, self.tls_own_certificate_file, self.tls_own_key_file)


def variable_of(settings: type[BaseSettings], field: str) -> str:
    """The environment variable that a setting is read from; of several, the first that is looked at."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        alias = str(alias.choices[0])
    prefix = settings.model_config.get("env_prefix", "")
    return alias if isinstance(alias, str) else f"{prefix}{field}".upper()


def describe_error(error: BaseException, settings: Iterable[type[BaseSettings]]) -> str:
    """The error's message; for wrong `settings`, each environment variable at fault and what must hold."""
    if not isinstance(error, ValidationError):
        return str(error)
    prefixes = {each.__name__: each.model_config.get("env_prefix", "") for each in settings}
    prefix = prefixes.get(error.title, "")
    sentences = []
    for one in error.errors(include_url=False):
        name = ".".join(str(part) for part in one["loc"])
        variable = name if name == name.upper() else f"{prefix}{name}".upper()
        sentences.append(": ".join(filter(None, (variable, describe_fault(one)))))
    return "; ".join(sentences)


# Any: a fault as pydantic gives it (`ValidationError.errors()`), and the parameters of its rule.
def describe_fault(fault: Mapping[str, Any]) -> str:
    """One fault of a value, without the words of the library that found it.

    Repeats the value only where a number or a truth value is wanted: any other may be a secret.
    """
    rule: dict[str, Any] = {
        name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for name, limit in fault.get("ctx", {}).items()
    }
    if fault["type"] in _FAULTS:
        return _FAULTS[fault["type"]].format(**rule, input=fault.get("input"))
    message: str = fault["msg"]
    return message.removeprefix("Value error, ")
