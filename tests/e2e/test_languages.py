"""The commands in docs/languages.md work with the exported contracts alone: Node, buf curl and curl."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import contracts
from install import ROOT, VENV
from placet_rpc.errors import FailedPrecondition, PermissionDenied
from placet_testing.conditions import EVENTUALLY, until
from placet_testing.ports import free_port
from placet_testing.stack import Stack

pytestmark = pytest.mark.integration

EXAMPLE = ROOT / "examples" / "node"
# npm's words where there is no way to its registry; any other failure is one of the example.
UNREACHABLE = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT)\b")
GUIDE = ROOT / "docs" / "languages.md"
DIGEST = hashlib.sha256(b"EUR 950 to ACME").digest()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of `make contracts`."""
    folder = tmp_path_factory.mktemp("export") / "contracts"
    contracts.export(folder)
    return folder


@pytest.fixture(scope="module")
def node() -> Path:
    """The example with its packages, installed once for each content of its package.json."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"needs {' and '.join(missing)}, as Debian's packages nodejs and npm have them")
    package = EXAMPLE / "package.json"
    folder = ROOT / ".build" / "node" / hashlib.sha256(package.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(package, folder)
    shutil.copy(EXAMPLE / "request.mjs", folder)
    if not (folder / "installed").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if finished.returncode != 0 and UNREACHABLE.search(finished.stderr):
            pytest.skip(
                f"needs npm's registry for the packages of {package.relative_to(ROOT)}: {finished.stderr}"
            )
        assert finished.returncode == 0, finished.stderr
        (folder / "installed").touch()
    return folder


def shown(containing: str) -> str:
    """The command in the guide that contains some text."""
    blocks = re.findall(r"```console\n\$ (.*?)```", GUIDE.read_text(), re.DOTALL)
    (found,) = [str(block) for block in blocks if containing in block]
    return found


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the guide with this repository's tools."""
    path = f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def example_environment(stack: Stack, exported: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PLACET_APPROVAL_ADDRESS": stack.ports.address("approval"),
        "PLACET_TOKEN_FILE": str(stack.home.token("caller")),
        "PLACET_CONTRACTS": str(exported),
    }


@pytest.mark.parametrize(("given", "shown"), [("It is due", ": It is due"), ("", "")], ids=["reason", "none"])
async def test_the_node_example_asks_and_prints_the_outcome(
    stack: Stack, node: Path, exported: Path, given: str, shown: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        "node", "request.mjs", "Pay invoice 4711", "alice@example.com",
        cwd=node, env=example_environment(stack, exported), stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(EVENTUALLY):
        approval_id = (await process.stdout.readline()).decode().strip()
    assert approval_id, (await process.communicate())[1].decode()

    async def decided() -> bool:
        try:
            await stack.decide(approval_id, "alice@example.com", content_digest=DIGEST, reason=given)
        except (FailedPrecondition, PermissionDenied):  # nobody is asked in the first milliseconds
            return False
        return True

    await until(decided, "alice has decided", EVENTUALLY)

    async with asyncio.timeout(EVENTUALLY):
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    assert output.decode() == f"STATE_APPROVED by alice@example.com{shown}\n"


async def test_the_node_example_prints_the_reason_of_an_error(
    stack: Stack, node: Path, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("not.a.token")
    environment = example_environment(stack, exported) | {"PLACET_TOKEN_FILE": str(tmp_path / "token")}
    process = await asyncio.create_subprocess_exec(
        *("node", "request.mjs", "Pay invoice 4711", "alice@example.com"),
        cwd=node, env=environment, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    async with asyncio.timeout(EVENTUALLY):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (1, b"")
    assert errors.decode().startswith("TOKEN_INVALID: ")


@pytest.mark.parametrize("arguments", [(), ("Pay invoice 4711",), ("a title", "alice@example.com", "more")])
def test_the_node_example_asks_nothing_without_its_arguments(node: Path, arguments: tuple[str, ...]) -> None:
    finished = node_example(node / "request.mjs", *arguments)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("Usage: node request.mjs TITLE APPROVER")


@pytest.mark.parametrize(
    ("lacks", "remedy"),
    [
        ("PLACET_CONTRACTS", "`make contracts`"),
        ("PLACET_TOKEN_FILE", "Is the stack up? `placet up`"),
        ("PLACET_TLS_CA_FILE", "PLACET_TLS_CA_FILE"),
    ],
)
def test_the_node_example_says_what_it_lacks_and_the_remedy(
    node: Path, exported: Path, tmp_path: Path, lacks: str, remedy: str
) -> None:
    (tmp_path / "token").write_text("x")
    given = {"PLACET_CONTRACTS": str(exported), "PLACET_TOKEN_FILE": str(tmp_path / "token")}
    given[lacks] = str(tmp_path / "nowhere")
    finished = node_example(node / "request.mjs", "Pay", "alice@example.com", **given)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith(f"{tmp_path / 'nowhere'} does not exist. ")
    assert remedy in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_the_node_example_asks_for_its_packages_where_they_are_missing(
    node: Path, exported: Path, tmp_path: Path
) -> None:
    shutil.copy(node / "request.mjs", tmp_path)
    (tmp_path / "token").write_text("x")
    given = {"PLACET_CONTRACTS": str(exported), "PLACET_TOKEN_FILE": str(tmp_path / "token")}
    finished = node_example(tmp_path / "request.mjs", "Pay", "alice@example.com", **given)
    assert finished.returncode == 1
    assert "`npm install --prefix examples/node`" in finished.stderr
    assert "    at " not in finished.stderr


def test_the_node_example_asks_for_the_stack_where_nobody_answers(
    node: Path, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("x")
    address = f"127.0.0.1:{free_port()}"
    given = {"PLACET_CONTRACTS": str(exported), "PLACET_TOKEN_FILE": str(tmp_path / "token")}
    finished = node_example(
        node / "request.mjs", "Pay", "alice@example.com", PLACET_APPROVAL_ADDRESS=address, **given
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("UNAVAILABLE: ")
    assert f"Is the stack up at {address}? `placet up`" in finished.stderr


def node_example(program: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Runs the example with these variables of ours alone, from a folder that holds nothing of it."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
    return subprocess.run(
        ["node", str(program), *arguments],
        cwd="/",
        env=outside | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_protobuf_es_generates_modules_that_load(node: Path, exported: Path) -> None:
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < 20:
        pytest.skip(f"protoc-gen-es needs Node 20 or newer, this is {version.strip()}")
    generated = shell(
        shown("protoc-gen-es").replace("\n$ ", "\n").replace("dist/contracts", str(exported)), node
    )
    assert generated.returncode == 0, generated.stderr
    program = (
        'import { ApprovalService } from "./gen/placet/approval/v1/approval_service_pb.js";'
        "console.log(ApprovalService.typeName);"
    )
    loaded = shell(f"node --input-type=module -e {shlex.quote(program)}", node)
    assert loaded.stdout == "placet.approval.v1.ApprovalService\n", loaded.stderr


def here(command: str, stack: Stack, exported: Path) -> str:
    """A command of the guide, for the stack of this test."""
    return (
        command.replace("dist/contracts", str(exported))
        .replace(".placet/tokens/caller", str(stack.home.token("caller")))
        .replace("127.0.0.1:7400", stack.ports.address("approval"))
        .replace("6c0cf4d1-9bd1-4b4b-8a5e-111111111111", str(uuid.uuid4()))
    )


@pytest.mark.parametrize("schema", ["dist/contracts", "dist/contracts/placet.binpb"])
async def test_buf_curl_asks(stack: Stack, exported: Path, tmp_path: Path, schema: str) -> None:
    command = shown("buf curl").replace("--schema dist/contracts", f"--schema {schema}")
    finished = await asyncio.to_thread(shell, here(command, stack, exported), tmp_path)
    assert finished.returncode == 0, finished.stderr
    (approval_id,) = re.findall(r'"(?:id|approvalId)": *"([-0-9a-f]{36})"', finished.stdout)
    assert (await stack.path(approval_id))[0].WhichOneof("body") == "received"


async def test_curl_learns_that_the_service_is_up(stack: Stack, exported: Path, tmp_path: Path) -> None:
    if shutil.which("curl") is None or "HTTP2" not in shell("curl --version", tmp_path).stdout:
        pytest.skip("needs curl with HTTP/2")

    async def up() -> bool:
        command = here(shown("Health/Check"), stack, exported)
        return "grpc-status: 0" in (await asyncio.to_thread(shell, command, tmp_path)).stdout

    await until(up, "curl is told that the service is up", EVENTUALLY)
