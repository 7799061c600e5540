"""A Celery canvas as a flow whose nodes are its tasks, on their own workers.

In: a signature: a task, chain, group, chord, chunks, map or starmap, as the plain data that it is.
Out: the raw tree of a definition. Not here: importing it, writing it as YAML (graph.dump).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.errors import DefinitionError

__all__ = ["CanvasError", "from_canvas"]

_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]+")
#: As ``nodes.celery_task`` has it.
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
    made.add(signature, None)
    if made.problems:
        raise CanvasError(list(dict.fromkeys(made.problems)))
    return {"id": id, "nodes": made.nodes}


@dataclass(frozen=True, slots=True)
class _Result:
    """What a part of a canvas gives."""

    nodes: tuple[str, ...]
    text: str
    """As a CEL expression."""


@dataclass(slots=True)
class _Made:
    """The nodes so far."""

    queue_of: Callable[[str], str | None]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, signature: Any, before: _Result | None) -> _Result | None:
        """Add a signature after what is before it; return what it gives."""
        if not isinstance(signature, Mapping) or "task" not in signature:
            self.problems.append(f"expected a signature, got {type(signature).__name__}")
            return before
        name, kwargs = str(signature["task"]), signature.get("kwargs") or {}
        options = signature.get("options") or {}
        self._refuse_all(signature)
        match name:
            case "celery.chain":
                made = self._chain(kwargs.get("tasks") or (), before)
            case "celery.group":
                made = self._group(_tasks(kwargs.get("tasks")), before)
            case "celery.chord":
                header = kwargs.get("header")
                made = self.add(kwargs.get("body"), self._group(_tasks(header), before))
            case "celery.map" | "celery.starmap" | "celery.chunks":
                made = self._mapped(name, kwargs, before)
            case _:
                made = self._task(signature, before)
        for linked in options.get("link") or ():
            self.add(linked, made)
        return made

    def _flat(self, tasks: Sequence[Any], before: _Result | None) -> Iterator[_Result]:
        """What the tasks of a group give; a group in a group is part of it, as Celery has it."""
        for one in tasks:
            if isinstance(one, Mapping) and one.get("task") == "celery.group":
                self._refuse_all(one)
                yield from self._flat(_tasks((one.get("kwargs") or {}).get("tasks")), before)
            elif (part := self.add(one, before)) is not None:
                yield part

    def _refuse_all(self, signature: Mapping[str, Any]) -> None:
        name, options = str(signature["task"]), signature.get("options") or {}
        self._refuse(name, options, _UNSEEN)
        if name.startswith("celery."):
            self._refuse(name, options, _OF_TASKS)
        odd = [key for key in options if key not in _KNOWN and options[key] not in (None, [], {})]
        self.problems += [f"{name}: a flow has no {key!r}" for key in odd]

    def _refuse(self, name: str, options: Mapping[str, Any], unseen: Mapping[str, str]) -> None:
        for key, instead in unseen.items():
            if options.get(key) is not None and options[key] != []:
                self.problems.append(f"{name}: a flow has no {key!r}, but {instead}")

    def _chain(self, tasks: Sequence[Any], before: _Result | None) -> _Result | None:
        for one in tasks:
            before = self.add(one, before)
        return before

    def _group(self, tasks: Sequence[Any], before: _Result | None) -> _Result | None:
        parts = list(self._flat(tasks, before))
        if not parts:
            self.problems.append("a group without tasks")
            return before
        nodes = tuple(node for part in parts for node in part.nodes)
        return _Result(nodes, f"[{', '.join(part.text for part in parts)}]")

    def _mapped(self, name: str, kwargs: Mapping[str, Any], before: _Result | None) -> _Result:
        """``map`` and ``starmap`` call a task for each item; ``chunks`` does so, some at a time."""
        task, items = kwargs.get("task"), [_plain(one) for one in kwargs.get("it") or ()]
        args = "${{ item }}" if name != "celery.map" else ["${{ item }}"]
        node: dict[str, Any] = {"for_each": items, "with": {"args": args}}
        return self._node(task if isinstance(task, Mapping) else {}, node, before)

    def _task(self, signature: Mapping[str, Any], before: _Result | None) -> _Result:
        args = [_plain(one) for one in signature.get("args") or ()]
        if before is not None and not signature.get("immutable"):
            args.insert(0, f"${{{{ {before.text} }}}}")
        given: dict[str, Any] = {}
        if args:
            given["args"] = args
        if kwargs := _plain(signature.get("kwargs") or {}):
            given["kwargs"] = kwargs
        node = {"with": given or {"args": []}}
        return self._node(signature, node, before)

    def _node(
        self, signature: Mapping[str, Any], node: dict[str, Any], before: _Result | None
    ) -> _Result:
        name, options = str(signature.get("task")), signature.get("options") or {}
        id = self._id(name)
        needs = list(before.nodes) if before is not None else []
        if countdown := options.get("countdown"):
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


def _plain(value: Any) -> Any:
    """Plain data; a text that looks like an expression stays the text that it is."""
    if isinstance(value, str):
        return value.replace("${{", "$${{")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | range):
        return [_plain(item) for item in value]
    return value
