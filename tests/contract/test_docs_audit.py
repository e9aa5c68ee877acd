"""The commands in docs/audit.md do what the page says."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployment import ROOT
from placet.event.v1 import event_pb2
from placet_audit.log_keys import LogKeys
from placet_proof import Checkpoint, leaf_hash
from placet_proof.signer import new_key, signed, verifier_key
from placet_rpc.files import read_private

pytestmark = pytest.mark.integration

PAGE = (ROOT / "docs" / "audit.md").read_text()
ORIGIN = "log.example/placet/default"
ID = "1c9f0e4a-0000-5000-8000-000000000000"


def blocks(section: str, language: str) -> list[str]:
    """The code of a section in a language."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{section} has no {language}"
    return found


def typed(folder: Path, commands: str) -> None:
    """Types the commands in a folder, as somebody does whose new files are for everybody to read."""
    subprocess.run(["sh", "-ec", f"umask 022\n{commands}"], cwd=folder, check=True, capture_output=True)


def test_changing_the_logs_key_loses_no_key_however_often(tmp_path: Path) -> None:
    path = tmp_path / "log.pem"
    path.write_text(new_key())
    path.chmod(0o600)
    both, after = blocks("Changing the log's key", "sh")
    known: list[bytes] = list(LogKeys.read(path.read_text(), ORIGIN).public)
    for _ in range(3):
        typed(tmp_path, both)
        keys = LogKeys.read(read_private(path).decode(), ORIGIN)
        assert len(keys.private) == 2
        assert list(keys.public[1:]) == known
        known = list(keys.public)
        typed(tmp_path, after)
        keys = LogKeys.read(read_private(path).decode(), ORIGIN)
        assert len(keys.private) == 1
        assert list(keys.public) == known


@pytest.mark.parametrize("signer", [0, 1], ids=["the newer key", "the older key"])
def test_the_example_verifies_receipts_of_all_keys_that_the_file_holds(tmp_path: Path, signer: int) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    (tmp_path / "log.vkey").write_text("".join(f"{verifier_key(key, ORIGIN)}\n" for key in keys))
    entry = event_pb2.Entry(tenant="default", approval_id=ID, number=1)
    entry.event.received.SetInParent()
    leaf = entry.SerializeToString(deterministic=True)
    text = Checkpoint(ORIGIN, 1, leaf_hash(leaf)).text
    receipt = {
        "approvalId": ID,
        "checkpoint": f"{text}\n{signed(text, keys[signer], ORIGIN)}",
        "entries": [{"leaf": base64.b64encode(leaf).decode()}],
    }
    (tmp_path / "receipt.json").write_text(json.dumps(receipt))
    (example,) = blocks("Verifying a receipt on another machine", "python")
    command = [sys.executable, "-W", "ignore", "-c", example]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.stdout == "[(0, {})]\n", finished.stderr
