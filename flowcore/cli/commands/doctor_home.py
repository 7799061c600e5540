"""``flowcore doctor`` on the data directory: can what runs need be written there?

In: settings. Out: a finding. Not here: other checks (doctor).

What may be written is tried: permissions say nothing of a file system that is read-only or full, or
of the superuser's rights in a container.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flowcore.assembly.settings import Settings
from flowcore.cli.finding import Finding

__all__ = ["check_home"]

#: What is made in it: the embedded server's data, logs of local workers, large values.
_PARTS = ("valkey", "logs", "payloads")


def check_home(settings: Settings) -> Finding:
    """Judge the data directory, or the place where it would be made."""
    home = settings.home
    for place in _written(home):
        if why := _refusal(place):
            fix = f"make {place} writable, or set FLOWCORE_HOME"
            found = f"{home} cannot be used: {place}: {why}"
            return Finding(check="data directory", status="fail", found=found, fix=fix)
    open_to_others = home.exists() and home.stat().st_mode & 0o077
    return Finding(
        check="data directory",
        status="warn" if open_to_others else "ok",
        found=f"{home}" + (" can be read by others" if open_to_others else ""),
        fix=f"chmod 700 {home}" if open_to_others else "",
    )


def _written(home: Path) -> Iterator[Path]:
    """The directories that are there and are written to."""
    place = home
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    yield place
    if place == home:
        yield from (part for name in _PARTS if os.path.lexists(part := home / name))


def _refusal(place: Path) -> str:
    """Why a file cannot be made in a directory; empty, if it can."""
    try:
        with tempfile.TemporaryFile(dir=place) as probe:
            probe.write(b"flowcore")
            probe.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""
