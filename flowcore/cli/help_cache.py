"""Help of commands, without importing them.

In: the words after ``flowcore``. Out: what ``--help`` shows. Not here: ``flowcore --help`` itself,
which imports nothing anyway (main).

A command's module takes half a second to import, most of it Celery and Redis, so what its help says
is kept in ``help.json``, as wide as it ever gets. ``python -m scripts.cli_help`` writes the file; a
test compares it with what the commands say.
"""

import json
import shutil
from collections.abc import Sequence
from importlib import resources

__all__ = ["FILE", "WIDTH", "stored_help"]

FILE = "help.json"
#: Columns of the help on every terminal that is no narrower.
WIDTH = 80


def stored_help(words: Sequence[str]) -> str | None:
    """The help that is asked for; None if it has to be worked out."""
    if len(words) < 2 or words[-1] != "--help" or shutil.get_terminal_size().columns < WIDTH:  # noqa: PLR2004
        return None
    texts = json.loads(resources.files("flowcore.cli").joinpath(FILE).read_text("utf-8"))
    found: str | None = texts.get(" ".join(words[:-1]))
    return found
