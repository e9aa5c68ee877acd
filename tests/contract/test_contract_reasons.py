"""Every reason that the code gives for an error stands in a contract, and every field at fault is named.

Read from the source, so that a place added later is judged by itself.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from placet_rpc.errors import PlacetError

ROOT = Path(__file__).parents[2]
KINDS = {kind.__name__: kind.grpc_kind for kind in PlacetError.__subclasses__()}
# A kind whose name says all that a caller can act on; the others need a reason of their own.
SPEAK_FOR_THEMSELVES = {
    "InvalidArgument",  # its reason is CONSTRAINT_VIOLATED, and it names the fields
    "Unavailable",
    "DeadlineExceeded",
    "ResourceExhausted",
    "DataLoss",
    "Internal",
}


@dataclass(frozen=True)
class Raised:
    """A place where an error of placet_rpc is made."""

    place: str
    package: str
    kind: str
    reasons: frozenset[str] | None  # None: none is given; empty: one that only the run shows
    names_fields: bool
    metadata: frozenset[str]  # keys written there


def raised() -> Iterator[Raised]:
    for top in ("libs", "services", "workers"):
        for path in sorted(ROOT.glob(f"{top}/*/src/placet_*/**/*.py")):
            package = path.relative_to(ROOT).parts[3]
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (kind := name_of(node.func)) in KINDS:
                    given = {keyword.arg: keyword.value for keyword in node.keywords}
                    yield Raised(
                        f"{path.relative_to(ROOT)}:{node.lineno}",
                        package,
                        kind,
                        constants(given["reason"]) if "reason" in given else None,
                        "violations" in given,
                        keys_of(given.get("metadata")),
                    )


def keys_of(metadata: ast.expr | None) -> frozenset[str]:
    dicts = (node for node in ast.walk(metadata) if isinstance(node, ast.Dict)) if metadata else ()
    return frozenset().union(*(constants(key) for one in dicts for key in one.keys if key is not None))


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def constants(value: ast.expr) -> frozenset[str]:
    return frozenset(
        node.value
        for node in ast.walk(value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


PLACES = list(raised())


@pytest.fixture(scope="module")
def reasons(contracts: FileDescriptorSet) -> dict[str, set[str]]:
    """The reasons of each contract, by its package, without their prefix."""
    return {
        file.package: {value.name.removeprefix("ERROR_REASON_") for value in enum.value}
        for file in contracts.file
        for enum in file.enum_type
        if enum.name == "ErrorReason"
    }


def test_the_places_are_found() -> None:
    assert len(PLACES) > 40
    assert {place.package for place in PLACES} >= {"placet_rpc", "placet_approval", "placet_audit"}


def test_every_reason_stands_in_a_contract(reasons: dict[str, set[str]]) -> None:
    known = set().union(*reasons.values())
    assert [place for place in PLACES if (place.reasons or set()) - known - {""}] == []


def test_every_metadata_key_stands_in_the_example_of_its_reason(contracts: FileDescriptorSet) -> None:
    examples: defaultdict[str, set[str]] = defaultdict(set)
    for comment, name in reason_comments(contracts):
        examples[name.removeprefix("ERROR_REASON_")] |= set(re.findall(r'"(\w+)":', comment))
    assert [
        (place.place, place.metadata)
        for place in PLACES
        if place.reasons and not place.metadata <= set().union(*(examples[one] for one in place.reasons))
    ] == []


def reason_comments(contracts: FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Each reason's comment and name, in all contracts."""
    for file in contracts.file:
        texts = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
        for number, enum in enumerate(file.enum_type):
            if enum.name == "ErrorReason":
                for index, value in enumerate(enum.value):
                    yield texts.get((5, number, 2, index), ""), value.name


def test_every_reason_of_placet_rpc_stands_in_its_own_contract(reasons: dict[str, set[str]]) -> None:
    own = reasons["placet.rpc.v1"]
    assert [p for p in PLACES if p.package == "placet_rpc" and (p.reasons or set()) - own - {""}] == [
        # In the name of ApprovalService, whose content it fetches.
        p
        for p in PLACES
        if p.place.startswith("libs/rpc/src/placet_rpc/content.py")
    ]


def test_an_error_without_a_reason_is_of_a_kind_that_stands_in_the_contract(
    reasons: dict[str, set[str]],
) -> None:
    own = reasons["placet.rpc.v1"]
    kinds = SPEAK_FOR_THEMSELVES - {"InvalidArgument"}
    assert {KINDS[kind].upper() for kind in kinds} <= own
    assert [p for p in PLACES if p.reasons is None and p.kind not in SPEAK_FOR_THEMSELVES] == []


def test_every_invalid_argument_names_its_fields() -> None:
    assert [p.place for p in PLACES if p.kind == "InvalidArgument" and not p.names_fields] == []


def returned_refusals() -> Iterator[str]:
    """The reasons that a command's `refusal` returns, and that of a command that cannot be decoded."""
    domain = ROOT / "libs/domain/src/placet_domain"
    for name, part in (("commands.py", "refusal"), ("interpreter.py", "undecodable")):
        for node in ast.walk(ast.parse((domain / name).read_text())):
            if isinstance(node, ast.FunctionDef) and part in node.name:
                yield from reasons_named(node)


def reasons_named(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and name_of(one.value) == "ErrorReason":
            yield one.attr


def test_the_contract_marks_the_refusals_of_commands_and_no_other_reason() -> None:
    source = (ROOT / "protos/placet/event/v1/error_reason.proto").read_text()
    marked = re.findall(r"((?:^  //.*\n)+)  ERROR_REASON_(\w+) = ", source, re.MULTILINE)
    refusals = {name for comment, name in marked if comment.startswith("  // Refusal, ")}
    assert len(marked) > 20
    assert refusals == set(returned_refusals())
