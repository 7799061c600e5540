"""Arguments and answers of the scripts, in Python's terms.

In: the ports' records. Out: arguments of scripts, and their answers read. Not here: calls (store).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgpack

from flowcore.plan.plan import Plan
from flowcore.plan.reuse import ResumePoint
from flowcore.ports.store import AttemptRef, Dispatch, Outcome, Suspension, SweepResult, Transition
from flowcore.ports.unit import Bundle, Granularity
from flowcore.run.record import Failure, Parent
from flowcore.run.status import RunState
from flowcore.stores.redis.keys import RULE_LETTERS, parse_ranges

__all__ = [
    "arrivals",
    "frontier_list",
    "milliseconds",
    "read_advance",
    "read_bundles",
    "read_dispatch",
    "read_pairs",
    "read_parent",
    "read_signal",
    "read_sweep",
    "read_unit",
    "shares",
    "wire_delay",
    "wire_fence",
    "wire_outcome",
    "wire_parent",
    "wire_wait",
]

#: A join's counts share one integer: see web.lua.
_OK, _BAD = 2**17, 2**34


#: What ``answer`` says of the run.
_STOPPING, _PAUSED, _RESUMED = 1, 2, 4

#: What a refusal says: the run's state, why, the answer that counts. An advance says more.
_SHORT = 3


def milliseconds(seconds: float) -> int:
    """Seconds as the scripts count them."""
    return round(seconds * 1000)


def read_pairs(flat: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """(node, attempt) pairs from a flat list."""
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def read_bundles(flat: Sequence[Any]) -> tuple[Bundle, ...]:
    """Bundles from a flat list of unit, first node, count."""
    triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return tuple(Bundle(unit=unit.decode(), node=node, count=n) for unit, node, n in triples)


def read_unit(text: bytes) -> tuple[int, ...]:
    """The nodes of a unit, from ``policy:ranges;policy:ranges`` and perhaps ``!node``."""
    text = text.partition(b"!")[0]
    parts = [part.partition(b":")[2] for part in text.split(b";")] if text else []
    return tuple(sorted(node for part in parts for node in parse_ranges(part)))


def shares(grain: Granularity) -> dict[str, Any]:
    """A grain as ``share_out`` in web.lua reads it: costs in microseconds."""
    packs = [
        part
        for policy, pack in grain.packs.items()
        for part in (policy, round(pack.cost * 1e6), pack.least, pack.most, pack.here)
    ]
    return {"budget": round(grain.budget * 1e6), "share": grain.share, "packs": packs}


def arrivals(plan: Plan, done: Sequence[int]) -> list[Any]:
    """Count these nodes, all succeeded, in the joins after them, as ``arrive`` reads it.

    Nodes with the same successors are counted together: layers of 100 have 10,000 edges.
    """
    groups = Counter(id(plan.succ[node]) for node in done)
    by_id = {id(plan.succ[node]): plan.succ[node] for node in done}
    counts: Counter[int] = Counter()
    for key, count in groups.items():
        for target in by_id[key]:
            counts[target] += count
    own = set(done)
    flat: list[Any] = []
    for target in sorted(counts):
        if target not in own:
            policy = plan.policy_of[target]
            rule = RULE_LETTERS[plan.policies[policy].join]
            count = counts[target] * (1 + _OK)
            flat += (target, len(plan.pred[target]), rule, policy, count)
    return flat


def frontier_list(plan: Plan, frontier: ResumePoint) -> list[Any]:
    """Encode a resume point as ``arrive`` reads it: a start is a join that waits for nothing."""
    counts = [(node, 0, _OK) for node in frontier.starts]
    counts += [
        (one.node, len(plan.pred[one.node]), one.settled + one.succeeded * _OK + one.failed * _BAD)
        for one in frontier.reached
    ]
    flat: list[Any] = []
    for node, degree, count in counts:
        policy = plan.policy_of[node]
        flat += (node, degree, RULE_LETTERS[plan.policies[policy].join], policy, count)
    return flat


def read_advance(run: str, answer: Any) -> Transition:
    """Read what ``answer`` in web.lua says of a step."""
    if answer is None:
        return Transition(accepted=False)
    final, plan, flow, ns, prio, pairs, bundles, unit, owned, flags, told, *ahead = answer
    about = (plan, flow, ns, prio)
    return Transition(
        accepted=True,
        finished=RunState(final.decode()) if final else None,
        dispatch=read_dispatch(run.encode(), about, pairs, bundles),
        unit=unit.decode() or None,
        kept=read_unit(owned[1:]),
        parent=read_parent(told),
        stopping=bool(flags & _STOPPING),
        paused=bool(flags & _PAUSED),
        resumed=bool(flags & _RESUMED),
        ahead=ahead[0].decode() if ahead else "",
    )


def read_signal(run: str, answer: Any) -> Transition | None:
    """Read what ``signal.lua`` answers."""
    if answer is None:
        return None
    if len(answer) <= _SHORT:
        _, why, first = [*answer, b"", b""][:_SHORT]
        return Transition(accepted=False, refused=why.decode(), answer=first)
    inside = tuple(one.decode() for one in answer.pop())
    return replace(read_advance(run, answer), inside=inside)


def wire_fence(ticket: AttemptRef) -> str | int:
    """The attempt and its turn, as ``is_held`` in core.lua reads them."""
    if ticket.turn is None:
        return f"{ticket.attempt}.?"
    return f"{ticket.attempt}.{ticket.turn}" if ticket.turn else ticket.attempt


def wire_parent(parent: Parent | None) -> bytes:
    """The attempt that starts a run, as ``submit.lua`` reads it."""
    if parent is None:
        return b""
    packed: bytes = msgpack.packb(
        (parent.run, parent.node, parent.name, parent.attempt, parent.chance)
    )
    return packed


def read_parent(packed: bytes | None) -> Parent | None:
    """Read what ``wire_parent`` wrote."""
    if not packed:
        return None
    run, node, name, attempt, chance = msgpack.unpackb(packed)
    return Parent(run=run, node=node, name=name, attempt=attempt, chance=chance)


def read_dispatch(
    run: bytes, about: Sequence[bytes], pairs: Sequence[int], bundles: Sequence[Any]
) -> Dispatch | None:
    """Make a dispatch of what ``answer`` in web.lua says about a run."""
    if not pairs and not bundles:
        return None
    plan, flow, namespace, priority = about
    return Dispatch(
        run=run.decode(),
        plan=plan.decode(),
        flow=flow.decode(),
        namespace=namespace.decode(),
        priority=int(priority),
        nodes=read_pairs(pairs),
        bundles=read_bundles(bundles),
    )


def read_sweep(
    rows: Sequence[Sequence[Any]], ahead: int
) -> tuple[SweepResult, Mapping[str, Exception]]:
    """Read what sweep.lua answers, run by run; return the runs that cannot be read, too.

    What was to be sent of those comes up again when nobody claims it.
    """
    dispatches: list[Dispatch] = []
    overdue: list[tuple[Dispatch, int]] = []
    finished: dict[str, RunState] = {}
    odd: dict[str, Exception] = {}
    for row in rows:
        try:
            fresh, late, final = _read_swept(*row)
        except Exception as error:  # noqa: BLE001  (whatever it is, the other runs go on)
            odd[row[0].decode("utf-8", "backslashreplace")] = error
            continue
        dispatches += fresh
        overdue += late
        finished |= final
    sweep = SweepResult(
        dispatches=tuple(dispatches),
        overdue=tuple(overdue),
        finished=finished,
        next_due=None if ahead < 0 else ahead / 1000,
    )
    return sweep, odd


def _read_swept(
    run: bytes, final: bytes, *rest: Any
) -> tuple[list[Dispatch], list[tuple[Dispatch, int]], dict[str, RunState]]:
    *about, pairs, bundles, again = rest
    finished = {run.decode(): RunState(final.decode())} if final else {}
    fresh = read_dispatch(run, about, pairs, bundles)
    late: list[tuple[Dispatch, int]] = []
    for what, which, times in zip(again[::3], again[1::3], again[2::3], strict=True):
        lost = ((), (what, *which)) if isinstance(which, list) else ((what, which), ())
        if one := read_dispatch(run, about, *lost):
            late.append((one, times))
    return [fresh] if fresh else [], late, finished


def wire_outcome(outcome: Outcome) -> tuple[bytes, bytes]:
    """The blob to keep, and the few words that go into the event."""
    if outcome.kind == "succeeded":
        return outcome.output or b"\xc0", b""
    if outcome.kind == "waiting":
        return b"", msgpack.packb((outcome.wait or Suspension()).about())
    # A node may not vanish without a reason, even when its attempt gave none.
    failure = outcome.failure or Failure(
        type="NodeCancelledError",
        code="FC504",
        message=f"its attempt ended as {outcome.kind} without a reason",
    )
    brief: dict[str, Any] = {"error": {"type": failure.type, "message": failure.message}}
    if outcome.kind == "retry":
        brief["delay"] = outcome.delay
    return msgpack.packb(failure.as_dict()), msgpack.packb(brief)


def wire_delay(outcome: Outcome) -> int:
    """Milliseconds until the next attempt of a retry, or the end of a wait; -1 for never."""
    if outcome.wait is None:
        return milliseconds(outcome.delay)
    return -1 if outcome.wait.seconds is None else milliseconds(outcome.wait.seconds)


def wire_wait(wait: Suspension | None) -> tuple[str, int | str]:
    """Encode a node's wait and its end, as ``park`` in web.lua reads it."""
    if wait is None:
        return "", ""
    until = "" if wait.until is None else milliseconds(wait.until)
    if wait.signal is not None:
        return f"s{wait.signal}", until
    if wait.child is not None:
        return f"c{wait.child}", until
    return "t" if wait.resumes else "", until
