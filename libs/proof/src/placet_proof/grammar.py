"""Grammar of the log: the events that may follow those that a request has.

`follow` is the whole definition. AuditService refuses an event that does not fit, whoever writes it; the
verifiers report one that got in all the same. A rule about a person's name holds where the name is known: of
a value that was erased or withheld nothing is left but its commitment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from placet_proof.attestation import NotAttested, check_attestation, is_of_command
from placet_proof.entries import Leaf, numbers_in
from placet_proof.notes import VerifierKey
from placet_proof.tree import NotProven
from placet_proof.vocabulary import (
    ACTOR_KINDS,
    AI_DECIDED,
    AI_DECIDED_RESULT,
    APPROVE,
    ASKED,
    CLOSED,
    DECIDED,
    ENUMS,
    ESCALATED,
    FELL_BACK,
    HIGH_RISK,
    KINDS,
    LOW_RISK,
    NOTIFIED,
    OF_THE_TENANT,
    PAUSED,
    PERSON,
    PRE_SCREENED,
    PROCESSED,
    RECEIVED,
    REFUSED,
    REJECT,
    TIER_OPENED,
    TIMED_OUT,
    VOTED,
    WITHHELD,
    DecisionType,
    Source,
    State,
)


class NotInGrammar(NotProven):
    """An event may not stand where it does."""


@dataclass(frozen=True, slots=True)
class Tier:
    """An opened tier: the names of those who were asked in it and of those who approved. None: unknown.

    `untold`: numbers of its `asked` events whose notices were not delivered.
    """

    quorum: int
    asked: tuple[str | None, ...] = ()
    approved: tuple[str | None, ...] = ()
    untold: frozenset[int] = frozenset()

    @property
    def approvals(self) -> int:
        """Number of people who approved. Unknown names count one by one."""
        return len(set(self.approved) - {None}) + self.approved.count(None)


@dataclass(frozen=True, slots=True)
class Grounds:
    """Outcome for which the last event is the reason. `approver`: None where it is not compared."""

    source: Source
    state: State
    types: tuple[DecisionType, ...]
    tier: int = 0
    approver: str | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """A request after some of its events, as far as the grammar looks back. A request begins with BEGIN.

    `last`: kind of the last event; 0 before the first. `done`: kinds of events that come once, and came.
    `binding`: content, policy and its version, which a vote repeats. `untold`: numbers of the `asked` events
    without a notice. `outcome`: state of the outcome; 0 while there is none. `received_at`: POSIX time of the
    first event. `commands`: ids of the commands, each of which has one attested event. `policy`: its name.
    `limits`: most automatic approvals in an hour and a day. `withheld`: no automatic decision may follow.
    """

    last: int = 0
    done: frozenset[int] = frozenset()
    requester: str | None = None
    binding: tuple[bytes, bytes, int] = (b"", b"", 0)
    tiers: tuple[Tier, ...] = ()
    untold: frozenset[int] = frozenset()
    grounds: Grounds | None = None
    outcome: int = 0
    received_at: int = 0
    commands: tuple[str, ...] = ()
    policy: str = ""
    limits: tuple[int, int] = (0, 0)
    withheld: bool = False

    @property
    def settled(self) -> bool:
        """False where the next event must be in the same append."""
        return self.last not in _UNSETTLED and not (self.last == VOTED and self.grounds is not None)


BEGIN = Path()

# After these another one follows at once, in the same append.
_UNSETTLED = frozenset({TIMED_OUT, ESCALATED, AI_DECIDED, DECIDED})
# Those that come at any time, after the outcome too.
_ASIDE = frozenset({NOTIFIED, REFUSED})
_ONCE = frozenset({RECEIVED, PROCESSED, PRE_SCREENED, FELL_BACK, AI_DECIDED, DECIDED, CLOSED})
# Those that can be the reason of an outcome, which then comes next.
_REASONS = frozenset({PRE_SCREENED, VOTED, FELL_BACK, AI_DECIDED})
# Sources of what a policy's allow-rule approves.
_BY_RULE = (Source.AI_PRESCREEN, Source.POLICY)
_BY_PEOPLE = (DecisionType.HUMAN, DecisionType.MANAGER)


def follow(path: Path, leaf: Leaf, values: Mapping[str, str], keys: Sequence[VerifierKey]) -> Path:
    """Returns a request's path with one more event. Raises NotInGrammar if the event does not fit, and
    NotAttested where the attestation of a command is missing or not valid.

    `values`: the entry's erasable values that are known, by path. `keys`: those that sign attestations;
    others are left out. The caller compares tenant, request and number of the entry.
    """
    kind = _kind(leaf)
    if kind in OF_THE_TENANT or not leaf.approval_id:
        raise NotInGrammar(f"{KINDS[kind]} is no event of a request")
    if (kind == RECEIVED) != (path.last == 0) or (kind == RECEIVED) != (leaf.number == 1):
        raise NotInGrammar("received is a request's first event, and no other is")
    if path.outcome and kind not in _ASIDE and not (kind == CLOSED and path.last == DECIDED):
        raise NotInGrammar(f"{KINDS[kind]} does not follow the outcome")
    if kind in path.done:
        raise NotInGrammar(f"{KINDS[kind]} comes once")
    if not path.settled and kind not in _NEXT.get(path.last, frozenset()):
        raise NotInGrammar(f"{KINDS[kind]} does not follow {KINDS[path.last]}")
    after = _RULES[kind](path, leaf, values) if kind in _RULES else path
    if is_of_command(leaf):
        after = _attested(after, leaf, values, keys)
    elif leaf.attestation is not None:
        raise NotInGrammar(f"{KINDS[kind]} has an attestation, and is not the event of a command")
    done = after.done | {kind} if kind in _ONCE else after.done
    return replace(after, last=kind, done=done, grounds=after.grounds if kind in _REASONS else None)


def _attested(path: Path, leaf: Leaf, values: Mapping[str, str], keys: Sequence[VerifierKey]) -> Path:
    """The path with the event of one more command, whose attestation is valid."""
    if leaf.cause_id in path.commands:
        raise NotAttested("the command of the attestation has an event already")
    attestation = check_attestation(leaf, path.received_at, keys)
    if leaf.body == DECIDED and not attestation.operator:
        names = (_name(leaf, values, "event.actor.name"), path.requester)
        _require(
            None in names or names[0] == names[1], "only its requester or an operator withdraws a request"
        )
    return replace(path, commands=(*path.commands, leaf.cause_id))


def follow_all(events: Iterable[tuple[Leaf, Mapping[str, str]]], keys: Sequence[VerifierKey]) -> Path:
    """Returns the path of a request's entries from its first on, each with its known values.

    Raises NotInGrammar, also if the last one must be followed by another; NotAttested. `keys`: see `follow`.
    """
    path = BEGIN
    for leaf, values in events:
        try:
            path = follow(path, leaf, values, keys)
        except NotAttested as error:
            raise NotAttested(f"event {leaf.number}: {error}") from error
        except NotProven as error:
            raise NotInGrammar(f"event {leaf.number}: {error}") from error
    check_settled(path)
    return path


def check_settled(path: Path) -> None:
    """Raises NotInGrammar where the next event must be in the same append as the last."""
    if not path.settled:
        raise NotInGrammar(f"{KINDS[path.last]} is not the end of a step")


def check_of_tenant(leaf: Leaf) -> None:
    """Raises NotInGrammar unless an entry without a request is an event of the tenant itself."""
    if (kind := _kind(leaf)) not in OF_THE_TENANT:
        raise NotInGrammar(f"{KINDS[kind]} is no event of a tenant")


def _kind(leaf: Leaf) -> int:
    """Returns the kind of an event, all of whose enum values the contract knows."""
    if leaf.body not in KINDS:
        raise NotInGrammar(f"the contract has no event of kind {leaf.body}")
    known = all(leaf.field(field, 0) <= largest for field, largest in ENUMS.get(leaf.body, {}).items())
    if not known or leaf.actor_kind > ACTOR_KINDS:
        raise NotInGrammar(f"{KINDS[leaf.body]} holds a value that the contract does not have")
    return leaf.body


def _name(leaf: Leaf, values: Mapping[str, str], path: str) -> str | None:
    """Returns an erasable value; None if the entry commits to one that is not known."""
    return values.get(path, None if path in leaf.commitments else "")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotInGrammar(otherwise)


def _received(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    binding = (leaf.field(8, b""), leaf.field(7, b""), leaf.field(6, 0))
    limits = leaf.message(20)
    return replace(
        path,
        requester=_name(leaf, values, "event.actor.name"),
        binding=binding,
        received_at=leaf.seconds,
        policy=leaf.text(5),
        limits=(limits.get(1, 0), limits.get(2, 0)),
    )


def _pre_screened(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(FELL_BACK not in path.done, "pre_screened does not follow fell_back")
    level = leaf.field(5, 0)
    allows = leaf.field(1, 0) == AI_DECIDED_RESULT and level != HIGH_RISK and not path.tiers
    # Without a threshold the policy's rule alone decides.
    if level == LOW_RISK:
        source, model = Source.AI_PRESCREEN, leaf.text(7)
    else:
        source, model = Source.POLICY, ""
    grounds = Grounds(source, State.APPROVED, (DecisionType.AUTOMATIC,), model=model)
    return replace(path, grounds=grounds if allows and not path.withheld else None)


def _withheld(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    """It comes in a step that can end in an automatic decision: before the tiers, and in the fallback."""
    before_people = not path.tiers and PRE_SCREENED not in path.done
    _require(FELL_BACK in path.done or before_people, "withheld belongs to a step that an AI or a rule ends")
    _require(AI_DECIDED not in path.done, "withheld does not follow ai_decided")
    _require(not path.withheld, "withheld comes once in a step")
    return replace(path, withheld=True)


def _tier_opened(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(FELL_BACK not in path.done, "tier_opened does not follow fell_back")
    _require(leaf.field(1, 0) == len(path.tiers) + 1, "tiers open in their order")
    _require(not path.tiers or path.last == ESCALATED, "a later tier opens after escalated")
    _require(leaf.field(3, 0) > 0, "a tier needs an approval")
    return replace(path, tiers=(*path.tiers, Tier(leaf.field(3, 0))))


def _asked(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(path.last in (TIER_OPENED, ASKED), "asked follows tier_opened")
    _require(leaf.field(1, 0) == len(path.tiers), "asked names another tier than the open one")
    *earlier, tier = path.tiers
    asked = (*tier.asked, _name(leaf, values, "event.asked.person"))
    tier = replace(tier, asked=asked, untold=tier.untold | {leaf.number})
    return replace(path, tiers=(*earlier, tier), untold=path.untold | {leaf.number})


def _notified(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    number = leaf.field(4, 0)
    _require(number in path.untold, "notified names no event asked without a notice")
    delivered = frozenset({number}) if leaf.field(2, 0) else frozenset()
    tiers = tuple(replace(tier, untold=tier.untold - delivered) for tier in path.tiers)
    return replace(path, tiers=tiers, untold=path.untold - {number})


def _timed_out(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(FELL_BACK not in path.done, "timed_out does not follow fell_back")
    _require(0 < leaf.field(1, 0) == len(path.tiers), "timed_out names another tier than the open one")
    untold = sorted(path.tiers[-1].untold)
    _require(numbers_in(leaf.field(4, b"")) == untold, "timed_out names others than those who were not told")
    return path


def _escalated(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(path.last == TIMED_OUT, "escalated follows timed_out")
    tier = len(path.tiers)
    _require((leaf.field(1, 0), leaf.field(2, 0)) == (tier, tier + 1), "escalated leads to the next tier")
    return path


def _voted(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    """A vote, and the outcome if it decides its tier."""
    number, verdict = leaf.field(1, 0), leaf.field(2, 0)
    person = _name(leaf, values, "event.actor.name")
    _require(leaf.actor_kind == PERSON, "a person votes")
    _require(0 < number <= len(path.tiers), "voted names a tier that was not opened")
    _require(verdict in (APPROVE, REJECT), "voted holds no verdict")
    bound = (leaf.field(3, b""), leaf.field(7, b""), leaf.field(6, 0))
    _require(bound == path.binding, "voted names other content or another policy than received")
    tier = path.tiers[number - 1]
    if person is not None:
        _require(person != path.requester, "the requester does not vote")
        _require(person in tier.asked or None in tier.asked, "who votes was asked in that tier")
        later = (one.asked for one in path.tiers[number:])
        _require(not any(person in asked for asked in later), "who votes was asked in a later tier")
        _require(person not in tier.approved, "a person votes once in a tier")
    if verdict == REJECT:
        return replace(path, grounds=Grounds(Source.HUMAN, State.REJECTED, _BY_PEOPLE, number, person))
    tier = replace(tier, approved=(*tier.approved, person))
    tiers = (*path.tiers[: number - 1], tier, *path.tiers[number:])
    known = [name for name in tier.approved if name is not None]
    approver = ", ".join(known) if len(known) == len(tier.approved) else None
    grounds = Grounds(Source.HUMAN, State.APPROVED, _BY_PEOPLE, number, approver)
    return replace(path, tiers=tiers, grounds=grounds if tier.approvals >= tier.quorum else None)


def _fell_back(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(not path.tiers or path.last == TIMED_OUT, "fell_back follows timed_out")
    grounds = Grounds(Source.POLICY, State.REJECTED, (DecisionType.AUTOMATIC,))
    return replace(path, grounds=grounds, withheld=False)


def _paused(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(path.last != PAUSED, "paused does not follow paused")
    return path


def _ai_decided(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(FELL_BACK in path.done, "ai_decided follows fell_back")
    verdict = leaf.field(2, 0)
    if path.withheld or leaf.field(1, 0) != AI_DECIDED_RESULT or verdict not in (APPROVE, REJECT):
        grounds = Grounds(Source.POLICY, State.REJECTED, (DecisionType.AUTOMATIC,))
    else:
        state = State.APPROVED if verdict == APPROVE else State.REJECTED
        model = leaf.text(4)
        grounds = Grounds(Source.AI_FALLBACK, state, (DecisionType.AI_FALLBACK,), model=model)
    return replace(path, grounds=grounds)


def _decided(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    approver = _name(leaf, values, "event.decided.approver")
    grounds = path.grounds
    if leaf.field(2, 0) == Source.REQUESTER:
        _require(path.settled, "a request is not withdrawn within a step")
        by = _name(leaf, values, "event.actor.name")
        grounds = Grounds(Source.REQUESTER, State.CANCELLED, (DecisionType.UNSPECIFIED,), 0, by)
    if grounds is None:
        raise NotInGrammar("decided has no grounds")
    said = (leaf.field(2, 0), leaf.field(1, 0), leaf.field(4, 0))
    _require(said == (grounds.source, grounds.state, grounds.tier), "decided has other grounds")
    _require(leaf.field(3, 0) in grounds.types, "decided has another decision type than its source")
    _require(leaf.text(7) == grounds.model, "decided names another model than the one that decided")
    by_rule = grounds.source in _BY_RULE and grounds.state == State.APPROVED
    _require(bool(leaf.field(10, b"")) == by_rule, "an automatic approval alone names a rule")
    if None not in (approver, grounds.approver):
        _require(approver == grounds.approver, "decided names other people than those who decided")
    return replace(path, outcome=leaf.field(1, 0))


def _closed(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(path.last == DECIDED, "closed follows decided")
    _require(leaf.field(1, 0) == path.outcome, "closed has another state than decided")
    # The rest depends on nothing else.
    return Path(
        outcome=path.outcome, untold=path.untold, received_at=path.received_at, commands=path.commands
    )


def _refused(path: Path, leaf: Leaf, values: Mapping[str, str]) -> Path:
    _require(leaf.field(2, 0) > 0, "refused has a reason")
    return path


_RULES: Mapping[int, Callable[[Path, Leaf, Mapping[str, str]], Path]] = {
    RECEIVED: _received,
    PRE_SCREENED: _pre_screened,
    TIER_OPENED: _tier_opened,
    ASKED: _asked,
    NOTIFIED: _notified,
    TIMED_OUT: _timed_out,
    ESCALATED: _escalated,
    VOTED: _voted,
    REFUSED: _refused,
    FELL_BACK: _fell_back,
    PAUSED: _paused,
    AI_DECIDED: _ai_decided,
    DECIDED: _decided,
    CLOSED: _closed,
    WITHHELD: _withheld,
}

_NEXT: Mapping[int, frozenset[int]] = {
    TIMED_OUT: frozenset({ESCALATED, FELL_BACK}),
    ESCALATED: frozenset({TIER_OPENED}),
    VOTED: frozenset({DECIDED}),
    AI_DECIDED: frozenset({DECIDED}),
    DECIDED: frozenset({CLOSED}),
}
