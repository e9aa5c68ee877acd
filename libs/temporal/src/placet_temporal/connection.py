"""One way to connect to Temporal, for services and workers."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import cache
from typing import Any, Self

from temporalio.client import Client
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from placet_rpc.files import read_private
from placet_temporal.codec import EncryptionCodec
from placet_temporal.settings import TemporalSettings

RETRY_SECONDS = 0.2


class SharedPayloadConverter(PydanticPayloadConverter):
    """Pydantic JSON, with one instance for the process.

    The SDK constructs a converter for each activation of a workflow, and so loses the cache of types. The
    converter holds nothing else, and its cache is thread-safe.
    """

    def __new__(cls) -> Self:
        shared: Self = _shared(cls)
        return shared

    def __init__(self) -> None:
        """Does nothing: see `_shared`."""


@cache
def _shared(converter_class: type[SharedPayloadConverter]) -> Any:  # Any: the cache does not know Self
    shared = object.__new__(converter_class)
    PydanticPayloadConverter.__init__(shared)
    return shared


def data_converter(key: bytes) -> DataConverter:
    """Pydantic JSON, encrypted; failures' messages and stack traces are encrypted too."""
    return dataclasses.replace(
        pydantic_data_converter,
        payload_converter_class=SharedPayloadConverter,
        payload_codec=EncryptionCodec(key),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def connect(settings: TemporalSettings, identity: str, *, lazy: bool = False) -> Client:
    """A client that encrypts and traces. `identity` is what Temporal's UI shows.

    Waits for the frontend up to the settings' time, then raises ConnectionError. A lazy client connects
    with its first call, so that a service can start while Temporal is away; a worker needs an eager one.
    """
    converter = data_converter(read_private(settings.payload_key_file))
    deadline = time.monotonic() + settings.temporal_connect_timeout
    while True:
        try:
            return await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=converter,
                interceptors=[TracingInterceptor()],
                identity=identity,
                runtime=_quiet_runtime(),
                lazy=lazy,
            )
        except RuntimeError as error:
            # The SDK raises a bare RuntimeError when the frontend does not answer.
            if time.monotonic() > deadline:
                raise ConnectionError(
                    f"Temporal at {settings.temporal_address} does not answer: {error}"
                ) from error
            await asyncio.sleep(RETRY_SECONDS)


def _quiet_runtime() -> Runtime:
    """The process's runtime; its core logs errors only, ours say the rest."""
    logging = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    return Runtime(telemetry=TelemetryConfig(logging=logging))
