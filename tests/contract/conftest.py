"""The contracts' descriptors with their comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

import generate

# Importing these makes their options readable in descriptors.
from buf.validate import validate_pb2  # noqa: F401  # for its effect
from placet.event.v1 import options_pb2  # noqa: F401  # for its effect
from placet.rpc.v1 import access_pb2  # noqa: F401  # for its effect


@pytest.fixture(scope="session")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """Every contract of Placet itself, without what they import from elsewhere."""
    image: Path = tmp_path_factory.mktemp("contracts") / "placet.binpb"
    generate.write_image(image)
    everything = FileDescriptorSet.FromString(image.read_bytes())
    return FileDescriptorSet(file=[file for file in everything.file if file.package.startswith("placet.")])
