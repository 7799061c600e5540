"""The wire number: one number for the form of messages, of notes and of stored runs.

In: the number that somebody else has written. Out: a sentence when it is not ours. Not here: the
forms themselves.

The rule: within one number every change adds (a new field with a default, a new kind of event that
old readers skip), so versions of flowcore with the same number work together. A change that an
older reader would get wrong raises ``WIRE`` by one, here and nowhere else; then clients and workers
of different numbers refuse each other in a sentence.
"""

__all__ = ["WIRE", "WIRE_BEFORE", "mismatch"]

WIRE = 2
"""What this version of flowcore reads and writes."""

WIRE_BEFORE = 1
"""The number of those that wrote none."""


def mismatch(who: str, number: int) -> str | None:
    """Return a sentence about somebody who speaks another number; None if it is ours.

    Args:
        who: Who it is, such as ``worker celery@host (process 12)``.
        number: Its wire number.
    """
    if number == WIRE:
        return None
    older = f"{who} is older" if number < WIRE else f"{who} is newer"
    return (
        f"{older} than this flowcore: wire number {number}, here {WIRE}; "
        f"run the same version of flowcore everywhere"
    )
