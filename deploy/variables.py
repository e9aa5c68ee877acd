"""Every environment variable that Placet reads, as the programs themselves declare them.

python deploy/variables.py    renews the table in docs/operations.md; a test compares it
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from placet_temporal.worker import WORKER_SETTINGS, run_worker_program

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- variables: begin -->", "<!-- variables: end -->"

# Programs of one's own that use placet_client, and the command, which uses it too.
CALLERS = "SDK, placet"
# Variables read straight from the environment, without settings.
CLI = "placet"
OTHERS = (
    (
        "PLACET_APPROVAL_ADDRESS",
        "",
        CALLERS,
        "The SDK has no default; `placet`: the stack of its home. A typed `--port-base` wins.",
    ),
    (
        "PLACET_AUDIT_ADDRESS",
        "",
        CALLERS,
        "The SDK needs it for receipts; `placet audit`: by default the stack that runs in its home.",
    ),
    (
        "PLACET_AUDIT_ORIGIN",
        "localhost/placet",
        CLI,
        "`placet audit verify` expects it of keys without names.",
    ),
    ("PLACET_TEMPORAL_ADDRESS", "", CLI, "`placet models`: by default the stack that runs in its home."),
    (
        "PLACET_TOKEN_FILE",
        "",
        CALLERS,
        "Callers have no default; `placet` reads it unless `--home` is typed, and without `--as`.",
    ),
    ("PLACET_TLS_CA_FILE", "", CALLERS, "The health probe reads it too."),
    ("PLACET_TLS_CLIENT_CERTIFICATE_FILE", "", CALLERS, "The health probe reads it too."),
    ("PLACET_TLS_CLIENT_KEY_FILE", "", CALLERS, "The health probe reads it too."),
    (
        "PLACET_LOG_LEVEL",
        "INFO",
        "all",
        "The least level that is logged: DEBUG, INFO, WARNING, ERROR, CRITICAL.",
    ),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "", "all", "Where spans go, by OTLP over gRPC. Unset: nowhere."),
    ("OTEL_METRICS_EXPORTER", "", "all", "`otlp` sends metrics to the same place."),
    (
        "OTEL_BSP_SCHEDULE_DELAY",
        "1000",
        "all",
        "Milliseconds that a finished span waits for company. The other standard OTEL_ variables hold too.",
    ),
    ("PLACET_HOME", ".placet", CLI, "The folder that holds all data of an embedded stack."),
    ("PLACET_PORT_BASE", "7400", CLI, "The first of an embedded stack's ports."),
    ("NO_COLOR", "", CLI, "Anything: no colours on a terminal."),
)


@dataclass(frozen=True)
class Variable:
    """One name in the environment, as one program reads it."""

    name: str
    default: str
    process: str
    meaning: str
    field: FieldInfo | None = None


def processes() -> dict[str, str]:
    """The module of each program that is deployed, by the name that it has there."""
    services = {path.parent.name: "placet_{}" for path in ROOT.glob("services/*/pyproject.toml")}
    workers = {path.parent.name: "placet_worker_{}" for path in ROOT.glob("workers/*/pyproject.toml")}
    found = {name: module.format(name) for name, module in services.items()}
    found |= {f"worker-{name}": module.format(name) for name, module in workers.items()}
    return dict(sorted(found.items()))


def settings_of(module: str) -> list[type[BaseSettings]]:
    """The settings that a program reads: those that its `__main__` imports, and a worker's."""
    wiring = vars(importlib.import_module(f"{module}.__main__"))
    found = [value for value in wiring.values() if inspect.isclass(value) and issubclass(value, BaseSettings)]
    return [*found, *WORKER_SETTINGS] if run_worker_program in wiring.values() else found


def names_of(settings: type[BaseSettings], field: str) -> list[str]:
    """The variables that a field is read from, the first that is set."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [alias if isinstance(alias, str) else f"{settings.model_config['env_prefix']}{field}".upper()]


def meanings(settings: type[BaseSettings]) -> dict[str, str]:
    """Descriptions of each field in the source, inherited fields included."""
    found: dict[str, str] = {}
    for kind in reversed(settings.__mro__):
        if issubclass(kind, BaseSettings) and kind.__module__.startswith("placet_"):
            found |= {name: said for name, said in _said(kind).items() if said}
    return found


def _said(settings: type[BaseSettings]) -> dict[str, str]:
    """The text below each field, else the comment above it or its neighbours."""
    source = inspect.getsource(settings)
    lines = source.splitlines()
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    last = ""
    for statement, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            last = _below(following) or _above(lines, statement.lineno - 1) or last
            found[statement.target.id] = last
    return found


def _below(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return " ".join(str(statement.value.value).split())
    return ""


def _above(lines: list[str], index: int) -> str:
    comment: list[str] = []
    while index > 0 and lines[index - 1].strip().startswith("#"):
        index -= 1
        comment.insert(0, lines[index].strip().removeprefix("#").strip())
    return " ".join(comment)


def variables_of(process: str, module: str) -> Iterator[Variable]:
    """Variables that one program reads through its settings."""
    for settings in settings_of(module):
        said = meanings(settings)
        for name, field in settings.model_fields.items():
            for variable in names_of(settings, name):
                yield Variable(variable, _shown(field), process, said[name], field)


def _shown(field: FieldInfo) -> str:
    """The default; of one that is made at start there is only what the text says of it."""
    if field.is_required():
        return "required"
    return "" if field.default_factory is not None or field.default is None else str(field.default)


def everything() -> list[Variable]:
    """Variables that all programs read."""
    read = [each for name, module in processes().items() for each in variables_of(name, module)]
    return [*read, *(Variable(*each) for each in OTHERS)]


def table() -> str:
    """The variables as Markdown, one line each."""
    by_name: dict[str, list[Variable]] = defaultdict(list)
    for each in everything():
        by_name[each.name].append(each)
    lines = ["| variable | default | read by | what it is |", "|---|---|---|---|"]
    for name, readers in sorted(by_name.items()):
        defaults = " ".join(_unique(f"`{each.default}`" for each in readers if each.default)) or "–"
        who = ", ".join(_unique(each.process for each in readers))
        meaning = " ".join(_unique(each.meaning for each in readers if _adds(each, readers)))
        lines.append(f"| `{name}` | {defaults} | {who} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def _adds(reader: Variable, readers: list[Variable]) -> bool:
    """True if the variable's description for this reader is printed: all services mean the same by it."""
    return reader is readers[0] or reader.process in (CALLERS, CLI)


def _unique(values: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(values))


def renewed(page: str) -> str:
    """The page with today's table between its marks."""
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


def main() -> int:
    PAGE.write_text(renewed(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
