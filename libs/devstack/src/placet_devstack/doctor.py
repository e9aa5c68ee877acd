"""The checks of `placet doctor`."""

from __future__ import annotations

import asyncio
import importlib.util
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from placet.approval.v1 import approval_service_pb2, approval_service_pb2_grpc
from placet.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from placet_audit.log_keys import LogKeys
from placet_cli.event_rows import entries
from placet_cli.formatting import switched_off_sentence
from placet_cli.home import HOST, Home, Ports
from placet_cli.identity import OWNER, person
from placet_cli.local_stack import STARTING, STOPPING, starting_words
from placet_cli.problems import Problem
from placet_devstack import temporal_server as temporal
from placet_devstack.alarms import audit_as_operator, fallback_alarm, switched_off
from placet_devstack.child import last_lines
from placet_devstack.lost_keys import lost_keys
from placet_devstack.plan import SERVICES, WITNESS, WORKERS
from placet_devstack.ports import free_base, holder_of_port, port_free
from placet_devstack.probes import Probe, grpc_serving, polled, port_open
from placet_devstack.process_table import Holder, suspended
from placet_devstack.state import StackState, StartFailure, home_of
from placet_domain.durations import describe_duration
from placet_rpc.client import channel
from placet_rpc.errors import PlacetError
from placet_rpc.files import is_private
from placet_rpc.tokens.mint import KeyFiles
from placet_verify import read_alarms
from placet_witness.status import read_status

LEAST_PYTHON = (3, 11)
LEAST_DISK = 500 << 20
# A worker asks again for work at least once a minute. Temporal's core does it on threads of its own, so this
# finds a process that is stuck whole or cut off, and not one whose Python alone hangs.
SILENT_SECONDS = 90.0
ASKED_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """The result of one check. `ok`: None when it is neither good nor bad. `advice`: the next command.

    `pending`: it is neither yet, because the stack is starting or stopping; the same check says more soon.
    """

    what: str
    ok: bool | None
    found: str
    advice: str = ""
    pending: bool = False

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


async def diagnose(home: Home, ports: Ports) -> list[Finding]:
    """Runs all checks, in the order in which to repair."""
    findings = [_python(), _packages(), await _temporal(), *_home(home)]
    if findings[-1].what == "home" and findings[-1].ok is False:
        # Nothing else can be read.
        return findings
    state = StackState.read(home)
    if state is None or not state.alive:
        left = _left_behind(state)
        findings += _recorded(home)
        if left:
            return [*findings, left]
        return [*findings, *_last_start(home), _not_running(home), *_ports(ports)]
    running = _supervisor(state)
    parts = await _parts(home, Ports(state.port_base), state)
    if state.phase == STARTING:
        own = [one for one in parts if one.what in state.processes]
        parts = [one if one.ok else replace(one, ok=None, advice="", pending=True) for one in own]
    return [*findings, running, *parts]


def _supervisor(state: StackState) -> Finding:
    if suspended(state.pid):
        found = f"process {state.pid} is suspended: nothing is started again"
        return Finding("stack", False, found, f"kill -CONT {state.pid}")
    if state.phase == STARTING:
        found = f"process {state.pid}: {starting_words(len(state.ready), state.parts)}"
        return Finding("stack", None, found, "placet doctor --wait 60", pending=True)
    if state.phase == STOPPING:
        found = f"process {state.pid} is stopping"
        return Finding("stack", None, found, "placet up  (once it is gone)", pending=True)
    return Finding("stack", True, f"runs, process {state.pid}, ports from {state.port_base}")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= LEAST_PYTHON
    return Finding("Python", ok, f"{version}, {sys.executable}", "" if ok else "install Python 3.11 or newer")


def _packages() -> Finding:
    names = [f"placet_{service}" for service in (*SERVICES, WITNESS)]
    names += [f"placet_worker_{worker}" for worker in WORKERS]
    missing = [name for name in names if importlib.util.find_spec(f"{name}.__main__") is None]
    if missing:
        return Finding("packages", False, f"missing: {', '.join(missing)}", "make install")
    return Finding("packages", True, f"all {len(names)} services and workers are installed")


async def _temporal() -> Finding:
    try:
        program = temporal.executable()
    except Problem as problem:
        return Finding("Temporal server", False, problem.why, problem.tries[0])
    process = await asyncio.create_subprocess_exec(
        str(program), "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    version = output.decode(errors="replace").strip()
    if process.returncode != 0:
        return Finding("Temporal server", False, f"{program} does not run: {version[:100]}", "make install")
    return Finding("Temporal server", True, version)


def _home(home: Home) -> list[Finding]:
    try:
        if not home.path.exists():
            return [Finding("home", None, f"{home.path} does not exist yet", "placet up")]
        home.check()
    except OSError as error:
        problem = home.unusable(error)
        return [Finding("home", False, f"{problem.what}: {problem.why}", problem.tries[-1])]
    findings = []
    free = shutil.disk_usage(home.path).free
    roomy = free >= LEAST_DISK
    advice = "" if roomy else "make room on the disk, or choose another --home"
    findings.append(Finding("home", roomy, f"{home.path}, {free >> 20:,} MiB free", advice))
    return [*findings, *_keys(home)]


def _keys(home: Home) -> list[Finding]:
    lost = [one.problem for one in lost_keys(home)]
    findings = [Finding("keys", False, f"{one.what}; {one.why}", one.tries[0]) for one in lost]
    secrets = [KeyFiles.below(home.keys).private_key, home.payload_key, home.log_key, home.witness_key]
    secrets.append(home.attestation_key)
    open_ones = [path for path in secrets if path.exists() and not is_private(path)]
    if open_ones:
        names = shlex.join(map(str, open_ones))
        findings.append(Finding("keys", False, f"others can read {names}", f"chmod 600 {names}"))
    if fault := _log_key_fault(home):
        findings.append(Finding("keys", False, fault, "put the log's own key back from your backup"))
    if findings:
        return findings
    if not all(path.exists() for path in secrets):
        return [Finding("keys", None, "not made yet", "placet up")]
    return [Finding("keys", True, f"readable by you alone; {home.log_key.name} can sign the log")]


def _log_key_fault(home: Home) -> str:
    """Why AuditService would not sign with what is in the file; "" where it would, or there is none."""
    try:
        LogKeys.read(home.log_key.read_text(), "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"{home.log_key}: {error.strerror if isinstance(error, OSError) else error}"
    return ""


def _left_behind(state: StackState | None) -> Finding | None:
    """Processes that a killed supervisor left running; None when there are none."""
    processes = {} if state is None else state.processes
    left = [name for name, one in processes.items() if Holder.of(one.pid) == one]
    if not left:
        return None
    found = f"its supervisor was killed and left running: {', '.join(left)}"
    return Finding("stack", False, found, "placet up  (ends them and starts afresh)")


def _last_start(home: Home) -> list[Finding]:
    """The reason why the last start failed."""
    failure = StartFailure.read(home)
    if failure is None:
        return []
    when = f"{datetime.fromtimestamp(failure.time).astimezone():%Y-%m-%d %H:%M:%S}"
    found = f"failed at {when}: {failure.what}"
    advice = f"placet up --port-base {failure.port_base}  (once this is corrected)"
    return [Finding("last start", False, found, advice)]


def _not_running(home: Home) -> Finding:
    startable = StartFailure.read(home) is None and not any(one.needed for one in lost_keys(home))
    return Finding("stack", None, f"does not run on {home.path}", "placet up" if startable else "")


def _ports(ports: Ports) -> list[Finding]:
    findings = []
    for name, port in ports.all.items():
        if not port_free(port):
            holder = holder_of_port(port)
            other = None if holder is None else home_of(holder)
            if other is not None:
                found = f"{ports.base} and those after it: another Placet holds them, home {other}"
                return [Finding("ports", False, found, f"placet up --port-base {free_base(ports.base)}")]
            advice = f"placet up --port-base {free_base(ports.base)}"
            found = f"for {name}; held by {holder or 'another user'}"
            findings.append(Finding(f"port {port}", False, found, advice))
    return findings or [Finding("ports", True, f"{ports.base} and those after it are free")]


async def _parts(home: Home, ports: Ports, state: StackState) -> list[Finding]:
    probes: dict[str, Probe] = {name: grpc_serving(ports.address(name)) for name in SERVICES}
    probes |= {name: port_open(HOST, ports.all[name]) for name in ("mail", "spans")}
    probes["temporal"] = grpc_serving(ports.address("temporal"), temporal.HEALTH)
    polling = await polled(ports.address("temporal"))
    findings = []
    for name, holder in state.processes.items():
        fault = await _fault(name, holder, home, probes.get(name), polling)
        ok = not fault
        found = f"pid {holder.pid}" if ok else f"pid {holder.pid} {fault}"
        findings.append(Finding(name, ok, found, "" if ok else _advice(name, holder, home)))
    if "audit" in state.processes:
        findings.append(await _log(home, ports.address("audit")))
        findings += await _automation(home, ports.address("audit"))
    if "approval" in state.processes:
        findings += await _approval(home, ports.address("approval"))
    return findings if WITNESS in state.processes else [*findings, _witness_away(home), *_recorded(home)]


async def _log(home: Home, address: str) -> Finding:
    """Checks that the log accepts entries: a healthy AuditService refuses all after an inconsistent one."""
    try:
        async with channel(address, person(home, OWNER), default_timeout=ASKED_SECONDS) as opened:
            stub = audit_service_pb2_grpc.AuditServiceStub(opened)
            answer = await stub.GetCheckpoint(audit_service_pb2.GetCheckpointRequest())
    except Problem as problem:
        return Finding("log", False, f"cannot be asked: {problem.what}")
    except PlacetError as error:
        inconsistent = error.reason == "LOG_INCONSISTENT"
        found = "takes no entries" if inconsistent else "does not say whether it takes entries"
        said = (error.message or error.reason or error.grpc_kind).splitlines()[0]
        return Finding("log", False, f"{found}: {said}", "placet audit verify")
    return Finding("log", True, f"{entries(answer.size)}, and takes more")


async def _automation(home: Home, address: str) -> list[Finding]:
    """The automatic decisions that an operator switched off; none while the log does not answer."""
    try:
        async with audit_as_operator(home, address) as audit:
            off = await switched_off(audit)
    except (Problem, PlacetError):
        return []
    advice = "placet automation on --reason …  (once that is over)"
    return [Finding("automation", None, switched_off_sentence(one), advice) for one in off]


async def _approval(home: Home, address: str) -> list[Finding]:
    """Findings that ApprovalService reports; none while it does not answer, a finding of its own."""
    try:
        async with channel(address, person(home, OWNER), default_timeout=ASKED_SECONDS) as opened:
            stub = approval_service_pb2_grpc.ApprovalServiceStub(opened)
            stats = await stub.GetDecisionStats(approval_service_pb2.GetDecisionStatsRequest())
            found = await stub.GetLogConsumers(approval_service_pb2.GetLogConsumersRequest())
    except (Problem, PlacetError):
        return []
    consumers = (finding for one in found.consumers for finding in _consumer(one, home))
    return [*_people(stats), *consumers, *_lost(found.lost_requests)]


def _lost(requests: int) -> list[Finding]:
    """The finding about requests that the log has and ApprovalService's database does not."""
    if not requests:
        return []
    lost = (
        f"{requests:,} requests of the log are not in ApprovalService's database: it was lost or restored"
        " from an older copy. Their contents are lost until a newer copy is restored, or until their"
        " requesters send them again with the same request_id"
    )
    return [Finding("contents", False, lost, "placet list")]


def _people(stats: approval_service_pb2.GetDecisionStatsResponse) -> list[Finding]:
    """Findings about policies whose alarm is on."""
    alarms = [fallback_alarm(one) for one in stats.policies if one.HasField("alarm")]
    if alarms:
        return [Finding("people", False, alarm, "placet stats") for alarm in alarms]
    asked = stats.total.asked_decisions
    window = describe_duration(stats.end_time.ToDatetime() - stats.start_time.ToDatetime())
    found = f"no alarm; people were asked for {asked:,} decisions in the last {window}"
    return [Finding("people", True, found)]


def _consumer(consumer: approval_service_pb2.LogConsumer, home: Home) -> list[Finding]:
    """Findings about a consumer of the log that cannot follow it, or has skipped entries."""
    findings = []
    if consumer.error:
        stuck = f"stuck at entry {consumer.next_log_index}: {consumer.error}; it is tried again"
        findings.append(Finding(consumer.name, False, stuck, _tail(home, "approval")))
    for skipped in consumer.skipped:
        found = f"skipped entry {skipped.log_index} of the log, which it could not use: {skipped.reason}"
        advice = f"placet audit tail --from {skipped.log_index}"
        findings.append(Finding(consumer.name, False, found, advice))
    read = f"has read {entries(consumer.next_log_index)} of the log"
    return findings or [Finding(consumer.name, True, read)]


def _recorded(home: Home) -> list[Finding]:
    """The alarms that the witness wrote down for good, which hold while it does not run."""
    try:
        alarms = list(read_alarms(home.witness))
    except OSError as error:
        return [Finding("witness's record", False, f"cannot be read: {error.strerror or error}")]
    found = [f"{name} is not an alarm that can be read" if one is None else one.what for name, one in alarms]
    status = read_status(home.witness)
    if not found and status is not None and status.alarm is not None and status.alarm.kind.final:
        found = [status.fault(datetime.now(UTC))]
    return [Finding("witness's record", False, one, _verify(home)) for one in found]


def _verify(home: Home) -> str:
    return f"placet audit verify --witness {shlex.quote(str(home.witness))}"


def _witness_away(home: Home) -> Finding:
    """The finding about a witness that does not run while the stack does."""
    why = "".join(last_lines(home.log(WITNESS), 1)) or "its log says nothing"
    found = f"does not run: {why}; requests go on, and what happens to the log is not watched"
    return Finding(WITNESS, False, found, _tail(home, WITNESS))


def _advice(name: str, holder: Holder, home: Home) -> str:
    """The next command about a process with which something is wrong."""
    if suspended(holder.pid):
        return f"kill -CONT {holder.pid}"
    status = read_status(home.witness) if name == WITNESS else None
    if status is not None and status.alarm is not None and status.alarm.kind.final:
        return _verify(home)
    return _tail(home, name)


def _tail(home: Home, name: str) -> str:
    return f"tail {shlex.quote(str(home.log(name)))}"


async def _fault(
    name: str, holder: Holder, home: Home, probe: Probe | None, polling: Mapping[str, float]
) -> str:
    """The fault of a process; "" when it works."""
    if Holder.of(holder.pid) is None:
        return "is gone; it is started again"
    if suspended(holder.pid):
        return "is suspended (SIGSTOP): it does nothing until it is continued"
    if probe is not None:
        return "" if await probe() else "does not answer"
    if not home.ready(name).exists():
        return "is not ready yet"
    if name == WITNESS:
        return _alarm(home)
    silent = polling.get(name.removeprefix("worker-"))
    if silent is not None and silent > SILENT_SECONDS:
        return f"has not asked for work for {silent:.0f} s: it hangs"
    return ""


def _alarm(home: Home) -> str:
    """The witness's alarm about the log, or the witness's own fault; "" when there is neither."""
    status = read_status(home.witness)
    fault = "it has written nothing down" if status is None else status.fault(datetime.now(UTC))
    return fault and f"says: {fault}"
