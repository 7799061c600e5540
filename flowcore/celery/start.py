"""The start of a Celery worker: its name, the modules it finds, what Celery's command line says.

In: Celery's command line. Out: a name that no other worker has, the working directory on Python's
path, a user's modules imported. Not here: the worker itself (gate.consumer), its settings
(assembly).
"""

import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import click

from flowcore.celery.node_names import unique_name

__all__ = [
    "find_modules_here",
    "import_modules",
    "is_celery_command",
    "name_of_worker",
]


def is_celery_command() -> bool:
    """Tell whether this process is a ``celery`` command, so that errors are for a terminal."""
    context = click.get_current_context(silent=True)
    return context is not None and context.find_root().command.name == "celery"


def name_of_worker(given: str | None) -> str:
    """Return the name that somebody gave, or a unique one.

    Celery's command line gives each worker of a host the same name unless told otherwise.
    """
    context = click.get_current_context(silent=True)
    if context is not None and "hostname" in context.params:
        source = context.get_parameter_source("hostname")
        if source is click.core.ParameterSource.DEFAULT:
            return unique_name()
    return given or unique_name()


def find_modules_here() -> None:
    """Put the working directory on Python's path, for good.

    Celery has it there while it looks for the app, and then takes one entry of it away; so an
    entry that is there already is no reason not to add one.
    """
    sys.path.insert(0, str(Path.cwd()))


def import_modules(names: Iterable[str]) -> None:
    """Import a user's modules.

    Raises:
        SystemExit: One cannot be imported, and this is a command; the sentence says where.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # Whatever a module does while it is imported: a script may even end its process.
            if not is_celery_command():
                raise
            raise SystemExit(_sentence(name, error)) from None


def _sentence(name: str, error: BaseException) -> str:
    # Where we and Python import tells nothing, nor what the error says itself.
    places = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if each.filename not in {__file__, importlib.__file__} and each.filename[0] != "<"
    ]
    tells = places and not isinstance(error, SyntaxError)
    where = f" ({places[-1].filename}, line {places[-1].lineno})" if tells else ""
    return (
        f"flowcore: cannot import the nodes of {name!r}: {type(error).__name__}: {error}{where}; "
        f"modules are looked for in {Path.cwd()} and on Python's path"
    )
