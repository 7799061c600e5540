"""Stubs for the functions of nodes in a test, and injected faults.

In: nodes by name, functions, errors. Out: for each attempt, what is called instead. Not here: how a
stub is called (stub_functions), running it (the engine).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.decorators import is_imported
from flowcore.nodes.resolve import RefusedError, UnresolvedError
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy, StructuredSpec
from flowcore.testing.stub_functions import called_like, stand_in

__all__ = ["Stubs"]


@dataclass
class _Fault:
    """An injected fault of a node."""

    error: BaseException | type[BaseException]
    left: float


class Stubs:
    """The stubs and faults of one test."""

    def __init__(self, spend: Callable[[float, float | None], None]) -> None:
        """Begin with none.

        Args:
            spend: Lets time pass while a node runs: seconds, and the node's time limit.
        """
        self._spend = spend
        self._stubs: dict[str, Callable[..., Any]] = {}
        self._delays: dict[str, float] = {}
        self._faults: dict[str, _Fault] = {}
        self._calls: Counter[str] = Counter()
        self._names: set[str] = set()
        self._starting: dict[str, list[str]] = {}
        """Nodes that call no function, since they run a flow of their own, and its nodes."""
        self._known: set[str] = set()

    def stub(self, node: str, function: Callable[..., Any]) -> None:
        """Put something in the place of a node's function."""
        self._refuse(node, "stub")
        if not callable(function):
            raise UsageError(
                f"stub({node!r}): calls= takes a function, got {function!r}; "
                f"what the node gives is stub({node!r}, value)"
            )
        self._stubs[node] = function

    def delay(self, node: str, seconds: float) -> None:
        """Have a node take its time."""
        self._refuse(node, "delay")
        self._delays[node] = seconds

    def fail(
        self, node: str, error: BaseException | type[BaseException] | None, times: float
    ) -> None:
        """Have a node fail."""
        self._refuse(node, "fail")
        kind = error if isinstance(error, type) else type(error)
        if error is not None and not issubclass(kind, BaseException):
            raise UsageError(f"fail({node!r}): a node fails with an exception, got {error!r}")
        self._faults[node] = _Fault(error or RuntimeError(f"{node} was told to fail"), times)

    def calls(self, node: str) -> int:
        """Count the calls of a node's function."""
        if self._names and node not in self._calls:
            self._refuse(node, "calls")
            if node not in self._names:
                raise self._unknown("calls", node)
        return self._calls[node]

    def check(self) -> None:
        """Refuse faults and stubs of nodes that there are not.

        Raises:
            UsageError: One of them names what is no node of a flow that ran.
        """
        for what, name in self._told():
            if name not in self._names:
                raise self._unknown(what, name)

    def learn(self, plan: Plan) -> None:
        """Know the nodes of a flow that runs, and of those inside it.

        Raises:
            UsageError: Something stands for the function of a node that calls none.
        """
        if plan.hash in self._known:
            return
        self._known.add(plan.hash)
        self._names.update(_names(plan))
        for at, name in enumerate(plan.ids):
            if (inside := _inside(plan.policy(at))) is not None:
                self._starting[name] = inside
        for what, name in self._told():
            self._refuse(name, what)

    def substitute(
        self, plan: Plan, node: int, find: Callable[[], Callable[..., Any]]
    ) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the function to call, and the one whose parameters and output count."""
        self.learn(plan)
        policy = plan.policy(node)
        if plan.ids[node].endswith("[end]"):  # says that a map has all its items, and is none
            return (end := find()), end
        # The function that gives a map its items is none of them.
        own_names = (plan.ids[node], plan.label(node))
        names = own_names if policy.body is None else (f"{plan.ids[node]}.for_each",)
        stub = next((self._stubs[name] for name in names if name in self._stubs), None)
        before = partial(self._begin, dict.fromkeys(names), policy.timeout)
        own = _own(policy.uses, find, needed=stub is None)
        if stub is not None:
            return stand_in(stub, own, before)
        if own is None:
            raise UsageError(f"{policy.uses} cannot be found")
        return called_like(own, before), own

    def _begin(self, names: Mapping[str, None], timeout: float | None) -> None:
        """Count a call, and have go wrong in it what is to."""
        self._calls.update(names.keys())
        for name in names:
            fault = self._faults.get(name)
            if fault is not None and fault.left > 0:
                fault.left -= 1
                raise fault.error
        delay = next((self._delays[name] for name in names if name in self._delays), 0.0)
        if delay:
            self._spend(delay, timeout)

    def _told(self) -> Iterator[tuple[str, str]]:
        """Yield the kind of each setting and the name of its node."""
        kinds: Mapping[str, Mapping[str, Any]] = {
            "fail": self._faults,
            "stub": self._stubs,
            "delay": self._delays,
        }
        return ((what, name) for what, told in kinds.items() for name in told)

    def _refuse(self, node: str, what: str) -> None:
        inside = self._starting.get(node)
        if inside is not None:
            raise UsageError(
                f"{what}({node!r}): the node runs nodes of its own and calls no function; "
                f"name one of those: {', '.join(inside)}"
            )

    def _unknown(self, what: str, name: str) -> UsageError:
        near = get_close_matches(name, self._names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "nothing of that name ran"
        return UsageError(f"{what}({name!r}): there is no such node in any flow that ran; {hint}")


def _own(
    uses: str, find: Callable[[], Callable[..., Any]], *, needed: bool
) -> Callable[..., Any] | None:
    """The node's own function; None where its module cannot be had and a stub stands for it.

    Raises:
        UnresolvedError: It cannot be found.
    """
    try:
        return find()
    except RefusedError:
        raise
    except UnresolvedError:
        if needed or is_imported(uses):
            raise
        return None


def _names(plan: Plan) -> Iterator[str]:
    """The nodes of a flow and of those inside it."""
    yield from plan.ids
    yield from map(plan.label, range(len(plan)))
    for at, policy in enumerate(map(plan.policy, range(len(plan)))):
        for inner in _plans(policy):
            yield from _names(inner)
        yield from _names_of(plan.ids[at], policy.body)


def _names_of(node: str, body: StructuredSpec | None) -> Iterator[str]:
    if body is None:
        return
    if body.kind == "parallel":
        yield from body.ids
    elif body.kind == "epilogue":
        yield from (f"undo {name}" for name in body.ids)
    elif body.source:
        yield f"{node}.for_each"


def _plans(policy: Policy) -> Iterator[Plan]:
    if policy.body is not None:
        yield from (Plan.from_bytes(one) for one in (policy.body.plan, policy.body.last) if one)
        for inner in policy.body.inner:
            yield from _plans(inner)


def _inside(policy: Policy) -> list[str] | None:
    """The nodes that a node runs instead of a function; None if it calls one."""
    body = policy.body
    if body is None or body.kind == "epilogue":
        return None
    if body.kind == "parallel":
        return list(body.ids)
    if body.kind == "flow":
        return [name for plan in _plans(policy) for name in plan.ids]
    # A map or a loop of something: its items are called by its name.
    found = [_inside(inner) for inner in body.inner]
    return next((one for one in found if one is not None), None)
