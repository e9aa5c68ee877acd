"""docker-compose.yml says the same as the code. Both are read together; no container engine is assumed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

import trial_keys
import variables
from deployment import (
    DEPLOYED,
    PINNED,
    ROOT,
    Entry,
    compose,
    environment,
    folder_of,
    mounts,
    of,
    ours,
    services,
)
from placet_devstack.temporal_server import executable
from placet_workflows.names import TaskQueue

JOBS = {"keys", "databases", "temporal-schema", "temporal-namespace"}
EMBEDDED = re.compile(r"127\.0\.0\.1|^\.placet|:///\.placet")
# What others listen on, by their own images' say.
OTHERS_PORTS = {"postgres": 5432, "temporal": 7233, "mail": 1025, "otel-collector": 4317}


def every(names: list[str] | set[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", sorted(names))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the job `keys` makes."""
    folder = tmp_path_factory.mktemp("keys")
    assert trial_keys.main([str(folder)]) == 0
    return folder


def module_of(name: str) -> str:
    """What the image of a service runs."""
    return of(folder_of(services()[name]), "CMD", 1)[-1].command[-1]


def port_of(name: str) -> int:
    """The port that a service listens on."""
    if name in OTHERS_PORTS:
        return OTHERS_PORTS[name]
    return int(environment(name)[f"PLACET_{name.upper()}_LISTEN"].rsplit(":", 1)[1])


def waits_for(entry: Entry) -> dict[str, str]:
    """What a service waits for, and until when."""
    return {other: how["condition"] for other, how in entry.get("depends_on", {}).items()}


def test_every_service_and_worker_is_deployed_from_its_own_dockerfile() -> None:
    built = {folder_of(entry) for entry in ours().values()}
    assert built == {package.folder for package in DEPLOYED}
    assert set(ours()) == set(variables.processes())
    for name, entry in ours().items():
        assert module_of(name) == variables.processes()[name]
        assert "command" not in entry
        assert "entrypoint" not in entry


def test_replicas_are_five_one_and_three_one_for_each_queue() -> None:
    replicas = {name: entry["deploy"]["replicas"] for name, entry in services().items() if "deploy" in entry}
    assert replicas == {"worker-default": 5, "worker-ml": 1, "worker-openai": 3}
    assert {name.replace("worker", "placet") for name in replicas} == {str(queue) for queue in TaskQueue}


def test_images_are_pinned_and_ours_carry_their_packages_version() -> None:
    images = {name: entry["image"] for name, entry in services().items()}
    assert [image for image in images.values() if not PINNED.match(image)] == []
    for name in ours():
        project = tomllib.loads((folder_of(services()[name]) / "pyproject.toml").read_text())["project"]
        assert images[name] == f"placet/{name}:{project['version']}"
    assert images["keys"] == images["audit"]


def test_temporal_is_the_version_that_the_embedded_stack_runs() -> None:
    said = subprocess.run([executable(), "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"Server (\d+\.\d+\.\d+)", said)
    assert version is not None
    for name in ("temporal", "temporal-schema", "temporal-namespace"):
        assert services()[name]["image"].rsplit(":", 1)[1] == version[1]


@every(set(ours()))
def test_a_container_is_told_only_what_its_program_reads(name: str) -> None:
    read = {each.name for each in variables.variables_of(name, module_of(name))}
    read |= {variable for variable, _, who, _ in variables.OTHERS if who == "all"}
    told = {*services()[name]["environment"], *environment(name)} - {"PATH"}
    assert {each for each in told if not each.startswith("PYTHON")} - read == set()


@every(set(ours()))
def test_a_container_falls_back_on_nothing_that_is_right_for_the_embedded_stack_alone(name: str) -> None:
    embedded = {
        each.name
        for each in variables.variables_of(name, module_of(name))
        if EMBEDDED.search(each.default) or each.name == "PLACET_NOTIFICATION_SMTP_PORT"
    }
    assert embedded - environment(name).keys() == set()


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


@every({"approval", "audit", "decision", "notification"})
def test_a_service_listens_where_its_image_its_health_check_and_its_callers_say(name: str) -> None:
    folder = folder_of(services()[name])
    port = port_of(name)
    assert environment(name)[f"PLACET_{name.upper()}_LISTEN"] == f"0.0.0.0:{port}"
    assert of(folder, "EXPOSE", 1)[0].text == str(port)
    assert of(folder, "HEALTHCHECK", 1)[0].command == [
        "python", "-m", "placet_rpc.probe", f"127.0.0.1:{port}",
    ]  # fmt: skip
    assert find_spec("placet_rpc.probe") is not None
    # Callers outside find it where the CLI and the SDK look by themselves; nobody else's machine does.
    assert services()[name].get("ports", [f"127.0.0.1:{port}:{port}"]) == [f"127.0.0.1:{port}:{port}"]
    default = next(
        each.default
        for each in variables.variables_of(name, module_of(name))
        if each.name == f"PLACET_{name.upper()}_LISTEN"
    )
    assert default == f"127.0.0.1:{port}"


@every({"worker-default", "worker-ml", "worker-openai"})
def test_a_worker_is_healthy_once_it_says_that_it_polls(name: str) -> None:
    ready = environment(name)["PLACET_READY_FILE"]
    assert of(folder_of(services()[name]), "HEALTHCHECK", 1)[0].command == ["test", "-e", ready]
    folders = [mount.split(":")[0] for mount in services()[name]["tmpfs"]]
    assert str(Path(ready).parent) in folders


def test_the_witness_is_unhealthy_while_it_alarms_and_keeps_its_folder_in_a_volume_of_its_own() -> None:
    folder = environment("witness")["PLACET_WITNESS_FOLDER"]
    assert of(folder_of(services()["witness"]), "HEALTHCHECK", 1)[0].command == [
        "python", "-m", "placet_witness.status", folder,
    ]  # fmt: skip
    assert find_spec("placet_witness.status") is not None
    assert mounts("witness")[folder] == "witness-data"
    # A volume takes over the owner and the mode that the folder has in the image.
    made = next(each.text for each in of(folder_of(services()["witness"]), "RUN", 1))
    assert f"install --directory --owner=placet --group=placet --mode=0700 {folder}" in made
    # Nobody waits for it: what alarms must not hold up what it watches.
    assert [name for name, entry in services().items() if "witness" in waits_for(entry)] == []


@every({"approval", "audit", "decision", "notification"})
def test_a_service_has_a_database_and_a_role_of_its_own(name: str, secrets: Path) -> None:
    url = urlsplit(environment(name)[f"PLACET_{name.upper()}_DATABASE_URL"])
    assert (url.hostname, url.port) == ("postgres", port_of("postgres"))
    assert (url.username, url.path, url.password) == (f"placet_{name}", f"/placet_{name}", None)
    assert parse_qs(url.query) == {"passfile": ["/run/secrets/pgpass"]}
    script = (ROOT / "deploy" / "databases.sh").read_text()
    assert f"placet_{name}:placet_{name}" in script
    host, _, database, role, _ = (secrets / name / "pgpass").read_text().split(":")
    assert (host, database, role) == (url.hostname, url.path[1:], url.username)


@every(set(ours()))
def test_every_file_that_a_container_is_told_of_is_made_for_it(name: str, secrets: Path) -> None:
    told = environment(name)
    paths = [value for variable, value in told.items() if variable.endswith("_FILE")]
    paths += [path for value in told.values() for path in parse_qs(urlsplit(value).query).get("passfile", [])]
    paths.remove(told["PLACET_READY_FILE"]) if "PLACET_READY_FILE" in told else None
    for path in map(Path, paths):
        source = mounts(name)[str(path.parent)]
        folder = mounts_of_keys()[source]
        assert (secrets / Path(folder).name / path.name).is_file()


def mounts_of_keys() -> dict[str, str]:
    """Where the job that makes keys sees each volume."""
    return {source: target for target, source in mounts("keys").items()}


def test_the_job_that_makes_keys_fills_every_volume_but_the_data(secrets: Path) -> None:
    made = {f"/keys/{folder.name}" for folder in secrets.iterdir()}
    filled = {target for source, target in mounts_of_keys().items() if source in compose()["volumes"]}
    assert filled == made
    assert set(compose()["volumes"]) - set(mounts_of_keys()) == {"postgres-data", "witness-data"}
    assert services()["keys"]["profiles"] == ["trial"]
    arguments = services()["keys"]["command"][2:]
    assert arguments[0] == "/keys"


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


def test_every_volume_is_declared_and_every_mounted_file_exists() -> None:
    sources = {source for name in services() for source in mounts(name).values()}
    assert {source for source in sources if not source.startswith("./")} == set(compose()["volumes"])
    assert [source for source in sources if source.startswith("./") and not (ROOT / source).is_file()] == []


def test_every_command_of_the_compose_file_is_mounted_and_can_be_read_by_its_shell() -> None:
    for name, entry in services().items():
        command = [*entry.get("entrypoint", []), *entry.get("command", [])]
        for script in (word for word in command if word.startswith("/deploy/")):
            path = ROOT / mounts(name)[script]
            checker = [sys.executable, "-m", "py_compile"] if path.suffix == ".py" else ["sh", "-n"]
            subprocess.run([*checker, str(path)], check=True)
            told = set(entry.get("environment", {})) | {"SQL_PASSWORD", "POSTGRES_PWD", "PASSWORD"}
            needed = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", path.read_text()))
            assert needed <= told if path.suffix == ".sh" else True


def test_everything_waits_for_what_exists_in_a_way_that_can_come_true() -> None:
    for entry in services().values():
        for other, condition in waits_for(entry).items():
            asked = services()[other]
            if condition == "service_completed_successfully":
                assert other in JOBS
            else:
                assert condition == "service_healthy"
                assert "healthcheck" in asked or of(folder_of(asked), "HEALTHCHECK", 1)


def test_nobody_waits_in_a_circle_and_a_profile_is_never_required() -> None:
    done: set[str] = set()
    while ready := {name for name, entry in services().items() if set(waits_for(entry)) <= done} - done:
        done |= ready
    assert done == set(services())
    for entry in services().values():
        for other, how in entry.get("depends_on", {}).items():
            assert "profiles" not in services()[other] or how["required"] is False


def before(name: str) -> set[str]:
    """Everything that has come up before a service starts."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        waiting = {other for each in waiting for other in waits_for(services()[each])} - found
        found |= waiting
    return found


@every(set(ours()))
def test_a_container_of_ours_starts_once_its_database_and_its_namespace_are_there(name: str) -> None:
    assert services()[name]["restart"] == "unless-stopped"
    if f"PLACET_{name.upper()}_DATABASE_URL" in environment(name):
        assert "databases" in before(name)
    if "PLACET_TEMPORAL_ADDRESS" in environment(name):
        assert "temporal-namespace" in before(name)


@every({"worker-default", "worker-ml", "worker-openai"})
def test_a_worker_takes_no_task_before_the_services_that_it_calls_are_up(name: str) -> None:
    called = {re.fullmatch(r"PLACET_([A-Z]+)_ADDRESS", variable) for variable in environment(name)}
    assert {each[1].lower() for each in called if each} - {"temporal"} <= set(waits_for(services()[name]))


@every(set(ours()))
def test_a_container_of_ours_can_do_little_and_is_given_time_to_stop(name: str) -> None:
    entry = services()[name]
    assert entry["read_only"] is True
    assert entry["cap_drop"] == ["ALL"]
    assert "user" not in entry
    graces = (
        float(each.default)
        for each in variables.variables_of(name, module_of(name))
        if each.name.endswith("_GRACE")
    )
    # The witness has nothing under way that it would have to end.
    grace = max(graces, default=0)
    assert int(entry["stop_grace_period"].removesuffix("s")) >= grace + 15


def test_no_secret_is_in_the_compose_file() -> None:
    for name, entry in services().items():
        for variable, value in entry.get("environment", {}).items():
            if re.search(r"PASSWORD|PWD|SECRET|TOKEN|KEY", variable) and value is not None:
                assert value.startswith("/run/secrets"), (name, variable)


def test_the_collector_receives_where_the_programs_send() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "otel-collector.yaml").read_text())
    endpoint = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert endpoint == f"0.0.0.0:{OTHERS_PORTS['otel-collector']}"
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])


def test_temporal_and_those_who_call_it_agree() -> None:
    told = services()["temporal-namespace"]["environment"]
    for name in ("approval", "worker-default", "worker-ml", "worker-openai"):
        assert environment(name)["PLACET_TEMPORAL_ADDRESS"] == told["TEMPORAL_ADDRESS"]
        assert environment(name)["PLACET_TEMPORAL_NAMESPACE"] == told["NAMESPACE"]
    check = services()["temporal"]["healthcheck"]["test"]
    assert check == shlex.split(f"CMD nc -z 127.0.0.1 {OTHERS_PORTS['temporal']}")
    config = yaml.safe_load((ROOT / "deploy" / "temporal-dynamic-config.yaml").read_text())
    assert config["matching.useNewMatcher"] == [{"value": True}]
