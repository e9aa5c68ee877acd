"""Checks the contracts with buf, and exports what other teams compile.

    python contracts.py            check: lint, format, and no change that breaks a client of the last release
    python contracts.py export     write dist/contracts: every .proto that is needed, and one descriptor set
    python contracts.py record     record the contracts as released, where tags are not at hand

The last release is the newest tag `contract-*`, else the recorded image.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import google.rpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from install import ROOT, VENV
from proto_printer import print_proto

sys.path.insert(0, str(ROOT / "libs" / "protos"))
import generate

IMAGE = ROOT / ".build" / "placet.binpb"
RECORDED = ROOT / "tests" / "contract" / "released.binpb"
EXPORT = ROOT / "dist" / "contracts"
# A module of buf.yaml. Its name is the advice: buf prints it as long as the folder is not there.
IMPORTS = ROOT / ".build" / "run-make-contracts-first"
# These describe the details of an error. Their sources lie in the wheel of googleapis-common-protos.
ERROR_DETAILS = ("google/rpc/code.proto", "google/rpc/error_details.proto", "google/rpc/status.proto")
BUF_YAML = """\
version: v2
lint:
  use:
    - STANDARD
  ignore: # not ours
    - buf
    - google
"""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


def buf(*arguments: str | Path) -> bool:
    """Runs buf; it names what it finds. True if it found nothing."""
    command = [str(VENV / "bin" / "buf"), *(str(part) for part in arguments)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def newest_tag() -> str | None:
    """The tag of the last released contracts, if this clone has one."""
    tags = git("tag", "--list", "contract-*", "--sort=-creatordate").decode().split()
    return tags[0] if tags else None


def image_at(tag: str, scratch: Path) -> Path:
    """An image of the contracts as they were at a tag."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "--format=tar", tag, "protos"))) as archive:
        archive.extractall(scratch, filter="data")
    image = scratch / "released.binpb"
    generate.write_image(image, scratch / "protos")
    return image


def record() -> None:
    """Records our own contracts alone: what they import is no part of this repository."""
    generate.write_image(RECORDED)
    image = FileDescriptorSet.FromString(RECORDED.read_bytes())
    own = [file for file in image.file if file.package.startswith("placet.")]
    for file in own:
        file.ClearField("source_code_info")
    RECORDED.write_bytes(FileDescriptorSet(file=own).SerializeToString(deterministic=True))


def recorded_image(scratch: Path) -> Path:
    """The recorded contracts with today's imports, as one image."""
    today = FileDescriptorSet.FromString(IMAGE.read_bytes()).file
    recorded = FileDescriptorSet.FromString(RECORDED.read_bytes()).file
    imports = [file for file in today if not file.package.startswith("placet.")]
    image = scratch / "recorded.binpb"
    image.write_bytes(FileDescriptorSet(file=[*imports, *recorded]).SerializeToString())
    return image


def check_breaking() -> bool:
    """True if no client of the last release would break, or if nothing was released yet."""
    tag = newest_tag()
    if tag is None and not RECORDED.exists():
        print(
            "buf breaking: nothing released yet (no tag contract-*, no recorded image), so nothing to break"
        )
        return True
    with tempfile.TemporaryDirectory() as scratch:
        against = recorded_image(Path(scratch)) if tag is None else image_at(tag, Path(scratch))
        print(f"buf breaking: against {tag or RECORDED.name}")
        return buf("breaking", IMAGE, "--against", against, "--path", "placet", "--config", "buf.yaml")


def check() -> int:
    write_imports()
    generate.write_image(IMAGE)
    passed = [
        buf("lint", IMAGE, "--path", "placet", "--config", "buf.yaml"),
        buf("format", "--diff", "--exit-code", "protos"),
        check_breaking(),
    ]
    return 0 if all(passed) else 1


def validate_source() -> str:
    """protovalidate's contract as source text, printed from the descriptor in its wheel."""
    *imports, validate = FileDescriptorSet.FromString(generate.validate_descriptor_set()).file
    return print_proto(validate, imports)


def write_imports() -> None:
    """Writes what our contracts import, so that `buf build` and `buf lint` work in the repository's root."""
    write(IMPORTS / generate.VALIDATE, validate_source())


def export(folder: Path = EXPORT) -> None:
    """Writes all that another team compiles: sources with imports, a buf.yaml, a descriptor set, a guide."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(generate.protos_root(), folder, ignore=shutil.ignore_patterns("*.md"))
    write(folder / generate.VALIDATE, validate_source())
    wheel = Path(next(iter(google.rpc.__path__))).parent.parent
    for name in ERROR_DETAILS:
        write(folder / name, (wheel / name).read_text())
    generate.write_image(folder / "placet.binpb", folder)
    write(folder / "buf.yaml", BUF_YAML)
    write(folder / "README.md", (ROOT / "docs" / "languages.md").read_text())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def main() -> int:
    match sys.argv[1:]:
        case []:
            return check()
        case ["export"]:
            write_imports()
            export()
            print(f"contracts: {EXPORT.relative_to(ROOT)} holds the sources, placet.binpb and a guide")
        case ["record"]:
            record()
            print(f"recorded {RECORDED.relative_to(ROOT)}; commit it together with the release")
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
