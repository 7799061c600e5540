"""The runs that the nodes of a run have started, as far as somebody who looks at it wants to know.

In: a run's id, its records. Out: how far the items, iterations and nodes inside are, and which
nodes, wherever inside, wait for somebody's answer. Not here: words (node_status), drawing
(live_view).
"""

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from flowcore.assembly.session import Session
from flowcore.errors import FlowcoreError
from flowcore.plan.plan import Plan
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState

__all__ = ["InnerRuns", "Question", "questions_of"]

#: Nodes whose insides are looked at, runs that are looked through for questions, and questions.
_MOST_NODES = 20
_MOST_RUNS = 200
_MOST_QUESTIONS = 10

#: Seconds between two looks of somebody who follows a run.
_EVERY = 1.0

#: The end of a run's id that tells parts, lives and tries of one node's run apart.
_PART = re.compile(r"(?P<root>.*?)(?P<life>@r\d+)?(?P<chance>@t\d+)?(?P<part>@\d+|@end)?")
_BUSY = frozenset({NodeState.RUNNING, NodeState.WAITING, NodeState.RETRYING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A node that goes on when somebody answers."""

    path: str
    """The node, or the way to it from the outermost run: ``embed/3/review``."""
    signal: str | None = None
    """The signal that it waits for; None: it asks for an approval."""
    waits: str | None = None
    """Words for the event that it waits for."""


def questions_of(plan: Plan, nodes: Iterable[NodeRecord], way: str = "") -> Iterator[Question]:
    """Find the nodes of one run that wait for an answer.

    Args:
        plan: The run's plan.
        nodes: Records of its nodes.
        way: What leads to the run from the outermost one, such as ``embed/3/``.
    """
    for node in nodes:
        if node.state is not NodeState.WAITING or node.id not in plan.ids:
            continue
        uses = plan.policy(plan.ids.index(node.id)).uses
        if uses == "approval":
            yield Question(path=f"{way}{node.id}", waits=node.waits)
        elif uses == "signal" and node.signal:
            yield Question(path=f"{way}{node.id}", signal=node.signal, waits=node.waits)


class InnerRuns:
    """Looks into the runs inside a run, again and again if need be."""

    def __init__(self, session: Session, run: str, plan: Plan) -> None:
        """Look at nothing yet."""
        self._reader = session.runtime.reader
        self._plan_of = session.runtime.store.get_plan
        self._run = run
        self._plan = plan
        self._plans: dict[str, Plan] = {}
        self._looked = 0.0
        self.progress: Mapping[str, str] = {}
        """Progress of the child runs of nodes, such as ``2/4 items``, by the node's id."""
        self.questions: tuple[Question, ...] = ()
        """Nodes inside that wait for an answer; those of the run itself are not among them."""

    def look(self, nodes: Iterable[NodeRecord]) -> None:
        """Look into the nodes that are busy, all of them or the first ones."""
        busy = list(islice((node for node in nodes if node.state in _BUSY), _MOST_NODES))
        wanted = {
            node.id: self._plan.ids.index(node.id) for node in busy if self._is_structured(node)
        }
        progress: dict[str, str] = {}
        questions: list[Question] = []
        if wanted:
            children = self._reader.children(self._run)
            for id, number in wanted.items():
                inside = [child for child, parent in children.items() if parent == number]
                if words := self._progress(number, inside):
                    progress[id] = words
            known = islice(self._questions(self._run, ""), _MOST_QUESTIONS)
            questions = list(known)
        self.progress, self.questions = progress, tuple(questions)

    def look_sometimes(self, nodes: Iterable[NodeRecord]) -> None:
        """Look if the last look is a while ago; what cannot be read now is read another time."""
        now = time.monotonic()
        if now - self._looked < _EVERY:
            return
        with contextlib.suppress(FlowcoreError):  # whoever follows the run hears of it from there
            self.look(nodes)
        self._looked = time.monotonic()

    def _is_structured(self, node: NodeRecord) -> bool:
        number = self._plan.ids.index(node.id)
        return self._plan.policy(number).body is not None

    def _progress(self, node: int, children: list[str]) -> str:
        """Say how far the runs that one node has started are, those of its latest life."""
        body = self._plan.policy(node).body
        parts = _latest(children)
        found = [self._reader.summary(child) for child in parts if not child.endswith("@end")]
        summaries = [one for one in found if one is not None]
        if body is None or not summaries:
            return ""
        settled = sum(one.settled for one in summaries)
        if body.kind == "loop":
            count = _part_of(parts[-1]) + summaries[-1].settled + 1
            return f"iteration {count}" + (f" of {body.most}" if body.most is not None else "")
        noun = {"map": "items", "parallel": "branches"}.get(body.kind, "nodes")
        is_open = body.source and not any(child.endswith("@end") for child in parts)
        more = " so far" if is_open else ""
        return f"{settled}/{sum(one.total for one in summaries)} {noun}{more}"

    def _questions(self, run: str, way: str) -> Iterator[Question]:
        """Find the questions inside a run, breadth first, in so many runs at most."""
        open_ = [(run, way)]
        seen = 0
        while open_ and seen < _MOST_RUNS:
            run, way = open_.pop(0)
            for child in sorted(self._reader.children(run)):
                seen += 1
                summary = self._reader.summary(child)
                if summary is None or summary.state.is_terminal:
                    continue
                inner = f"{way}{child.rpartition('/')[2]}/"
                yield from self._asked(child, self._plan_named(summary.plan), inner)
                open_.append((child, inner))

    def _asked(self, run: str, plan: Plan, way: str) -> Iterator[Question]:
        asking = [
            node for node in range(len(plan)) if plan.policy(node).uses in {"approval", "signal"}
        ]
        states = self._reader.states(run, asking) if asking else {}
        if NodeState.WAITING not in states.values():
            return
        record = self._reader.record(run)
        if record is not None:
            yield from questions_of(plan, record.nodes.values(), way)

    def _plan_named(self, digest: str) -> Plan:
        if digest not in self._plans:
            self._plans[digest] = self._plan_of(digest)
        return self._plans[digest]


def _latest(children: list[str]) -> list[str]:
    """The parts of the latest run that a node has started, in their order."""
    if not children:
        return []
    newest = max(map(_life, children))
    return sorted((child for child in children if _life(child) == newest), key=_part_of)


def _life(child: str) -> tuple[int, int]:
    match = _PART.fullmatch(child)
    words = ((match and match["life"]) or "@r0", (match and match["chance"]) or "@t0")
    return int(words[0][2:]), int(words[1][2:])


def _part_of(child: str) -> int:
    match = _PART.fullmatch(child)
    part = (match and match["part"]) or "@0"
    return 2**31 if part == "@end" else int(part[1:])
