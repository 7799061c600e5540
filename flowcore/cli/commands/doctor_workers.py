"""The checks of ``flowcore doctor`` that are about workers.

In: a session. Out: findings: who is there, and who is of another version. Not here: servers
(doctor).
"""

from collections.abc import Iterator, Sequence

from flowcore.assembly.session import Session
from flowcore.cli.finding import Finding
from flowcore.errors import ServiceError
from flowcore.graph.diagnostic import clean
from flowcore.ports.workers import WorkerInfo

__all__ = ["check_cards", "check_notes", "check_refusals", "check_workers"]

#: Workers that have a row of their own; of more only the number is told.
_SHOWN = 20


def check_workers(session: Session) -> Iterator[Finding]:
    """Look at the live workers."""
    try:
        notes = session.runtime.board.workers()
    except ServiceError as error:
        yield Finding(check="workers", status="fail", found=str(error))
        return
    if warning := notes.warning("notes"):
        fix = "no worker of this release wrote them: HDEL fc:workers NAME"
        yield Finding(check="workers", status="warn", found=clean(warning), fix=fix)
    if notes:
        yield from check_notes(notes)
    elif session.embedded:
        found = "none now: 'flowcore run' and 'flowcore submit' start them"
        yield Finding(check="workers", status="ok", found=found)
    else:
        fix = "flowcore worker, where the flows' modules are"
        yield Finding(check="workers", status="warn", found="no live worker", fix=fix)


def check_cards(session: Session) -> Iterator[Finding]:
    """Look at the cards of agents, if any cannot be read."""
    try:
        notes = session.runtime.agents.caller.directory.agents()
    except ServiceError as error:
        yield Finding(check="agents", status="fail", found=str(error))
        return
    if warning := notes.warning("cards"):
        fix = "no worker of this release wrote them; those of live agents are written again"
        yield Finding(check="agents", status="warn", found=clean(warning), fix=fix)


def check_notes(notes: Sequence[WorkerInfo]) -> Iterator[Finding]:
    """Judge what workers say about themselves: a row for each."""
    for note in notes[:_SHOWN]:
        yield _worker(note)
    if more := notes[_SHOWN:]:
        yield Finding(check="workers", status="ok", found=f"{len(more)} more")
    for note in more:
        if note.mismatch():
            yield _worker(note)


def check_refusals(session: Session) -> Finding:
    """Count the messages that no worker would take."""
    try:
        refusals = session.runtime.refusals
        count, latest = refusals.count(), refusals.latest(limit=1)
    except ServiceError as error:
        return Finding(check="messages", status="fail", found=str(error))
    if not count:
        return Finding(check="messages", status="ok", found="none was refused")
    last = f", the last on {latest[0].queue or '?'}: {latest[0].reason}" if latest else ""
    return Finding(
        check="messages",
        status="warn",
        found=f"{count} refused{last}",
        fix="'flowcore list --refused' shows them, with --drop it forgets them",
    )


def _worker(note: WorkerInfo) -> Finding:
    if sentence := note.mismatch():
        fix = "install the same version of flowcore everywhere: nothing is submitted before that"
        return Finding(check="workers", status="fail", found=sentence, fix=fix)
    facts = [
        f"process {note.pid}",
        f"{note.pool} {note.concurrency}",
        f"queues {', '.join(note.queues)}",
        *([f"flowcore {note.version}"] if note.version else ()),
        *(f"{name} {version}" for name, version in sorted(note.engines.items())),
        *([f"{note.memory / 2**20:.0f} MiB"] if note.memory else ()),
    ]
    found = f"{note.name}: {'; '.join(facts)}"
    if not note.stuck:
        return Finding(check="workers", status="ok", found=found)
    # Prefork ends such nodes; in other pools nobody can.
    found += f"; {note.stuck} of {note.concurrency} slots stuck"
    fix = (
        "start this worker again: nodes that were given up do not end; the pool 'prefork' ends them"
    )
    return Finding(check="workers", status="warn", found=found, fix=fix)
