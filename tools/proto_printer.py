"""Prints a FileDescriptorProto as the source text of a .proto file.

Supports what protovalidate's contract uses: proto2 messages, enums, oneofs, extensions, reserved and
extension ranges, and options, custom ones included. Comments are lost, because the descriptor in the wheel
carries none. Anything else raises, so that no part is dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

INDENT = "  "
LABELS = {
    FieldDescriptorProto.LABEL_OPTIONAL: "optional ",
    FieldDescriptorProto.LABEL_REQUIRED: "required ",
    FieldDescriptorProto.LABEL_REPEATED: "repeated ",
}
# Text that the printer writes, by type of descriptor.
SUPPORTED = {
    FileDescriptorProto: "name package dependency message_type enum_type extension options",
    DescriptorProto: "name field nested_type enum_type extension_range oneof_decl options reserved_range "
    "reserved_name",
    FieldDescriptorProto: "name number label type type_name extendee oneof_index json_name options",
    EnumDescriptorProto: "name value options reserved_range reserved_name",
}


class UnsupportedDescriptor(Exception):
    """The descriptor holds something that this printer does not write."""


def indented(lines: Iterator[str]) -> Iterator[str]:
    return (INDENT + line for line in lines)


def ranges(pairs: Iterator[tuple[int, int]], last: int) -> str:
    """Writes number ranges, both ends included."""
    texts = []
    for start, end in pairs:
        upper = "max" if end >= last else str(end)
        texts.append(str(start) if start == end else f"{start} to {upper}")
    return ", ".join(texts)


class ProtoPrinter:
    """Prints one file; the pool must hold its imports, so that custom options can be read."""

    def __init__(self, file: FileDescriptorProto, pool: DescriptorPool) -> None:
        self._file = file
        self._pool = pool

    def text(self) -> str:
        """The file's source text.

        Raises:
            UnsupportedDescriptor: the file uses what the printer does not write.
        """
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        file = self._file
        require_supported(file)
        yield 'syntax = "proto2";'
        yield ""
        yield f"package {file.package};"
        yield ""
        yield from (f'import "{name}";' for name in file.dependency)
        yield ""
        yield from self._option_statements(file.options)
        for field in file.extension:
            yield ""
            yield f"extend {field.extendee} {{"
            yield from indented(self._field(field))
            yield "}"
        for enum in file.enum_type:
            yield ""
            yield from self._enum(enum)
        for message in file.message_type:
            yield ""
            yield from self._message(message)

    def _message(self, message: DescriptorProto) -> Iterator[str]:
        require_supported(message)
        yield f"message {message.name} {{"
        yield from indented(self._message_body(message))
        yield "}"

    def _message_body(self, message: DescriptorProto) -> Iterator[str]:
        yield from self._option_statements(message.options)
        for enum in message.enum_type:
            yield from self._enum(enum)
        for nested in message.nested_type:
            yield from self._message(nested)
        yield from self._fields(message)
        last = FieldDescriptor.MAX_FIELD_NUMBER
        if message.extension_range:
            yield f"extensions {ranges(((r.start, r.end - 1) for r in message.extension_range), last)};"
        if message.reserved_range:
            yield f"reserved {ranges(((r.start, r.end - 1) for r in message.reserved_range), last)};"
        if message.reserved_name:
            yield f"reserved {', '.join(map(json.dumps, message.reserved_name))};"

    def _fields(self, message: DescriptorProto) -> Iterator[str]:
        """Fields in their order; a oneof stands where its first field does."""
        written: set[int] = set()
        for field in message.field:
            if not in_oneof(field):
                yield from self._field(field)
            elif field.oneof_index not in written:
                written.add(field.oneof_index)
                oneof = message.oneof_decl[field.oneof_index]
                members = [f for f in message.field if in_oneof(f) and f.oneof_index == field.oneof_index]
                yield f"oneof {oneof.name} {{"
                yield from indented(self._option_statements(oneof.options))
                for member in members:
                    yield from indented(self._field(member))
                yield "}"

    def _field(self, field: FieldDescriptorProto) -> Iterator[str]:
        require_supported(field)
        if field.type == FieldDescriptorProto.TYPE_GROUP:
            raise UnsupportedDescriptor(f"group {field.name}")
        kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        label = "" if in_oneof(field) else LABELS[field.label]
        yield f"{label}{kind} {field.name} = {field.number}{self._option_list(field.options)};"

    def _enum(self, enum: EnumDescriptorProto) -> Iterator[str]:
        require_supported(enum)
        yield f"enum {enum.name} {{"
        yield from indented(self._option_statements(enum.options))
        for value in enum.value:
            yield f"{INDENT}{value.name} = {value.number}{self._option_list(value.options)};"
        if enum.reserved_range:
            last = 2**31 - 1
            yield f"{INDENT}reserved {ranges(((r.start, r.end) for r in enum.reserved_range), last)};"
        if enum.reserved_name:
            yield f"{INDENT}reserved {', '.join(map(json.dumps, enum.reserved_name))};"
        yield "}"

    def _option_statements(self, options: Message) -> Iterator[str]:
        return (f"option {assignment};" for assignment in self._options(options))

    def _option_list(self, options: Message) -> str:
        assignments = ", ".join(self._options(options))
        return f" [{assignments}]" if assignments else ""

    def _options(self, options: Message) -> Iterator[str]:
        """Each option as `name = value`, custom ones by their full name."""
        known = GetMessageClass(self._pool.FindMessageTypeByName(options.DESCRIPTOR.full_name))
        for descriptor, value in known.FromString(options.SerializeToString()).ListFields():
            name = f"(.{descriptor.full_name})" if descriptor.is_extension else descriptor.name
            for single in value if descriptor.is_repeated else [value]:
                yield f"{name} = {self._literal(descriptor, single)}"

    def _literal(self, descriptor: FieldDescriptor, value: object) -> str:
        if isinstance(value, Message):
            text = text_format.MessageToString(
                value, as_one_line=True, as_utf8=True, descriptor_pool=self._pool
            )
            return f"{{ {text} }}"
        if descriptor.enum_type is not None and isinstance(value, int):
            return str(descriptor.enum_type.values_by_number[value].name)
        if isinstance(value, bytes):
            raise UnsupportedDescriptor(f"option {descriptor.full_name} of type bytes")
        return json.dumps(value, ensure_ascii=False)


def in_oneof(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index")


def require_supported(message: Message) -> None:
    """Raises UnsupportedDescriptor, if the descriptor sets a field that is not written."""
    supported = SUPPORTED[type(message)].split()
    for descriptor, _ in message.ListFields():
        if descriptor.name not in supported:
            raise UnsupportedDescriptor(f"{descriptor.name} of {message.DESCRIPTOR.name}")


def print_proto(file: FileDescriptorProto, imports: list[FileDescriptorProto]) -> str:
    """The source text of `file`; `imports` are all files that it imports, each after its own imports.

    Raises:
        UnsupportedDescriptor: the file uses what the printer does not write.
    """
    pool = DescriptorPool()
    for descriptor in [*imports, file]:
        pool.AddSerializedFile(descriptor.SerializeToString())
    return ProtoPrinter(file, pool).text()
