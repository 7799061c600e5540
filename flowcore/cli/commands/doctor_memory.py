"""Report of threads that wait for a summary: ``flowcore doctor`` and ``flowcore memory list``.

In: a session. Out: findings, a line. Not here: summarising (engine).
"""

import time
from collections.abc import Sequence

from flowcore.assembly.session import Session
from flowcore.cli.finding import Finding
from flowcore.errors import ServiceError
from flowcore.graph.diagnostic import clean
from flowcore.ports.memory import Unsummarised
from flowcore.types import format_duration

__all__ = ["check_summaries", "late_line"]

#: A summary may be under way for so long (s) before anybody is told.
_USUAL = 60.0

_SHOWN = 5
_MOST = 100


def check_summaries(session: Session) -> Finding:
    """Look at the threads that wait for their summary."""
    try:
        late = _late(session)
    except ServiceError as error:
        return Finding(check="summaries", status="fail", found=str(error))
    if not late:
        return Finding(check="summaries", status="ok", found="no thread waits for its summary")
    fix = "nothing is lost: it is made with the next message once the flow's summariser answers"
    return Finding(check="summaries", status="warn", found=_words(late), fix=fix)


def late_line(session: Session) -> str:
    """One line on the threads that wait for their summary; empty if none does."""
    late = _late(session)
    return f"waits for its summary: {_words(late)}" if late else ""


def _late(session: Session) -> list[Unsummarised]:
    now = time.time()
    found = session.runtime.memory.unsummarised(limit=_MOST)
    return [one for one in found if one.why or now - one.since > _USUAL]


def _words(late: Sequence[Unsummarised]) -> str:
    now = time.time()
    shown = "; ".join(
        f"thread {one.name!r} ({one.messages} messages) for "
        f"{format_duration(max(0.0, now - one.since))}, {one.tries} tries: "
        f"{one.why or 'the summariser has not answered'}"
        for one in late[:_SHOWN]
    )
    more = f"; and {len(late) - _SHOWN} more" if len(late) > _SHOWN else ""
    return clean(shown + more)
