"""The export of `make contracts` compiles by itself, and buf in a fresh clone names that command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

import contracts
import generate
from install import ROOT, VENV
from proto_printer import UnsupportedDescriptor, print_proto

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported folder, far from the repository."""
    folder = tmp_path_factory.mktemp("export") / "contracts"
    contracts.export(folder)
    return folder


def buf(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(VENV / "bin" / "buf"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def validate_descriptor() -> FileDescriptorProto:
    return FileDescriptorSet.FromString(generate.validate_descriptor_set()).file[-1]


@pytest.mark.parametrize("command", ["build", "lint"])
def test_buf_finds_nothing_in_the_exported_folder(exported: Path, command: str) -> None:
    finished = buf(command, folder=exported)
    assert (finished.returncode, finished.stdout + finished.stderr) == (0, "")


def test_protoc_compiles_the_exported_sources(exported: Path, tmp_path: Path) -> None:
    generate.run_protoc(f"--python_out={tmp_path}", sources=generate.contracts(exported), root=exported)
    assert (tmp_path / "placet" / "approval" / "v1" / "approval_service_pb2.py").exists()


def test_the_descriptor_set_holds_all_imports_in_order_and_the_comments(exported: Path) -> None:
    files = FileDescriptorSet.FromString((exported / "placet.binpb").read_bytes()).file
    pool = DescriptorPool()
    for file in files:
        pool.AddSerializedFile(file.SerializeToString())
    service = pool.FindServiceByName("placet.approval.v1.ApprovalService")
    assert service.file.name == "placet/approval/v1/approval_service.proto"
    for name in ("google.rpc.ErrorInfo", "google.rpc.Status"):
        assert pool.FindMessageTypeByName(name).full_name == name
    ours = [file for file in files if file.package.startswith("placet.")]
    assert all(file.HasField("source_code_info") for file in ours)


def test_the_printed_contract_of_protovalidate_is_the_one_in_its_wheel(exported: Path) -> None:
    printed = next(
        file
        for file in FileDescriptorSet.FromString((exported / "placet.binpb").read_bytes()).file
        if file.name == generate.VALIDATE
    )
    printed.ClearField("source_code_info")
    assert printed == validate_descriptor()


def test_a_descriptor_that_the_printer_does_not_know_is_refused() -> None:
    file = validate_descriptor()
    file.service.add(name="Unknown")
    with pytest.raises(UnsupportedDescriptor, match="service"):
        print_proto(file, list(FileDescriptorSet.FromString(generate.validate_descriptor_set()).file[:-1]))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The part of a fresh clone that buf reads."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    return tmp_path


@pytest.mark.parametrize("command", ["build", "lint"])
def test_buf_in_a_fresh_clone_says_what_to_run_and_then_resolves(
    clone: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = buf(command, folder=clone)
    assert before.returncode != 0
    assert "run-make-contracts-first" in before.stderr
    assert "imported file does not exist" not in before.stderr

    monkeypatch.setattr(contracts, "IMPORTS", clone / contracts.IMPORTS.relative_to(ROOT))
    contracts.write_imports()

    after = buf(command, folder=clone)
    assert (after.returncode, after.stdout + after.stderr) == (0, "")


def test_a_change_that_breaks_the_recorded_contracts_is_found(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(contracts, "newest_tag", lambda: None)
    monkeypatch.setattr(contracts, "RECORDED", clone / "released.binpb")
    monkeypatch.setattr(contracts, "IMAGE", clone / "placet.binpb")
    generate.write_image(contracts.IMAGE)
    contracts.record()
    assert contracts.check_breaking()

    service = clone / "protos" / "placet" / "approval" / "v1" / "approval_service.proto"
    service.write_text(service.read_text().replace("string title = ", "string headline = "))
    generate.write_image(contracts.IMAGE, clone / "protos")

    assert not contracts.check_breaking()
    assert "title" in capfd.readouterr().out
