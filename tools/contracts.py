"""Judges the contracts with buf: lint, format, and no change that breaks a client of the last release.

    python contracts.py            judge
    python contracts.py record     record the contracts as released, where tags are not at hand

The last release is the newest tag `contract-*`, else the recorded image.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from install import ROOT, VENV

sys.path.insert(0, str(ROOT / "libs" / "protos"))
import generate

IMAGE = ROOT / ".build" / "placet.binpb"
RECORDED = ROOT / "tests" / "contract" / "released.binpb"


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


def judge_breaking() -> bool:
    """True if no client of the last release would break, or if nothing was released yet."""
    tag = newest_tag()
    if tag is None and not RECORDED.exists():
        print(
            "buf breaking: nothing released yet (no tag contract-*, no recorded image), so nothing to break"
        )
        return True
    with tempfile.TemporaryDirectory() as scratch:
        against = RECORDED if tag is None else image_at(tag, Path(scratch))
        print(f"buf breaking: against {tag or RECORDED.relative_to(ROOT)}")
        return buf("breaking", IMAGE, "--against", against, "--path", "placet", "--config", "buf.yaml")


def judge() -> int:
    generate.write_image(IMAGE)
    verdicts = [
        buf("lint", IMAGE, "--path", "placet", "--config", "buf.yaml"),
        buf("format", "--diff", "--exit-code", "protos"),
        judge_breaking(),
    ]
    return 0 if all(verdicts) else 1


def main() -> int:
    if sys.argv[1:] == ["record"]:
        generate.write_image(RECORDED)
        print(f"recorded {RECORDED.relative_to(ROOT)}; commit it together with the release")
        return 0
    return judge()


if __name__ == "__main__":
    sys.exit(main())
