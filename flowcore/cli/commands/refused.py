"""``flowcore list --refused``: messages that no worker would take.

In: what workers have kept aside. Out: rows, latest first; or nothing is left of them.
"""

from flowcore.assembly.session import Session
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.output import Format, iso, note, note_damage, show_object, show_rows

__all__ = ["list_refused"]

_COLUMNS = {
    "time": "REFUSED",
    "queue": "QUEUE",
    "reason": "REASON",
    "message": "MESSAGE",
}

#: Characters of a message in a table; ``-o json`` shows all that is kept.
_SHOWN = 80


def list_refused(limit: int, *, drop: bool, quiet: bool, output: Format) -> int:
    """List refused messages, or forget them.

    Args:
        limit: At most so many.
        drop: Forget them.
        quiet: No hints.
        output: Form of the data.
    """
    with Session() as session:
        refusals = session.runtime.refusals
        if drop:
            count = refusals.drop()
            show_object(output, {"dropped": count}, f"forgot {count} refused messages\n")
            return ExitCode.OK
        count, found = refusals.count(), refusals.latest(limit=limit)
    note_damage(found, "refused messages")
    rows = [
        {
            "time": iso(one.time),
            "queue": one.queue,
            "reason": one.reason,
            "message": one.shown,
            "worker": one.worker,
        }
        for one in found
    ]
    if output is not Format.TABLE:
        show_rows(output, rows, _COLUMNS)
        return ExitCode.OK
    if not rows:
        note("no message was refused", quiet=quiet)
        return ExitCode.OK
    for row in rows:
        row["message"] = str(row["message"])[:_SHOWN]
    show_rows(output, rows, _COLUMNS)
    note(f"{count} refused\nnext: flowcore list --refused -o json, or with --drop", quiet=quiet)
    return ExitCode.OK
