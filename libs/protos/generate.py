"""Generates the Python stubs of every contract below `protos/` into `src/`, or one descriptor image.

protovalidate's own contract comes from the descriptor in its wheel, so nothing of it is kept here.

    python generate.py                  renew the stubs
    python generate.py --image FILE     write a FileDescriptorSet with comments, for buf
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "src"
PACKAGES = ("placet", "buf")
VALIDATE = "buf/validate/validate.proto"


def protos_root() -> Path:
    """The contracts: at the top of the repository, or beside this file in an sdist."""
    for candidate in (HERE.parent.parent / "protos", HERE / "protos"):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError("the contracts (protos/) are neither in the repository nor beside generate.py")


def validate_descriptor_set() -> bytes:
    """protovalidate's contract with all that it imports, as a serialized FileDescriptorSet."""
    from google.protobuf import (
        descriptor_pb2,
        duration_pb2,
        field_mask_pb2,
        timestamp_pb2,
    )
    from protovalidate._gen.buf.validate import validate_pb

    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def plugins() -> list[str]:
    """Options that name mypy-protobuf's plugins beside this Python; otherwise protoc looks in PATH."""
    beside = Path(sys.executable).parent
    names = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    return [f"--plugin={name}={beside / name}" for name in names if (beside / name).exists()]


def run_protoc(*options: str, sources: list[str], root: Path | None = None) -> None:
    """Runs protoc over `sources`, given by their paths below `root`, by default the contracts' root.

    Raises:
        RuntimeError: protoc refused them; it has said why.
    """
    import grpc_tools
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.NamedTemporaryFile(suffix=".binpb") as validate:
        validate.write(validate_descriptor_set())
        validate.flush()
        command = [
            "protoc",
            f"--descriptor_set_in={validate.name}",
            f"--proto_path={root or protos_root()}",
            f"--proto_path={well_known}",
            *plugins(),
            *options,
            *sources,
        ]
        if protoc.main(command) != 0:
            raise RuntimeError("protoc refused the contracts; its messages are above")


def contracts(root: Path | None = None) -> list[str]:
    """Every contract, by its path below the root."""
    root = root or protos_root()
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))


def generate() -> None:
    """Renews all stubs below `src/`; a stub that would not change is left as it is.

    Nothing vanishes while it is renewed, so that programs that run meanwhile keep their imports.
    """
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        run_protoc(f"--python_out={fresh}", f"--mypy_out=quiet:{fresh}", sources=[*contracts(), VALIDATE])
        services = [name for name in contracts() if name.endswith("_service.proto")]
        run_protoc(
            f"--grpc_python_out={fresh}", f"--mypy_grpc_out=quiet,only_async:{fresh}", sources=services
        )
        for stub in list(fresh.rglob("*_pb2.py")):
            (stub.parent / "py.typed").touch()
        replace_changed(fresh)


def replace_changed(fresh: Path) -> None:
    """Makes the packages below `src/` equal to those below `fresh`, touching only what differs."""
    wanted = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for package in PACKAGES:
        for path in (OUT / package).rglob("*"):
            if path.is_file() and path.relative_to(OUT) not in wanted and "__pycache__" not in path.parts:
                path.unlink()
    for name in wanted:
        target = OUT / name
        content = (fresh / name).read_bytes()
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def write_image(path: Path, root: Path | None = None) -> None:
    """Writes all contracts, with their comments and imports, as one FileDescriptorSet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = (f"--descriptor_set_out={path}", "--include_imports", "--include_source_info")
    run_protoc(*options, sources=contracts(root), root=root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="write a descriptor image instead of stubs"
    )
    arguments = parser.parse_args()
    if arguments.image:
        write_image(arguments.image)
    else:
        generate()


if __name__ == "__main__":
    main()
