"""The look of each state: a sign, a sign in ASCII, a colour.

In: a state's name. Out: its look. Not here: drawing (live_view), writing colours (output).

The two tables name every member of ``RunState`` and ``NodeState``; a test holds that. A state that
they do not name, as a newer release may record one, has the look of the unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flowcore.run.status import NodeState, RunState

__all__ = ["NODE_LOOKS", "RUN_LOOKS", "UNKNOWN", "Look", "ansi", "look"]


@dataclass(frozen=True, slots=True)
class Look:
    """Style of one state on a terminal."""

    sign: str
    ascii: str
    """The sign for a terminal that has no Unicode."""
    colour: str
    """A name that rich knows."""


UNKNOWN = Look("?", "?", "dim")

NODE_LOOKS: Mapping[NodeState, Look] = {
    NodeState.PENDING: Look("·", ".", "dim"),
    NodeState.HELD: Look("‖", "=", "yellow"),
    NodeState.DISPATCHED: Look("○", "o", "cyan"),
    NodeState.RUNNING: Look("●", "*", "blue"),
    NodeState.RETRYING: Look("↻", "~", "yellow"),
    NodeState.WAITING: Look("◷", "w", "yellow"),
    NodeState.SUCCEEDED: Look("✔", "+", "green"),
    NodeState.FAILED: Look("✖", "x", "red"),
    NodeState.SKIPPED: Look("-", "-", "dim"),
    NodeState.CANCELLED: Look("⊘", "/", "magenta"),
}

RUN_LOOKS: Mapping[RunState, Look] = {
    RunState.PENDING: Look("·", ".", "dim"),
    RunState.RUNNING: Look("●", "*", "blue"),
    RunState.PAUSED: Look("‖", "=", "yellow"),
    RunState.STOPPING: Look("●", "*", "yellow"),
    RunState.SUCCEEDED: Look("✔", "+", "green"),
    RunState.FAILED: Look("✖", "x", "red"),
    RunState.CANCELLED: Look("⊘", "/", "magenta"),
}

#: Words of other tables: those of ``doctor``, of agents and of schedules.
_WORDS = {
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "live": "green",
    "dead": "red",
    "active": "green",
}

#: One code each, whatever the terminal's palette.
_CODES = {
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

_BY_NAME: Mapping[str, Look] = {
    **{state.value: found for state, found in RUN_LOOKS.items()},
    **{state.value: found for state, found in NODE_LOOKS.items()},
}
_COLOURS = {**{name: found.colour for name, found in _BY_NAME.items()}, **_WORDS}


def look(state: str) -> Look:
    """Return the look of a run's or node's state, by its name."""
    return _BY_NAME.get(state, UNKNOWN)


#: Escape codes of colours, by state.
ansi: Mapping[str, str] = {name: _CODES[colour] for name, colour in _COLOURS.items()}
