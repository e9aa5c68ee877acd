"""An auditor's commands, against a real AuditService, and on another machine without any."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from placet_cli.home import Home
from placet_rpc.tokens.mint import KeyFiles
from placet_testing.audit_server import AuditServer
from placet_testing.command import placet
from placet_testing.sample_home import SampleLog
from placet_testing.sample_log import ALICE, CAROL, CLOSED, ERASED
from placet_verify import Table

pytestmark = pytest.mark.integration

EVE = "eve@example.com"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "audit.md"


# Commands are told as they are typed where `placet` is on the PATH.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@dataclass
class Terminal:
    """Where commands are typed: in an empty folder, with a home or without."""

    folder: Path
    env: dict[str, str]

    async def placet(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """Output of a command, on both streams."""
        variables = {"NO_COLOR": "1", "COLUMNS": "80", "PATH": PATH} | self.env
        # In a thread: this loop serves what the command calls.
        finished = await asyncio.to_thread(placet, *arguments, cwd=self.folder, stdin=stdin, env=variables)
        output = finished.stdout + finished.stderr
        assert finished.returncode == status, output
        return output


@pytest.fixture(scope="module")
async def served(sample: SampleLog, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Terminal]:
    """A terminal beside an AuditService that serves the sample."""
    folder = tmp_path_factory.mktemp("served")
    home = Home.at(folder / "home")
    shutil.copytree(sample.home.path, home.path)
    server = AuditServer(home.path / "data", KeyFiles.below(home.keys), log_key=home.log_key.read_text())
    await server.start()
    yield Terminal(folder, {"PLACET_HOME": str(home.path), "PLACET_AUDIT_ADDRESS": server.address})
    await server.stop()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Terminal:
    """A terminal on another machine: no home, no service."""
    (tmp_path / "elsewhere").mkdir()
    return Terminal(tmp_path / "elsewhere", {})


async def test_a_receipt_is_verified_on_another_machine_with_the_public_key_alone(
    served: Terminal, elsewhere: Terminal
) -> None:
    said = await served.placet("audit", "receipt", CLOSED, "-o", "receipt.json")
    assert "Holds the 4 entries of request 1c9f0e4a" in said
    assert "placet audit verify-receipt receipt.json" in said
    assert "--key log.vkey, made here once: placet audit checkpoint --keys > log.vkey" in " ".join(
        said.split()
    )
    assert "Replaced" not in said
    assert "Replaced receipt.json" in await served.placet("audit", "receipt", CLOSED, "-o", "receipt.json")
    keys = await served.placet("audit", "checkpoint", "--keys")
    (elsewhere.folder / "log.vkey").write_text(keys)
    receipt = shutil.copy(served.folder / "receipt.json", elsewhere.folder)

    told = await elsewhere.placet("audit", "verify-receipt", str(receipt), "--key", "log.vkey")
    for part in (
        f"Cancelled by {CAROL} at 2023-11-14 22:13:20 UTC.",
        f"“Ship”, asked 2023-11-14 22:13:20 UTC by {CAROL}",
        f"SHA-256 {(b'c' * 32).hex()}",
        "policy    simple, version 1",
        f"SHA-256 {(b'p' * 32).hex()}",
        "log       localhost/placet/default",
        "entries   1, 9, 10, 11 of 12",
        f"signed by {keys.splitlines()[0]}",
        "✓ Proven, by the key that you gave",
    ):
        assert part in told
    assert "withheld" not in told
    given = [part for key in keys.splitlines() for part in ("--key", key)]
    assert "✓ Proven" in await elsewhere.placet("audit", "verify-receipt", str(receipt), *given)
    answer = json.loads(await elsewhere.placet("audit", "verify-receipt", str(receipt), *given, "--json"))
    assert (answer["proven"], answer["approvalId"], answer["size"]) == (True, CLOSED, 12)
    assert answer["entries"][1]["entry"]["event"]["commented"]["text"]["value"] == "go"
    told = await elsewhere.placet("audit", "verify-receipt", str(receipt), *given[:2], status=1)
    assert "no known key has the id" in told
    assert "Give the keys of people's commands too" in " ".join(told.split())


async def test_the_program_in_the_docs_verifies_a_receipt(served: Terminal, elsewhere: Terminal) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    await served.placet("audit", "receipt", CLOSED, "-o", "docs.json")
    shutil.copy(served.folder / "docs.json", elsewhere.folder / "receipt.json")
    (elsewhere.folder / "log.vkey").write_text(await served.placet("audit", "checkpoint", "--keys"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE, cwd=elsewhere.folder
    )
    output, _ = await process.communicate()
    assert "(9, {'event.actor.name': 'alice@example.com', 'event.commented.text': 'go'})" in output.decode()


async def test_without_a_key_from_elsewhere_a_receipt_is_consistent_and_not_proven(
    served: Terminal, elsewhere: Terminal
) -> None:
    receipt = await served.placet("audit", "receipt", CLOSED, "--json")
    receipt = receipt[: receipt.rindex("}") + 1]
    told = await elsewhere.placet("audit", "verify-receipt", "-", stdin=receipt, status=1)
    key = json.loads(receipt)["keys"][0]
    assert "Consistent, but not proven" in told
    assert f"  {key}\n" in told
    keys = await served.placet("audit", "checkpoint", "--keys")
    (elsewhere.folder / "log.vkey").write_text(f"{keys.splitlines()[0]}\n")
    # As sha256sum sums the file up, its line's end too.
    summed = hashlib.sha256((elsewhere.folder / "log.vkey").read_bytes()).hexdigest()
    assert f"  SHA-256 {summed}\n" in told
    assert "sha256sum log.vkey" in told
    answer = json.loads(
        await elsewhere.placet("audit", "verify-receipt", "-", "--json", stdin=receipt, status=1)
    )
    assert (answer["proven"], answer["consistent"]) == (False, True)


async def test_a_receipt_is_for_its_owner_alone_and_written_whole_or_not_at_all(served: Terminal) -> None:
    path = served.folder / "mine.json"
    path.write_text("an older one")
    path.chmod(0o644)
    await served.placet("audit", "receipt", "00000000", "-o", "mine.json", status=1)
    assert path.read_text() == "an older one"
    await served.placet("audit", "receipt", CLOSED, "-o", "mine.json")
    assert json.loads(path.read_text())["approvalId"] == CLOSED
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(served.folder.glob(".*")) == []
    told = await served.placet("audit", "receipt", CLOSED, "-o", "nowhere/mine.json", status=1)
    assert "cannot write nowhere/mine.json" in told


async def test_the_key_of_the_home_is_used_where_none_is_given(served: Terminal) -> None:
    await served.placet("audit", "receipt", CLOSED, "-o", "home.json")
    assert "✓ Proven, by the key of this home" in await served.placet("audit", "verify-receipt", "home.json")
    # A log of the same key, by a name that is not the one that is expected here.
    told = await served.placet("audit", "verify-receipt", "home.json", "--origin", "example.com/x", status=1)
    assert "no known key signed" in told
    assert "say so: --origin localhost/placet" in " ".join(told.split())


async def test_a_receipt_tells_what_was_erased_by_whom_and_why(served: Terminal) -> None:
    await served.placet("audit", "receipt", ERASED, "-o", "erased.json")
    told = await served.placet("audit", "verify-receipt", "erased.json")
    assert "Cancelled by (erased) at" in told
    assert f"by {ALICE}" in told
    assert "“asked to”" in told
    assert "withheld" not in told
    receipt = json.loads((served.folder / "erased.json").read_text())
    for entry in receipt["entries"]:
        entry.pop("disclosures", None)
    (served.folder / "less.json").write_text(json.dumps(receipt))
    told = await served.placet("audit", "verify-receipt", "less.json")
    # What was written after the erasure is not explained by it, and nor are the erasure's own words.
    assert "withheld  event.refused.message of entry 8: no erasure is on record for it" in told
    assert "withheld  event.erased.reason of entry 7" in told
    assert "entry 2" not in told


async def test_programs_find_each_index_in_json_though_it_is_0(served: Terminal) -> None:
    await served.placet("audit", "receipt", ERASED, "-o", "first.json")
    receipt = json.loads((served.folder / "first.json").read_text())
    assert [entry["index"] for entry in receipt["entries"]][:2] == ["0", "2"]
    answer = json.loads(await served.placet("audit", "verify-receipt", "first.json", "--json"))
    assert [entry["index"] for entry in answer["entries"]][:2] == ["0", "2"]
    tailed = await served.placet("audit", "tail", "--from", "0", "--no-follow", "--json")
    assert json.loads(tailed.splitlines()[0])["index"] == "0"


async def test_a_receipt_that_ends_early_says_that_more_may_have_followed(served: Terminal) -> None:
    await served.placet("audit", "receipt", CLOSED, "-o", "whole.json")
    receipt = json.loads((served.folder / "whole.json").read_text())
    del receipt["entries"][2:]
    (served.folder / "part.json").write_text(json.dumps(receipt))
    told = await served.placet("audit", "verify-receipt", "part.json")
    assert "Not decided by its first 2 entries; more may have followed." in told


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("", "this is not a receipt"),
        ("[" * 100_000, "this is not a receipt"),
        ("[]", "no JSON object"),
        ("{}", "this is not a receipt"),
        ('{"keys": 5}', "this is not a receipt"),
        ('{"keys": ["a"]}', "not an Ed25519 verifier key"),
        ("\x00\ud7ff", "this is not a receipt"),
    ],
)
async def test_what_is_no_receipt_is_not_proven(elsewhere: Terminal, found: str, why: str) -> None:
    told = await elsewhere.placet("audit", "verify-receipt", "-", stdin=found, status=1)
    assert "✗ Not proven" in told
    assert why in " ".join(told.split())


async def test_a_changed_receipt_is_not_proven(served: Terminal) -> None:
    await served.placet("audit", "receipt", CLOSED, "-o", "true.json")
    text = (served.folder / "true.json").read_text()
    (served.folder / "false.json").write_text(text.replace('"go"', '"no"'))
    told = await served.placet("audit", "verify-receipt", "false.json", status=1)
    assert "entry 9: the value of event.commented.text is not what the entry committed to" in " ".join(
        told.split()
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify-receipt", "nothing.json"),
        ("verify-receipt", "-", "--key", "no-key"),
        ("verify-receipt", "-", "--key", "a+b+c"),
        ("verify", "--export", "nothing.jsonl"),
        ("verify", "--witness", "nothing"),
        ("verify", "--database", "sqlite:///nothing.db"),
        ("verify", "--database", "sqlite:////"),
        ("verify", "--database", "mysql://nothing"),
        ("export",),
    ],
    ids=" ".join,
)
async def test_a_wrong_command_line_is_neither_proven_nor_refuted(
    served: Terminal, arguments: tuple[str, ...]
) -> None:
    assert "--help" in await served.placet("audit", *arguments, status=2)


async def test_a_receipt_that_does_not_prove_is_not_written(sample: SampleLog, tmp_path: Path) -> None:
    home, rows = Home.at(tmp_path / "home"), sample.rows.copied()
    rows.set(Table.DISCLOSURE, rows.find(Table.DISCLOSURE, "default", 9), value=b"mallory@example.com")
    shutil.copytree(sample.home.path, home.path)
    rows.write(home.database("audit"))
    server = AuditServer(home.path / "data", KeyFiles.below(home.keys), log_key=home.log_key.read_text())
    await server.start()
    here = Terminal(tmp_path, {"PLACET_HOME": str(home.path), "PLACET_AUDIT_ADDRESS": server.address})
    for output in ("receipt.json", "-"):
        told = await here.placet("audit", "receipt", CLOSED, "-o", output, status=1)
        assert told.startswith("✗ the log gave a receipt that proves nothing")
        assert "is not what the entry committed to" in " ".join(told.split())
        assert "    placet audit verify\n" in told
    assert not (tmp_path / "receipt.json").exists()
    await server.stop()


async def test_a_receipt_is_for_those_whom_it_concerns(served: Terminal) -> None:
    told = await served.placet("audit", "receipt", CLOSED, "--as", EVE, status=1)
    assert "The log knows no such request, or none of yours" in " ".join(told.split())
    assert "Holds the 4 entries" in await served.placet("audit", "receipt", CLOSED, "--as", CAROL)


async def test_a_checkpoint_is_printed_as_it_was_signed_with_the_keys(served: Terminal) -> None:
    told = await served.placet("audit", "checkpoint")
    assert told.startswith("localhost/placet/default\n12\n")
    answer = json.loads(await served.placet("audit", "checkpoint", "--json"))
    assert answer["checkpoint"] in told
    public = answer["keys"] + answer["attestationKeys"]
    assert all(one in told for one in public)
    assert (await served.placet("audit", "checkpoint", "--keys")).split() == public


async def test_a_note_alone_is_printed_as_it_was_signed(served: Terminal) -> None:
    whole = json.loads(await served.placet("audit", "checkpoint", "--json"))["checkpoint"]
    assert await served.placet("audit", "checkpoint", "--note") == whole
    answer = json.loads(await served.placet("audit", "checkpoint", "--note", "--json"))
    assert answer == {"checkpoint": whole}
    told = await served.placet("audit", "checkpoint", "--note", "--keys", status=2)
    assert "give --keys or --note" in " ".join(told.split())


async def test_a_file_that_is_too_large_is_refused_by_its_size(elsewhere: Terminal) -> None:
    (elsewhere.folder / "large").write_bytes(b"[" * (30 << 20))
    told = await elsewhere.placet("audit", "verify-receipt", "large", status=1)
    assert "this is not a receipt: it is larger than 16 MiB" in " ".join(told.split())
    told = await elsewhere.placet("audit", "verify-receipt", "-", "--key", "large", status=2)
    assert "it is larger than 64 KiB" in " ".join(told.split())


async def test_the_keys_alone_are_printed_for_programs_too(served: Terminal) -> None:
    answer = json.loads(await served.placet("audit", "checkpoint", "--keys", "--json"))
    log, attesting = (await served.placet("audit", "checkpoint", "--keys")).split()
    assert answer == {"keys": [log], "attestationKeys": [attesting]}


async def test_a_file_of_another_kind_is_told_as_what_it_is(served: Terminal) -> None:
    await served.placet("audit", "receipt", CLOSED, "-o", "a receipt.json")
    await served.placet("audit", "export", "-o", "an export.jsonl")
    shutil.copy(served.folder / "home" / "data" / "audit.db", served.folder / "a database")
    (served.folder / "a header").write_text((served.folder / "an export.jsonl").read_text().split("\n")[0])
    for file in ("a receipt.json", "a database"):
        kind = file.partition(".")[0]
        told = await served.placet("audit", "verify", "--export", file, status=1)
        assert f"this is {kind}: placet audit verify" in " ".join(told.split())
    for file, kind in (("an export.jsonl", "an export"), ("a header", "an export"), ("a database",) * 2):
        told = await served.placet("audit", "verify-receipt", file, status=1)
        assert f"this is {kind}: placet audit verify" in " ".join(told.split())


async def test_an_export_is_verified_on_another_machine(served: Terminal, elsewhere: Terminal) -> None:
    said = await served.placet("audit", "export", "-o", "log.jsonl")
    assert "12 entries" in said
    assert "placet audit verify --export log.jsonl" in said
    assert "placet audit checkpoint --keys > log.vkey" in " ".join(said.split())
    assert (served.folder / "log.jsonl").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in served.folder.glob(".*")] == []
    shutil.copy(served.folder / "log.jsonl", elsewhere.folder)
    log, attesting = (await served.placet("audit", "checkpoint", "--keys")).split()
    exported = ("audit", "verify", "--export", "log.jsonl", "--key", log)
    told = await elsewhere.placet(*exported, status=1)
    assert "Give the keys of people's commands too" in " ".join(told.split())
    told = await elsewhere.placet(*exported, "--key", attesting)
    assert "✓ default: 12 entries, root" in told
    assert "8 checkpoints, all good" in told
    told = await elsewhere.placet("audit", "verify", "--export", "log.jsonl", status=1)
    assert "there is no key to verify the log with" in told
    assert "    placet audit verify --export log.jsonl --key VKEY" in told
    assert "placet up" not in told
    assert "placet up" in await elsewhere.placet("audit", "verify", status=1)


async def test_an_export_that_cannot_be_written_leaves_what_was_there(served: Terminal) -> None:
    (served.folder / "folder").mkdir()
    assert "is a directory" in await served.placet("audit", "export", "-o", "folder", status=2)
    told = await served.placet("audit", "export", "-o", "nowhere/log.jsonl", status=1)
    assert "cannot write nowhere/log.jsonl" in told


async def test_a_running_services_log_is_verified_beside_it(served: Terminal) -> None:
    assert "✓ other: 2 entries" in await served.placet("audit", "verify")
    told = await served.placet("audit", "verify", "--tenant", "other")
    assert "default" not in told
    assert "there is no log of nobody" in await served.placet(
        "audit", "verify", "--tenant", "nobody", status=1
    )


async def test_an_operator_switches_automatic_decisions_off_and_on(served: Terminal) -> None:
    assert "Automatic decisions are on" in await served.placet("automation", "status")
    said = await served.placet("automation", "off", "--model", "rules/1", "--reason", "it approves nonsense")
    off = "Automatic decisions of model rules/1 are OFF since"
    assert said.startswith(off)
    assert "placet automation on --model rules/1 --reason" in said
    assert off in await served.placet("automation", "status")
    # Another scope is switched by itself.
    assert off in await served.placet("automation", "on", "--reason", "mended")
    await served.placet("automation", "on", "--model", "rules/1", "--reason", "mended")
    assert "Automatic decisions are on" in await served.placet("automation", "status")
    refused = await served.placet("--as", "bob@example.com", "automation", "off", "--reason", "x", status=1)
    assert "may not do this" in refused
    both = ("automation", "off", "--policy", "a", "--model", "b", "--reason", "x")
    assert "each is switched by itself" in await served.placet(*both, status=2)
