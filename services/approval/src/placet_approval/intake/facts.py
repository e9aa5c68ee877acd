"""Facts of a request, checked by the JSON Schema (draft 2020-12) of their kind.

The built-in kinds lie in `kinds/`, an operator's in folder `kinds` of their policies: one `<kind>.json` each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry

from placet.approval.v1 import approval_pb2
from placet.event.v1 import event_pb2
from placet_domain.facts import OWN_NAMES
from placet_rpc.errors import FieldViolation

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LONGEST_VALUE = 60


class BadFactKind(ValueError):
    """A schema of a kind that cannot be used; the message names the file and what is wrong."""


class FactKinds:
    """The kinds of action that requests may declare, each with its schema."""

    def __init__(self, schemas: Mapping[str, Draft202012Validator]) -> None:
        self._schemas = schemas

    @classmethod
    def load(cls, policy_folder: Path | None) -> FactKinds:
        """The built-in kinds, and those of the operator's folder, which go first. Raises BadFactKind."""
        schemas = dict(_schemas(files(__package__) / "kinds"))
        own = None if policy_folder is None else policy_folder / "kinds"
        if own is not None and own.is_dir():
            schemas |= dict(_schemas(own))
        return cls(schemas)

    def violations(self, facts: approval_pb2.Facts) -> list[FieldViolation]:
        """The violations in declared facts, each with its field."""
        declared = _declared(facts)
        if not declared:
            return []
        found = [
            FieldViolation(f"facts.others[{name!r}]", f"facts.{name} has a field of its own")
            for name in sorted(OWN_NAMES.intersection(facts.others))
        ]
        for name, other in (("amount", "currency"), ("currency", "amount")):
            if name in declared and other not in declared:
                found.append(FieldViolation(f"facts.{other}", f"is missing; facts.{name} needs it"))
        schema = self._schemas.get(facts.kind)
        if schema is None:
            known = ", ".join(sorted(self._schemas))
            what = f"there is no kind {facts.kind!r}" if facts.kind else "is missing"
            return [*found, FieldViolation("facts.kind", f"{what}; there are: {known}")]
        named = {one.field for one in found}
        errors = (_violations(facts.kind, error) for error in schema.iter_errors(declared))
        return [*found, *(one for error in errors for one in error if one.field not in named)]


def logged_facts(facts: approval_pb2.Facts) -> event_pb2.Facts:
    """Declared facts as event `received` holds them."""
    logged = event_pb2.Facts(
        kind=facts.kind,
        amount=facts.amount,
        currency=facts.currency,
        environment=facts.environment,
        others=[
            event_pb2.NamedFact(name=name, value=event_pb2.Erasable(value=value))
            for name, value in sorted(facts.others.items())
        ],
    )
    for name in ("counterparty", "target"):
        if value := getattr(facts, name):
            getattr(logged, name).value = value
    return logged


def _declared(facts: approval_pb2.Facts) -> dict[str, str]:
    """The facts as the schemas know them: one object of texts."""
    own = {name: getattr(facts, name) for name in OWN_NAMES}
    return {name: value for name, value in {**facts.others, **own}.items() if value}


def _schemas(folder: Traversable) -> Iterator[tuple[str, Draft202012Validator]]:
    for file in folder.iterdir():
        if not file.name.endswith(".json"):
            continue
        kind = file.name.removesuffix(".json")
        if not _KIND.fullmatch(kind):
            raise BadFactKind(f"{file}: a kind is named by small letters, digits, '-' and '_'")
        try:
            schema = json.loads(file.read_text(encoding="utf-8"))
            Draft202012Validator.check_schema(schema)
            # The error of the schema `false` does not say where it stands.
            properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
            properties |= {name: {"not": {}} for name, its in properties.items() if its is False}
        except OSError as error:
            raise BadFactKind(f"{file}: {error.strerror}") from error
        except SchemaError as error:
            raise BadFactKind(f"{file}: is no JSON Schema: {error.message}") from error
        except (ValueError, RecursionError) as error:
            raise BadFactKind(f"{file}: is no JSON") from error
        # An empty registry: no schema is fetched from elsewhere.
        yield kind, Draft202012Validator(schema, registry=Registry())


def _violations(kind: str, error: ValidationError) -> Iterator[FieldViolation]:
    match error.validator:
        case "required" if isinstance(error.instance, dict) and not error.absolute_path:
            for name in _listed(error):
                if name not in error.instance:
                    about = _about(error.schema, name)
                    yield FieldViolation(_field(name), f"is missing; kind {kind!r} needs {about}")
        case "additionalProperties" if isinstance(error.instance, dict) and not error.absolute_path:
            known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            for name in sorted(set(error.instance) - {*known, "kind"}):
                yield FieldViolation(_field(name), f"is no fact of kind {kind!r}")
        case "not" if error.validator_value == {}:
            yield FieldViolation(_field(_name(error)), f"is no fact of kind {kind!r}")
        case _:
            yield FieldViolation(_field(_name(error)), _said(kind, error))


def _listed(error: ValidationError) -> list[str]:
    """The values that a keyword lists."""
    listed = error.validator_value
    return [str(one) for one in listed] if isinstance(listed, list) else []


def _name(error: ValidationError) -> str:
    return str(error.absolute_path[0]) if error.absolute_path else ""


def _field(name: str) -> str:
    if not name:
        return "facts"
    return f"facts.{name}" if name in OWN_NAMES else f"facts.others[{name!r}]"


def _about(schema: object, name: str) -> str:
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    its = properties.get(name)
    about = its.get("description") if isinstance(its, dict) else None
    return about if isinstance(about, str) else "it"


def _said(kind: str, error: ValidationError) -> str:
    """The violation in words: the schema's own, if it describes the fact."""
    value = repr(error.instance) if isinstance(error.instance, str) else "the value"
    shown = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
    if error.validator == "enum":
        return f"{shown} is none of: {', '.join(_listed(error))}"
    if error.validator == "const":
        return f"{shown} is not {error.validator_value}"
    about = error.schema.get("description") if isinstance(error.schema, dict) else None
    because = f" ({about})" if isinstance(about, str) else ""
    return f"{shown} does not satisfy {error.validator} of kind {kind!r}{because}"
