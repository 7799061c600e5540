"""WfFormat, the traces of WfCommons, as flows that sleep as long as the tasks once ran.

In: a parsed WfFormat document: schema 1.5 (tasks under ``workflow.specification``, runtimes under
``workflow.execution``) or an older one (both under ``workflow.tasks`` or ``workflow.jobs``).
Out: the raw tree of a definition. Not here: running it, writing it as YAML (graph.dump).

WfFormat: T. Coleman et al., "WfCommons: A framework for enabling scientific workflow research and
development", Future Generation Computer Systems 128 (2022).
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowcore.errors import DefinitionError, UsageError
from flowcore.types import format_duration

__all__ = ["WfFormatError", "convert", "critical_path_of", "read"]

_MOST_BYTES = 256 * 2**20
_MOST_NAMED = 5
_MOST_PROBLEMS = 50
_ID_LENGTH = 100
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]+")
#: Ids that ``check`` refuses: words that other readers of YAML take for values, and the names of
#: what expressions read.
_TAKEN = frozenset({"false", "inputs", "n", "no", "nodes", "null", "off", "on", "true", "y", "yes"})


class WfFormatError(DefinitionError):
    """A document is no WfFormat, or its workflow cannot be a flow; lists every problem."""

    code = "FC240"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems,)


@dataclass(slots=True, kw_only=True)
class _Task:
    """One task as the document has it."""

    id: str
    name: str
    parents: list[str]
    children: list[str]
    runtime: object
    """Seconds, as written; None where it is missing."""


@dataclass(slots=True)
class _Workflow:
    """Everything read so far, and the problems in it."""

    tasks: dict[str, _Task] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    before: dict[str, dict[str, None]] = field(default_factory=dict)
    """Predecessors of each task, each once, in the document's order."""
    untimed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raise when anything was wrong."""
        if not self.problems:
            return
        shown = self.problems[:_MOST_PROBLEMS]
        if hidden := len(self.problems) - len(shown):
            shown.append(f"… and {hidden} more problems")
        raise WfFormatError(shown)


def read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Read a WfFormat file.

    Args:
        path: A JSON file of at most 256 MiB.

    Returns:
        The document, for ``convert``.

    Raises:
        WfFormatError: It cannot be read, or is no JSON object.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise WfFormatError([f"{file}: cannot read the file: {error.strerror}"]) from None
    if len(data) > _MOST_BYTES:
        raise WfFormatError([f"{file}: larger than {_MOST_BYTES // 2**20} MiB"])
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WfFormatError([f"{file}: not JSON, so not WfFormat: {error}"]) from None
    if not isinstance(document, dict):
        raise WfFormatError([f"{file}: not WfFormat: expected a JSON object"])
    return document


def convert(document: Mapping[str, Any], *, critical_path: float | None = None) -> dict[str, Any]:
    """Make a flow of a WfFormat workflow: each task becomes a ``sleep``.

    Args:
        document: The parsed JSON.
        critical_path: Seconds that the longest path shall take; all runtimes are scaled by one
            factor. None: as long as the tasks once ran.

    Returns:
        The tree of a definition. Node ids are the tasks' ids, with other characters than
        letters, digits, ``_``, ``-`` and ``.`` replaced by ``_``. Tasks without a runtime take
        0 seconds, and the description says so.

    Raises:
        WfFormatError: It is no WfFormat, or its tasks name unknown parents, form a cycle or share
            an id; or its longest path takes no time and so cannot be scaled.
        UsageError: ``critical_path`` is not a positive number.
    """
    if critical_path is not None and not (0 < critical_path < math.inf):
        raise UsageError(
            f"the critical path must be a positive number of seconds, got {critical_path}"
        )
    workflow = _read_workflow(document)
    longest = critical_path_of(workflow.seconds, workflow.before)
    if critical_path is not None and longest == 0:
        what = "the longest path takes no time, so it cannot be scaled: no task on it has a runtime"
        raise WfFormatError([what])
    factor = 1.0 if critical_path is None else critical_path / longest
    ids = _node_ids(workflow.tasks)
    return {
        "id": _safe(str(document.get("name") or "")) or "wfformat",
        "description": _origin(document, workflow, longest, critical_path),
        "nodes": {
            ids[key]: _node(workflow.seconds[key] * factor, [ids[one] for one in before])
            for key, before in workflow.before.items()
        },
    }


def critical_path_of(seconds: Mapping[str, float], before: Mapping[str, Iterable[str]]) -> float:
    """Return the length of the longest path through an acyclic graph.

    Args:
        seconds: How long each node takes.
        before: Each node's predecessors.

    Returns:
        Seconds; 0 for a graph without nodes.
    """
    ends: dict[str, float] = {}
    for key in _order({key: list(sources) for key, sources in before.items()}):
        ends[key] = seconds[key] + max((ends[source] for source in before[key]), default=0.0)
    return max(ends.values(), default=0.0)


def _node(seconds: float, needs: list[str]) -> dict[str, Any]:
    # Nine digits say more than a clock can, and less than a float's noise.
    tree: dict[str, Any] = {"uses": "sleep", "with": {"seconds": float(f"{seconds:.9g}")}}
    if needs:
        tree["needs"] = needs
    return tree


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


def _read_workflow(document: Mapping[str, Any]) -> _Workflow:
    workflow = _Workflow()
    tasks, runs = _layout(document)
    for index, raw in enumerate(tasks):
        _read_task(workflow, index, raw)
    workflow.refuse()
    _read_runs(workflow, runs)
    for key, task in workflow.tasks.items():
        workflow.seconds[key] = _seconds(workflow, task)
    _connect(workflow)
    workflow.refuse()
    _refuse_cycle(workflow)
    return workflow


def _layout(document: object) -> tuple[Sequence[Any], Sequence[Any]]:
    """Find the tasks, and the records of their execution where those are apart."""
    body = document.get("workflow") if isinstance(document, Mapping) else None
    if not isinstance(body, Mapping):
        raise WfFormatError(["not WfFormat: there is no 'workflow' object"])
    specification, execution = body.get("specification"), body.get("execution")
    if isinstance(specification, Mapping):
        tasks, where = specification.get("tasks"), "workflow.specification.tasks"
        runs = execution.get("tasks", ()) if isinstance(execution, Mapping) else ()
    else:
        old = "jobs" if "jobs" in body and "tasks" not in body else "tasks"
        tasks, where, runs = body.get(old), f"workflow.{old}", ()
    if not isinstance(tasks, list):
        what = f"not WfFormat: '{where}' is not a list of tasks"
        raise WfFormatError([what])
    if not tasks:
        raise WfFormatError([f"'{where}' is empty: a flow needs at least one node"])
    if not isinstance(runs, list | tuple):
        raise WfFormatError(["not WfFormat: 'workflow.execution.tasks' is not a list"])
    return tasks, runs


def _read_task(workflow: _Workflow, index: int, raw: object) -> None:
    if not isinstance(raw, Mapping):
        workflow.problems.append(f"task {index + 1} is not an object")
        return
    key = raw.get("id") or raw.get("name")
    if not isinstance(key, str):
        workflow.problems.append(f"task {index + 1} has neither 'id' nor 'name'")
        return
    if key in workflow.tasks:
        workflow.problems.append(f"two tasks have the id {key!r}")
        return
    name, links = raw.get("name"), {}
    for side in ("parents", "children"):
        given = raw.get(side) or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            workflow.problems.append(f"task {key!r}: '{side}' is not a list of ids")
            given = []
        links[side] = given
    workflow.tasks[key] = _Task(
        id=key,
        name=name if isinstance(name, str) else key,
        parents=links["parents"],
        children=links["children"],
        runtime=_first(raw, "runtimeInSeconds", "runtime"),
    )


def _read_runs(workflow: _Workflow, runs: Sequence[Any]) -> None:
    """Take the runtimes of schema 1.5."""
    seen: set[str] = set()
    for raw in runs:
        key = raw.get("id") if isinstance(raw, Mapping) else None
        if not isinstance(key, str) or key not in workflow.tasks:
            continue  # it ran, but is no part of the workflow
        if key in seen:
            workflow.problems.append(f"the execution has two records of task {key!r}")
        seen.add(key)
        workflow.tasks[key].runtime = _first(raw, "runtimeInSeconds", "runtime")


def _first(raw: Mapping[str, Any], *names: str) -> object:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _seconds(workflow: _Workflow, task: _Task) -> float:
    given = task.runtime
    if given is None:
        workflow.untimed.append(task.id)
        return 0.0
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if isinstance(given, int | float) and number and 0 <= given < math.inf:
        return float(given)
    workflow.problems.append(f"task {task.id!r}: {given!r} is not a runtime in seconds")
    return 0.0


# ── Connecting ──────────────────────────────────────────────────────────────────────────────────


def _connect(workflow: _Workflow) -> None:
    """Join what tasks say of their parents with what they say of their children."""
    named: dict[str, list[str]] = {}
    for key, task in workflow.tasks.items():
        named.setdefault(task.name, []).append(key)
    before = workflow.before = {key: {} for key in workflow.tasks}
    for key, task in workflow.tasks.items():
        for side, given in (("parent", task.parents), ("child", task.children)):
            for one in given:
                other = _find(workflow, named, key, side, one)
                if other is not None:
                    source, target = (other, key) if side == "parent" else (key, other)
                    before[target][source] = None


def _find(
    workflow: _Workflow, named: Mapping[str, list[str]], key: str, side: str, one: str
) -> str | None:
    """Find a task by its id or, as older schemas do, by its name."""
    if one in workflow.tasks:
        return one
    found = named.get(one, [])
    if len(found) == 1:
        return found[0]
    why = f"is the name of {len(found)} tasks; use an id" if found else "is not in the workflow"
    workflow.problems.append(f"task {key!r}: its {side} {one!r} {why}")
    return None


def _order(before: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes so that each stands after its predecessors; those of cycles are left out."""
    waiting = {key: len(sources) for key, sources in before.items()}
    after: dict[str, list[str]] = {key: [] for key in before}
    for key, sources in before.items():
        for source in sources:
            after[source].append(key)
    ready = [key for key, count in waiting.items() if not count]
    for key in ready:  # grows while it is walked
        for target in after[key]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return ready


def _refuse_cycle(workflow: _Workflow) -> None:
    ordered = set(_order({key: list(before) for key, before in workflow.before.items()}))
    left = next((key for key in workflow.tasks if key not in ordered), None)
    if left is None:
        return
    # Whoever is left has a predecessor that is left: walking back must come round.
    walk: dict[str, None] = {}
    while left not in walk:
        walk[left] = None
        left = next(source for source in workflow.before[left] if source not in ordered)
    path = list(walk)[list(walk).index(left) :]
    shown = [left, *reversed(path)]
    if len(shown) > 2 * _MOST_NAMED:
        shown[_MOST_NAMED:-_MOST_NAMED] = ["…"]
    raise WfFormatError([f"a cycle: {' -> '.join(shown)}"])


# ── Naming ──────────────────────────────────────────────────────────────────────────────────────


def _safe(text: str) -> str:
    """Replace what an id may not hold."""
    return _FOREIGN.sub("_", text).lstrip(".-")[:_ID_LENGTH]


def _node_ids(tasks: Iterable[str]) -> dict[str, str]:
    """Give each task a node id; ids that are fine as they are stay."""
    safe = {key: _safe(key) or "task" for key in tasks}
    chosen = {key: id for key, id in safe.items() if id == key and id.lower() not in _TAKEN}
    used = set(chosen.values())
    for key, id in safe.items():
        if key in chosen:
            continue
        free, count = id, 1
        while free in used or free.lower() in _TAKEN:
            count += 1
            free = f"{id[: _ID_LENGTH - 8]}_{count}"
        chosen[key] = free
        used.add(free)
    return chosen


def _origin(
    document: Mapping[str, Any], workflow: _Workflow, longest: float, critical_path: float | None
) -> str:
    """Say in sentences where the flow comes from and what was done to it."""
    schema, name = document.get("schemaVersion"), document.get("name")
    which = f"WfFormat {schema}" if isinstance(schema, str) else "WfFormat"
    whose = f"workflow {name!r}" if isinstance(name, str) else "a workflow without a name"
    count = len(workflow.tasks)
    said = [f"Imported from {which}: {whose}, {count} tasks that sleep as long as they once ran."]
    if critical_path is not None:
        was, now = format_duration(longest), format_duration(critical_path)
        said.append(f"Scaled so that the longest path takes {now} instead of {was}.")
    if workflow.untimed:
        named = ", ".join(workflow.untimed[:_MOST_NAMED])
        more = ", …" if len(workflow.untimed) > _MOST_NAMED else ""
        said.append(
            f"Without a runtime, and so taking 0 s: {len(workflow.untimed)} ({named}{more})."
        )
    return " ".join(said)
