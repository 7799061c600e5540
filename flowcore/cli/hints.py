"""The next command to type: for every situation of a run, the commands that move it on.

In: a run's record, its plan, the questions inside. Out: lines of hints. Not here: when they are
shown (the commands).

A hint is a line ``next: COMMAND`` or ``  or: COMMAND``, perhaps with a word on it in parentheses;
the command can be copied as it stands.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flowcore.cli.child_runs import Question, questions_of
from flowcore.plan.plan import Plan
from flowcore.run.record import WORKER_LOST, RunRecord
from flowcore.run.status import RunState

__all__ = ["Hint", "answers_to", "command", "hint_lines", "next_steps", "top_node"]

#: Answers that are hinted at; 'status' shows all that there is to answer.
_MOST = 3


@dataclass(frozen=True, slots=True)
class Hint:
    """A command, and why to type it."""

    command: str
    why: str = ""


def command(*words: str) -> str:
    """Write a command of flowcore so that a shell reads these words."""
    return shlex.join(["flowcore", *words])


def hint_lines(hints: Iterable[Hint]) -> str:
    """Write hints, the first as what is next and the others as what else there is."""
    lines = []
    for number, hint in enumerate(hints):
        why = f"  ({hint.why})" if hint.why else ""
        lines.append(f"{'  or' if number else 'next'}: {hint.command}{why}")
    return "\n".join(lines)


def top_node(failed: str) -> str:
    """The node of the run itself that a failure is of: it may have been inside, as ``m[2]``."""
    return failed.partition("/")[0].partition("[")[0]


def next_steps(record: RunRecord, plan: Plan, inside: Sequence[Question] = ()) -> list[Hint]:
    """Say what may be done with a run, the most useful first.

    Args:
        record: The run.
        plan: Its plan.
        inside: Questions of the runs inside it.
    """
    run = record.id
    match record.state:
        case RunState.SUCCEEDED:
            return [Hint(command("inspect", run))]
        case RunState.FAILED:
            return _after_failure(record)
        case RunState.CANCELLED:
            return [
                Hint(command("resume", run), "continue where it was stopped"),
                Hint(command("rerun", run), "begin anew, as a new run"),
            ]
        case RunState.PAUSED:
            return [Hint(command("resume", run))]
        case RunState.STOPPING:
            return [Hint(command("watch", run))]
        case RunState.PENDING | RunState.RUNNING:
            asked = [*questions_of(plan, record.nodes.values()), *inside]
            return [*answers_to(run, asked), Hint(command("watch", run))]


def answers_to(run: str, questions: Iterable[Question]) -> list[Hint]:
    """Say how to answer what the nodes of a run wait for.

    Args:
        run: The outermost run, to which answers are given.
        questions: What is asked.
    """
    hints: dict[str, Hint] = {}
    for question in questions:
        if question.signal is None:
            line = command("approve", run, question.path)
            hint = Hint(line, "or with --reject")
        else:
            line = command("signal", run, question.signal)
            hint = Hint(line, "with -i KEY=VALUE for what goes with it")
        hints.setdefault(line, hint)
    return list(hints.values())[:_MOST]


def _after_failure(record: RunRecord) -> list[Hint]:
    run, error = record.id, record.error
    failed = error.node if error is not None else None
    if failed is None:
        return [
            Hint(command("inspect", run)),
            Hint(command("resume", run), "what has succeeded is kept"),
            Hint(command("rerun", run), "begin anew, as a new run"),
        ]
    top = top_node(failed)
    again = Hint(command("resume", run), "once it is mended: what has succeeded is kept")
    if error is not None and error.code == WORKER_LOST.code and top == failed:
        again = Hint(command("requeue", run, top), "once it is mended: its losses count anew")
    place = [f"{run}/{failed}"]
    if top == failed and top in record.nodes and record.nodes[top].child is not None:
        place = [run, "--node", failed]  # the run that it has started may have that id
    hints = [
        Hint(command("inspect", *place), "its traceback"),
        Hint(command("logs", *place), "what it said"),
        again,
    ]
    if top in record.nodes:
        why = f"from {top} on, as a new run; -i changes the input"
        hints.append(Hint(command("rerun", run, "--from", top), why))
    return hints
