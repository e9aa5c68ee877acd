"""Rules for every contract, whoever adds to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

from buf.validate import validate_pb2
from placet.event.v1 import options_pb2
from placet.rpc.v1 import access_pb2
from placet_proof import ERASABLE, ERASED
from placet_rpc.identity import PROGRAMS

READS = re.compile(r"^(?:Get|List|Watch|Await|Tail|Subscribe|Export)(?:[A-Z]|$)")
AREAS = {"placet.audit.v1", "placet.decision.v1", "placet.event.v1", "placet.notification.v1"}
EVENT = ".placet.event.v1.Event"
ROOT = Path(__file__).parents[2]
FOLDERS = {folder.name for folder in (ROOT / "services").iterdir()} | {
    f"worker-{folder.name}" for folder in (ROOT / "workers").iterdir()
}
ENTRY, HIDDEN = ".placet.event.v1.Entry", ".placet.event.v1.Erasable"
STRING, BYTES, DOUBLE = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_DOUBLE,
)


@dataclass(frozen=True)
class Rpc:
    """An RPC by its full name."""

    name: str
    method: MethodDescriptorProto


def rpcs(contracts: FileDescriptorSet) -> list[Rpc]:
    return [
        Rpc(f"{file.package}.{service.name}.{method.name}", method)
        for file in contracts.file
        for service in file.service
        for method in service.method
    ]


def messages(contracts: FileDescriptorSet) -> dict[str, DescriptorProto]:
    """Every message, nested ones too, by full name with a leading dot."""
    found: dict[str, DescriptorProto] = {}

    def visit(prefix: str, message: DescriptorProto) -> None:
        found[f"{prefix}.{message.name}"] = message
        for nested in message.nested_type:
            visit(f"{prefix}.{message.name}", nested)

    for file in contracts.file:
        for message in file.message_type:
            visit(f".{file.package}", message)
    return found


def uncommented(file: FileDescriptorProto) -> Iterator[str]:
    """Names in a file that carry no comment."""
    said = {
        tuple(place.path): (place.leading_comments or place.trailing_comments).strip()
        for place in file.source_code_info.location
    }
    things: list[tuple[tuple[int, ...], str]] = []
    for s, service in enumerate(file.service):
        things.append(((6, s), service.name))
        things += [((6, s, 2, m), f"{service.name}.{method.name}") for m, method in enumerate(service.method)]
    for e, enum in enumerate(file.enum_type):
        things.append(((5, e), enum.name))
        # A zero value means "not set" everywhere; its name says so.
        things += [((5, e, 2, v), value.name) for v, value in enumerate(enum.value) if value.number != 0]
    for m, message in enumerate(file.message_type):
        things += parts_of_message((4, m), message, message.name)
    return (f"{file.package}: {name}" for path, name in things if not said.get(path))


def parts_of_message(
    path: tuple[int, ...], message: DescriptorProto, name: str
) -> list[tuple[tuple[int, ...], str]]:
    """A message, its fields and its nested messages, each with its path in the descriptor."""
    if message.options.map_entry:
        return []
    things = [(path, name)]
    things += [((*path, 2, f), f"{name}.{field.name}") for f, field in enumerate(message.field)]
    for n, nested in enumerate(message.nested_type):
        things += parts_of_message((*path, 3, n), nested, f"{name}.{nested.name}")
    return things


def test_every_rpc_names_the_roles_and_programs_that_may_call_it(contracts: FileDescriptorSet) -> None:
    open_to_nobody_in_particular = []
    for rpc in rpcs(contracts):
        access = rpc.method.options.Extensions[access_pb2.access]
        unfit = {access_pb2.ROLE_UNSPECIFIED, access_pb2.ROLE_PROGRAM} & set(access.roles)
        named = [*access.roles, *access.programs]
        once = len(set(access.roles)) + len(set(access.programs)) == len(named)
        if not named or unfit or access_pb2.PROGRAM_UNSPECIFIED in access.programs or not once:
            open_to_nobody_in_particular.append(rpc.name)
    assert open_to_nobody_in_particular == []


def test_the_programs_of_the_contract_are_those_that_there_are(contracts: FileDescriptorSet) -> None:
    # AuditService calls nobody.
    assert FOLDERS - {"audit"} == PROGRAMS


def test_every_event_names_the_programs_that_may_append_it(contracts: FileDescriptorSet) -> None:
    known = messages(contracts)
    bodies = [known[field.type_name] for field in known[EVENT].field if field.HasField("oneof_index")]
    by_nobody = [one.name for one in bodies if not one.options.Extensions[options_pb2.appended_by]]
    # EraseEvents and SwitchAutomation alone write them, on an operator's word.
    assert by_nobody == ["Erased", "AutomationSwitched"]
    named = {program for one in bodies for program in one.options.Extensions[options_pb2.appended_by]}
    assert access_pb2.PROGRAM_UNSPECIFIED not in named


def test_every_rpc_message_field_and_value_is_explained(contracts: FileDescriptorSet) -> None:
    assert [name for file in contracts.file for name in uncommented(file)] == []


def test_every_enum_starts_with_unspecified(contracts: FileDescriptorSet) -> None:
    enums = [enum for file in contracts.file for enum in file.enum_type]
    enums += [enum for message in messages(contracts).values() for enum in message.enum_type]
    assert enums
    assert [
        enum.name
        for enum in enums
        if enum.value[0].number != 0 or not enum.value[0].name.endswith("_UNSPECIFIED")
    ] == []


def test_reads_and_only_reads_promise_no_side_effects(contracts: FileDescriptorSet) -> None:
    wrong = [
        rpc.name
        for rpc in rpcs(contracts)
        if (rpc.method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS)
        is not bool(READS.match(rpc.method.name))
    ]
    assert wrong == []


def test_every_list_is_paged(contracts: FileDescriptorSet) -> None:
    known = messages(contracts)
    unpaged = []
    for rpc in rpcs(contracts):
        asked = {field.name for field in known[rpc.method.input_type].field}
        answered = {field.name for field in known[rpc.method.output_type].field}
        if rpc.method.name.startswith("List") and (
            not asked >= {"page_size", "page_token"} or "next_page_token" not in answered
        ):
            unpaged.append(rpc.name)
    assert unpaged == []


def test_every_area_has_its_reasons_for_errors(contracts: FileDescriptorSet) -> None:
    areas = {file.package for file in contracts.file if "ErrorReason" in {e.name for e in file.enum_type}}
    assert areas == AREAS | {"placet.rpc.v1"}


def reachable_inputs(contracts: FileDescriptorSet) -> dict[str, DescriptorProto]:
    """Every message that a caller can send, directly or inside another.

    Left out are the events, which only programs of Placet send: AuditService bounds an append as a whole.
    """
    known = messages(contracts)
    del known[EVENT]
    waiting = [rpc.method.input_type for rpc in rpcs(contracts)]
    found: dict[str, DescriptorProto] = {}
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += [field.type_name for field in known[name].field if field.type_name]
    return found


def is_bounded(field: FieldDescriptorProto) -> bool:
    """True if the contract bounds a field's text, bytes or items."""
    rules = field.options.Extensions[validate_pb2.field]
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return rules.repeated.HasField("max_items") or rules.map.HasField("max_pairs")
    text = any(rules.string.HasField(rule) for rule in ("max_len", "len", "max_bytes", "uuid"))
    text = text or len(getattr(rules.string, "in")) > 0
    raw = any(rules.bytes.HasField(rule) for rule in ("max_len", "len"))
    return text if field.type == STRING else raw


def test_every_text_bytes_and_list_that_a_caller_sends_is_bounded(contracts: FileDescriptorSet) -> None:
    unbounded = [
        f"{name}.{field.name}"
        for name, message in reachable_inputs(contracts).items()
        for field in message.field
        if not message.options.map_entry
        and (field.type in (STRING, BYTES) or field.label == FieldDescriptorProto.LABEL_REPEATED)
        and not is_bounded(field)
    ]
    assert unbounded == []


def test_every_score_that_a_caller_sends_lies_between_0_and_1(contracts: FileDescriptorSet) -> None:
    loose = []
    for name, message in reachable_inputs(contracts).items():
        for field in message.field:
            rules = field.options.Extensions[validate_pb2.field].double
            if field.type == DOUBLE and not (rules.HasField("gte") and rules.gte == 0 and rules.lte == 1):
                loose.append(f"{name}.{field.name}")
    assert loose == []


def test_times_are_timestamps_and_never_numbers(contracts: FileDescriptorSet) -> None:
    wrong = [
        f"{name}.{field.name}"
        for name, message in messages(contracts).items()
        for field in message.field
        if re.search(r"(?:_time|_at|^time|deadline|due)$", field.name)
        and field.type_name != ".google.protobuf.Timestamp"
    ]
    assert wrong == []


def erasable_below(known: dict[str, DescriptorProto], name: str) -> dict[str, tuple[int, ...]]:
    """The erasable fields within a message, by path, with the numbers that lead to each."""
    found: dict[str, tuple[int, ...]] = {}
    for field in known[name].field if name in known else ():
        step = field.name + ("[]" if field.label == FieldDescriptorProto.LABEL_REPEATED else "")
        if field.type_name == HIDDEN:
            found[step] = (field.number,)
        inner = erasable_below(known, field.type_name)
        # The entries of a map have no order, so its values have no paths.
        assert not inner or not known[field.type_name].options.map_entry
        found |= {f"{step}.{path}": (field.number, *numbers) for path, numbers in inner.items()}
    return found


def test_the_verifier_knows_every_erasable_field_and_the_event_that_erases(
    contracts: FileDescriptorSet,
) -> None:
    known = messages(contracts)
    of_event = erasable_below(known, EVENT)
    assert {f"event.{path}": numbers for path, numbers in of_event.items()} == dict(ERASABLE)
    assert len(erasable_below(known, ENTRY)) == len(of_event)
    assert {field.name: field.number for field in known[EVENT].field}["erased"] == ERASED
    erased = {field.name: field.number for field in known[".placet.event.v1.Erased"].field}
    assert (erased["approval_id"], erased["values"]) == (1, 3)
