"""Places in the code where a process of the campaign kills itself, when told to.

In: the name of a place. Out: at most one dead process for each time it was armed, and a file that
says which. Told by files, because Redis is one of the things that fail.
"""

import json
import os
import signal
from pathlib import Path

__all__ = ["DIRECTORY", "POINTS", "CrashPoints", "pass_by"]

#: Names the directory in a worker's environment.
DIRECTORY = "FAULTS_CRASHES"

POINTS = {
    "popped": "between BRPOP and the record of it",
    "claimed": "after the claim",
    "unsettled": "before the settle",
    "unpublished": "after the settle, before the publish",
    "emitted": "in the middle of a node's events",
    "started": "after a node has started a run, before it waits for that",
    "woken": "while a node looks at what has come of a run that it has started",
}


class CrashPoints:
    """The campaign's side: arms places and hears of the dead."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def arm(self, point: str) -> None:
        """Let the next process that passes by die."""
        (self.directory / point).touch()

    def disarm(self, point: str) -> None:
        """Let nobody die any more."""
        (self.directory / point).unlink(missing_ok=True)

    def hit(self, point: str) -> dict[str, str] | None:
        """Return who died there, once; None while nobody has."""
        for file in self.directory.glob(f"{point}.hit.*"):
            text = file.read_text("utf-8")
            if text:
                file.unlink()
                found: dict[str, str] = json.loads(text)
                return found
        return None


def pass_by(point: str, what: object) -> None:
    """Die here if the point is armed; the renaming makes sure that only one process does."""
    directory = os.environ.get(DIRECTORY)
    if not directory:
        return
    hit = Path(f"{directory}/{point}.hit.{os.getpid()}")
    try:
        Path(f"{directory}/{point}").rename(hit)
    except FileNotFoundError:
        return
    hit.write_text(json.dumps({"pid": str(os.getpid()), "what": str(what)}), "utf-8")
    os.kill(os.getpid(), signal.SIGKILL)
