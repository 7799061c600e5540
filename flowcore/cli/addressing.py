"""Places inside runs, as people write them: ``RUN``, ``RUN/NODE``, ``RUN/NODE[3]/INNER``.

In: text, a session. Out: the run that is meant, and perhaps one of its nodes. Not here: what is
shown of them (commands).

The items of a map, the iterations of a loop, branches and the nodes of a sub-flow are nodes of runs
that a node has started. An address leads to them by names, whatever the ids of those runs are. The
id of such a run, which may look like an address, means that run. ``NODE/3`` is ``NODE[3]``, as
``approve`` has it.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches

from flowcore.assembly.session import Session
from flowcore.cli.exit_codes import ThingNotFoundError
from flowcore.client.run import Run
from flowcore.errors import RunNotFoundError
from flowcore.plan.plan import Plan

__all__ = ["Place", "children_of", "find_node", "find_place"]

_ITEM = re.compile(r"(?P<label>.+)\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A run, or one node of it."""

    run: Run
    node: str | None = None


def find_place(session: Session, text: str, node: str | None = None) -> Place:
    """Find what an address means.

    Args:
        session: Where the runs are.
        text: A run's id, or the way to a node from one.
        node: A node on from there, or the way to it, if it is given apart.

    Raises:
        RunNotFoundError: There is no such run.
        ThingNotFoundError: The run has no such node; suggests one.
    """
    if node is not None:
        place = find_place(session, text)
        way = node.split("/") if place.node is None else [place.node, *node.split("/")]
        return _walk(session, place.run, way)
    parts = text.split("/")
    for count in range(len(parts), 0, -1):
        id = "/".join(parts[:count])
        if session.runtime.reader.summary(id) is not None:
            run = Run(id, session=session)
            return _walk(session, run, parts[count:]) if parts[count:] else Place(run=run)
    raise RunNotFoundError(text)


def find_node(plan: Plan, node: str, run: str) -> None:
    """Refuse a node that a run does not have.

    Raises:
        ThingNotFoundError: It has none of this name; suggests one.
    """
    if node in plan.ids:
        return
    near = get_close_matches(node, plan.ids, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"see 'flowcore status {run}'"
    msg = f"run {run!r} has no node {node!r}; {hint}"
    raise ThingNotFoundError(msg)


def children_of(session: Session, run: str, node: int | None = None) -> list[str]:
    """Return the runs that nodes of a run have started, or one of them has; the latest first."""
    reader = session.runtime.reader
    found = [id for id, number in reader.children(run).items() if node in (None, number)]
    rows = [row for row in map(reader.summary, found) if row is not None]
    return [row.id for row in sorted(rows, key=lambda row: (row.created, row.id), reverse=True)]


def _walk(session: Session, run: Run, names: list[str]) -> Place:
    """Follow the names of nodes into the runs inside."""
    plan = run.plan()
    name, *rest = names
    if name.isdigit() and name not in plan.ids:
        name = next((id for id in plan.ids if id.endswith(f"[{name}]")), name)
    match = _ITEM.fullmatch(name)
    if name not in plan.ids and match and match["label"] in plan.ids:
        return _inside(session, run, match["label"], names)
    find_node(plan, name, run.id)
    if not rest:
        return Place(run=run, node=name)
    return _inside(session, run, name, rest)


def _inside(session: Session, run: Run, node: str, names: list[str]) -> Place:
    """Look for names in the runs that a node has started; the error of the latest is the error."""
    number = run.plan().ids.index(node)
    first: ThingNotFoundError | None = None
    for child in children_of(session, run.id, number):
        try:
            return _walk(session, Run(child, session=session), names)
        except ThingNotFoundError as error:
            first = first or error
    if first is not None:
        raise first
    msg = f"node {node!r} of run {run.id!r} has started no run with {'/'.join(names)!r} in it"
    raise ThingNotFoundError(msg)
