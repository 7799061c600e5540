"""A Celery canvas as a flow whose nodes are its tasks, on their own workers.

In: a signature: a task, chain, group, chord, chunks, map or starmap, as the plain data that it is.
Out: the raw tree of a definition. Not here: importing it, writing it as YAML (graph.dump).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.errors import DefinitionError
from flowcore.importers.celery_values import tagged_value
from flowcore.types import parse_duration

__all__ = ["CanvasError", "from_canvas"]

_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]+")
#: As ``nodes.types.celery_task`` has it.
_PREFIX = "celery:"

#: Options that a flow has not, and what it has instead.
_UNSEEN: Mapping[str, str] = {
    "link_error": "on_failure",
    "expires": "timeout",
    "soft_time_limit": "timeout",
    "time_limit": "timeout",
    "eta": "a wait node with 'until'",
    "priority": "a priority of each node",
}
#: Those that a flow has of a task, and not of a chain, group or chord.
_OF_TASKS: Mapping[str, str] = {
    "queue": "a queue of each task",
    "countdown": "a countdown of its first task",
}
#: What is taken over, and what Celery itself notes of where a task stands in its canvas.
_KNOWN = frozenset(
    {*_UNSEEN, *_OF_TASKS, "link", "task_id", "root_id", "parent_id", "group_id", "group_index"}
    | {"chord", "chord_size", "reply_to", "immutable", "ignore_result"}
)


#: Canvases whose arguments go to their first tasks; Celery itself drops those of a group.
_WITH_FIRST_TASKS = frozenset({"celery.chain", "celery.chord"})
_KWARGS_OF_WHOLES: Mapping[str, frozenset[str]] = {
    "celery.chain": frozenset({"tasks"}),
    "celery.group": frozenset({"tasks"}),
    "celery.chord": frozenset({"header", "body", "kwargs"}),
    "celery.map": frozenset({"task", "it"}),
    "celery.starmap": frozenset({"task", "it"}),
    "celery.chunks": frozenset({"task", "it", "n"}),
}


class CanvasError(DefinitionError):
    """A signature cannot be a flow; lists every reason."""

    code = "FC241"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems,)


def from_canvas(
    signature: Mapping[str, Any],
    *,
    id: str = "canvas",
    queue_of: Callable[[str], str | None] = lambda _: None,
) -> dict[str, Any]:
    """Make a definition of a canvas.

    Args:
        signature: What ``chain(...)``, ``group(...)``, ``chord(...)`` or ``task.s(...)`` gives.
        id: The flow's id.
        queue_of: Where tasks go, by name, whose signature does not say it; None: the default queue.

    Returns:
        The tree of a definition. A node is given what a task of a canvas is: the result of the one
        before it as its first argument, unless it is immutable; a list of them after a group.

    Raises:
        CanvasError: It is no signature, or has what a flow cannot do.
    """
    made = _Made(queue_of=queue_of)
    if signature.get("task") in _WITH_FIRST_TASKS:
        # The arguments of a whole canvas are those of its first tasks, before their own.
        made.add({**signature, "args": ()}, None, list(signature.get("args") or ()))
    else:
        made.add(signature, None)
    if not made.nodes and not made.problems:
        made.problems.append("a canvas without tasks: was the list that it is made of empty?")
    if made.problems:
        raise CanvasError(list(dict.fromkeys(made.problems)))
    return {"id": id, "nodes": made.nodes}


@dataclass(frozen=True, slots=True)
class _Result:
    """Result of a part of a canvas."""

    nodes: tuple[str, ...]
    text: str
    """As a CEL expression."""


@dataclass(slots=True)
class _Made:
    """The nodes so far."""

    queue_of: Callable[[str], str | None]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(
        self, signature: Any, before: _Result | None, first: Sequence[Any] | None = None
    ) -> _Result | None:
        """Add a signature after what is before it; return what it gives.

        Args:
            signature: A part of the canvas.
            before: The result that flows into it.
            first: Arguments of the whole canvas, which its first tasks are given before their own;
                None where the signature does not come first.
        """
        if not isinstance(signature, Mapping) or "task" not in signature:
            self.problems.append(f"expected a signature, got {type(signature).__name__}")
            return before
        name, kwargs = str(signature["task"]), signature.get("kwargs") or {}
        options = signature.get("options") or {}
        self._refuse_all(signature, before)
        match name:
            case "celery.chain":
                made = self._chain(kwargs.get("tasks") or (), before, first)
            case "celery.group":
                made = self._group(_tasks(kwargs.get("tasks")), before, first)
            case "celery.chord":
                made = self._chord(kwargs, before, first)
            case "celery.map" | "celery.starmap" | "celery.chunks":
                if first:
                    self.problems.append(f"{name}: takes no arguments of the canvas around it")
                made = self._mapped(name, kwargs, before)
            case _:
                made = self._task(signature, before, first or ())
        for linked in options.get("link") or ():
            self.add(linked, made)
        return made

    def _flat(
        self, tasks: Sequence[Any], before: _Result | None, first: Sequence[Any] | None
    ) -> Iterator[_Result]:
        """Yield the tasks of a group; a group in a group is part of it, as Celery has it."""
        for one in tasks:
            if isinstance(one, Mapping) and one.get("task") == "celery.group":
                self._refuse_all(one, before)
                yield from self._flat(_tasks((one.get("kwargs") or {}).get("tasks")), before, first)
            elif (part := self.add(one, before, None if first is None else [*first])) is not None:
                yield part

    def _refuse_all(self, signature: Mapping[str, Any], before: _Result | None) -> None:
        name, options = str(signature["task"]), signature.get("options") or {}
        self._refuse(name, options, _UNSEEN)
        if name.startswith("celery."):
            self._refuse(name, options, _OF_TASKS)
            self._refuse_arguments(name, signature, before)
        odd = [key for key in options if key not in _KNOWN and options[key] not in (None, [], {})]
        self.problems += [f"{name}: a flow has no {key!r}" for key in odd]

    def _refuse(self, name: str, options: Mapping[str, Any], unseen: Mapping[str, str]) -> None:
        for key, instead in unseen.items():
            if options.get(key) is not None and options[key] != []:
                self.problems.append(f"{name}: a flow has no {key!r}, but {instead}")

    def _refuse_arguments(
        self, name: str, signature: Mapping[str, Any], before: _Result | None
    ) -> None:
        """Refuse arguments of a chain, group or chord that its tasks would not be given."""
        known = _KWARGS_OF_WHOLES.get(name, frozenset())
        kwargs = signature.get("kwargs") or {}
        odd = [key for key in kwargs if key not in known] + list(kwargs.get("kwargs") or ())
        if odd:
            names = ", ".join(map(repr, odd))
            self.problems.append(f"{name}: its tasks are not given {names}; name them at each task")
        if signature.get("args"):
            self.problems.append(
                f"{name}: arguments of a group, or of a part of a canvas, are not passed on; "
                "write them at its first tasks"
            )
        if signature.get("immutable") and before is not None:
            self.problems.append(
                f"{name}: an immutable whole after another; use .si() at its tasks"
            )

    def _chain(
        self, tasks: Sequence[Any], before: _Result | None, first: Sequence[Any] | None
    ) -> _Result | None:
        for one in tasks:
            made = self.add(one, before, first)
            # Celery passes over a group without tasks, and so do the arguments of the whole.
            first = first if made is before else None
            before = made
        return before

    def _group(
        self, tasks: Sequence[Any], before: _Result | None, first: Sequence[Any] | None
    ) -> _Result | None:
        parts = list(self._flat(tasks, before, first))
        return _together(parts) if parts else before

    def _chord(
        self, kwargs: Mapping[str, Any], before: _Result | None, first: Sequence[Any] | None
    ) -> _Result | None:
        parts = list(self._flat(_tasks(kwargs.get("header")), before, first))
        nothing = _Result(before.nodes if before is not None else (), "[]")
        return self.add(kwargs.get("body"), _together(parts) if parts else nothing)

    def _mapped(self, name: str, kwargs: Mapping[str, Any], before: _Result | None) -> _Result:
        """``map`` and ``starmap`` call a task for each item; ``chunks`` does so, some at a time."""
        task = kwargs.get("task")
        inner = str(task.get("task")) if isinstance(task, Mapping) else name
        items = [self._plain(inner, one) for one in kwargs.get("it") or ()]
        args = "${{ item }}" if name != "celery.map" else ["${{ item }}"]
        node: dict[str, Any] = {"for_each": items, "with": {"args": args}}
        return self._node(task if isinstance(task, Mapping) else {}, node, before)

    def _task(
        self, signature: Mapping[str, Any], before: _Result | None, first: Sequence[Any]
    ) -> _Result:
        name = str(signature["task"])
        own = signature.get("args") or ()
        takes = not signature.get("immutable")
        args = [self._plain(name, one) for one in ((*first, *own) if takes else own)]
        if before is not None and takes:
            args.insert(0, f"${{{{ {before.text} }}}}")
        given: dict[str, Any] = {}
        if args:
            given["args"] = args
        if kwargs := self._plain(name, signature.get("kwargs") or {}):
            given["kwargs"] = kwargs
        node = {"with": given or {"args": []}}
        return self._node(signature, node, before)

    def _node(
        self, signature: Mapping[str, Any], node: dict[str, Any], before: _Result | None
    ) -> _Result:
        name, options = str(signature.get("task")), signature.get("options") or {}
        id = self._id(name)
        needs = list(before.nodes) if before is not None else []
        countdown = options.get("countdown")
        if self._waits(name, countdown):
            wait: dict[str, Any] = {"uses": "wait", "with": {"for": countdown}}
            self.nodes[f"{id}-wait"] = {**wait, "needs": needs} if needs else wait
            needs = [*needs, f"{id}-wait"]
        whole = {"uses": f"{_PREFIX}{name}", **node}
        if needs:
            whole["needs"] = needs
        if queue := options.get("queue") or self.queue_of(name):
            whole["queue"] = str(getattr(queue, "name", queue))
        self.nodes[id] = whole
        return _Result((id,), _output(id))

    def _waits(self, task: str, countdown: Any) -> bool:
        """Say whether a task waits: Celery runs at once what should have begun already."""
        try:
            is_later = float(countdown or 0) > 0
            if is_later:
                parse_duration(countdown)
        except (TypeError, ValueError) as error:
            self.problems.append(f"{task}: its countdown is not a time to wait: {error}")
            return False
        return is_later

    def _plain(self, task: str, value: Any) -> Any:
        """Plain data of an argument; a text that looks like an expression stays the text it is."""
        if isinstance(value, str):
            return value.replace("${{", "$${{")
        if isinstance(value, Mapping):
            return {str(key): self._plain(task, item) for key, item in value.items()}
        if isinstance(value, list | tuple | range):
            return [self._plain(task, item) for item in value]
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        tagged = tagged_value(value)
        if tagged is None:
            kind = type(value).__name__
            self.problems.append(f"{task}: an argument of type {kind} has no JSON form; use text")
        return tagged

    def _id(self, task: str) -> str:
        name = _FOREIGN.sub("-", task.rpartition(".")[2])[:80].strip("-.") or "task"
        number = 1
        id = name
        while id in self.nodes:
            number += 1
            id = f"{name}-{number}"
        return id


def _tasks(given: Any) -> Sequence[Any]:
    """The tasks of a group or of a chord's header, which may be a group or a list."""
    if isinstance(given, Mapping):
        return _tasks((given.get("kwargs") or {}).get("tasks")) if "task" in given else ()
    return list(given or ())


def _output(id: str) -> str:
    return f"{id}.output" if re.fullmatch(r"[A-Za-z_]\w*", id) else f'nodes["{id}"].output'


def _together(parts: Sequence[_Result]) -> _Result:
    nodes = tuple(dict.fromkeys(node for part in parts for node in part.nodes))
    return _Result(nodes, f"[{', '.join(part.text for part in parts)}]")
