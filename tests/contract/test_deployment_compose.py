"""docker-compose.yml says the same as the code. Both are read together; no container engine is assumed."""

from __future__ import annotations

import os
import re
import tomllib
from urllib.parse import urlsplit

import pytest

import variables
from deployment import (
    DEPLOYED,
    PINNED,
    environment,
    mounts,
    of,
    ours,
    package_of,
    services,
)

# Ports of the other images, as their documentation says.
OTHERS_PORTS = {"postgres": 5432, "temporal": 7233, "mail": 1025, "otel-collector": 4317}


def every(names: list[str] | set[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", sorted(names))


def module_of(name: str) -> str:
    """Module that the image of a service runs."""
    return of(name, "CMD")[-1].command[-1]


def port_of(name: str) -> int:
    """The port that a service listens on."""
    if name in OTHERS_PORTS:
        return OTHERS_PORTS[name]
    return int(environment(name)[f"PLACET_{name.upper()}_LISTEN"].rsplit(":", 1)[1])


def test_every_service_and_worker_is_deployed_from_its_own_image() -> None:
    assert {package_of(name) for name in ours()} == set(DEPLOYED)
    assert set(ours()) == set(variables.processes())
    for name, entry in ours().items():
        assert entry["build"] == {"context": ".", "args": {"PROGRAM": name}}
        assert module_of(name) == variables.processes()[name]
        assert "command" not in entry
        assert "entrypoint" not in entry


def test_images_are_pinned_and_ours_carry_their_packages_version() -> None:
    images = {name: entry["image"] for name, entry in services().items()}
    assert [image for image in images.values() if not PINNED.match(image)] == []
    for name in ours():
        project = tomllib.loads((package_of(name).folder / "pyproject.toml").read_text())["project"]
        assert images[name] == f"placet/{name}:{project['version']}"


@every(set(ours()))
def test_a_container_is_told_only_what_its_program_reads(name: str) -> None:
    read = {each.name for each in variables.variables_of(name, module_of(name))}
    read |= {variable for variable, _, who, _ in variables.OTHERS if who == "all"}
    told = {*services()[name]["environment"], *environment(name)} - {"PATH"}
    assert {each for each in told if not each.startswith("PYTHON")} - read == set()


@every(set(ours()))
def test_what_a_container_is_told_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith(("PLACET_", "OPENAI_")):
            monkeypatch.delenv(variable)
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    for settings in variables.settings_of(module_of(name)):
        read = settings()
        for field in type(read).model_fields:
            for variable in variables.names_of(settings, field)[:1]:
                if variable in environment(name):
                    assert str(getattr(read, field)) == environment(name)[variable]


@every(set(ours()))
def test_every_address_is_that_of_a_service_on_the_port_that_it_listens_on(name: str) -> None:
    told = environment(name)
    addresses = [value for variable, value in told.items() if variable.endswith("_ADDRESS")]
    addresses += [
        urlsplit(value).netloc for variable, value in told.items() if variable.endswith("_ENDPOINT")
    ]
    if "PLACET_NOTIFICATION_SMTP_HOST" in told:
        addresses.append(f"{told['PLACET_NOTIFICATION_SMTP_HOST']}:{told['PLACET_NOTIFICATION_SMTP_PORT']}")
    assert addresses
    for address in addresses:
        host, port = address.split(":")
        assert port_of(host) == int(port)
    for variable in told:
        if service := re.fullmatch(r"PLACET_([A-Z]+)_ADDRESS", variable):
            assert told[variable].startswith(service[1].lower() + ":")


def test_no_container_sees_what_is_anothers() -> None:
    holders: dict[str, set[str]] = {}
    for name in services().keys() - {"keys"}:
        for source in mounts(name).values():
            holders.setdefault(source, set()).add(name)
    shared = {source: names for source, names in holders.items() if len(names) > 1}
    assert shared.pop("jwks") == {"approval", "audit", "decision", "notification"}
    assert shared.pop("secrets-temporal") == {"temporal", "temporal-schema"}
    assert shared == {}
    assert "signing" not in holders


def test_no_secret_is_in_the_compose_file() -> None:
    for name, entry in services().items():
        for variable, value in entry.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|SECRET|TOKEN|KEY", variable) and value is not None:
                assert value.startswith("/run/secrets"), (name, variable)
