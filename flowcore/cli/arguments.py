"""Flows and durations that are named on the command line.

In: words. Out: a plan and the directories of its modules; seconds. Not here: rules for flows
(check), a run's input (cli.inputs).
"""

import importlib
import os
import re
import sys
import traceback
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.check.check import check
from flowcore.cli.exit_codes import ThingNotFoundError
from flowcore.cli.files import is_there, read_stdin
from flowcore.engine.runs.deployments import find_flow
from flowcore.errors import UsageError
from flowcore.graph.builder import FlowBuilder
from flowcore.graph.document import Document
from flowcore.graph.load import load_file, load_text, load_tree
from flowcore.nodes.resolve import importing, where_raised
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.types import parse_duration

__all__ = [
    "FlowArgument",
    "ParsedFlow",
    "RunId",
    "importing_here",
    "read_flow",
    "read_object",
    "seconds",
]

FlowArgument = Annotated[
    str,
    typer.Argument(
        metavar="FLOW",
        help="A YAML or JSON file, '-' for stdin, or a Flow object: module:name, file.py[:name].",
        show_default=False,
    ),
]
RunId = Annotated[
    str,
    typer.Argument(metavar="RUN", help="The run's id, see 'flowcore list'.", show_default=False),
]

#: Names that a message lists.
_TOLD = 8

_OBJECT = re.compile(r"(?P<place>[^:]+):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
#: The address of a deployed flow: no path, and no name of a file.
_DEPLOYED = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(?:@[A-Za-z0-9_.\-]+)?(?<!\.yaml)(?<!\.yml)(?<!\.json)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFlow:
    """A definition that was read, and where the modules beside it are."""

    name: str
    document: Document | None
    """None of a flow that was deployed: only its plan is kept."""
    paths: tuple[Path, ...] = ()
    deployed: Plan | None = None

    def plan(self, *, resolve: bool = True) -> Plan:
        """Check and compile.

        Args:
            resolve: Also import what nodes use.

        Raises:
            DefinitionError: There are problems; shows all of them.
        """
        if self.deployed is not None or self.document is None:
            if self.deployed is None:
                raise UsageError(f"{self.name!r} has neither a definition nor a plan")
            return self.deployed
        Settings.from_env()  # what is wrong with a list of modules is told, and not passed over
        with _stdout_for_data():
            checked = check(self.document, resolve=resolve)
        return compile_plan(checked)


def read_flow(text: str) -> ParsedFlow:
    """Read what FLOW names, and make the modules beside it importable.

    Raises:
        DefinitionError: The file cannot be read as a definition.
        UsageError: The Flow object cannot be found.
    """
    if text == "-":
        _search(Path.cwd())
        return ParsedFlow(name="stdin", document=load_text(read_stdin(), name="stdin"))
    match = _OBJECT.fullmatch(text)
    if match and not is_there(text):
        return _object(text, match["place"], match["name"])
    if text.endswith(".py"):
        return _only_flow(text)
    if _DEPLOYED.fullmatch(text) and not is_there(text):
        return _deployed(text)
    # Not Path.resolve(), which raises upon links that lead to themselves.
    directory = Path(os.path.realpath(text)).parent
    _search(Path.cwd(), directory)
    return ParsedFlow(name=text, document=load_file(text), paths=(directory,))


def _deployed(address: str) -> ParsedFlow:
    """Find a flow that was deployed.

    Raises:
        ThingNotFoundError: There is neither such a file nor such a flow.
    """
    with Session() as session:
        runtime = session.runtime
        try:
            found = find_flow(runtime.flows, address)
        except UsageError as error:
            raise ThingNotFoundError(f"there is no file {address!r}, and {error}") from error
        plan = runtime.store.get_plan(found.plan)
    paths = tuple(map(Path, found.paths))
    _search(Path.cwd(), *paths)
    return ParsedFlow(name=address, document=None, paths=paths, deployed=plan)


def read_object(text: str) -> Any:
    """Import what ``module:name`` or ``file.py:name`` names.

    Raises:
        UsageError: There is no such module, file or name.
    """
    match = _OBJECT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not of the form module:name, such as shop.flows:nightly")
    found, _ = _found(text, match["place"], match["name"])
    if found is None:
        raise UsageError(f"{text} names nothing")
    return found


def _found(text: str, place: str, name: str) -> tuple[Any, tuple[Path, ...]]:
    """Import an object, or None; and where the modules beside it are."""
    found, paths = _module(text, place)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found, paths


def _module(text: str, place: str) -> tuple[Any, tuple[Path, ...]]:
    """Import the module that a place names, and say where the modules beside it are."""
    if place.endswith(".py"):
        file = Path(os.path.realpath(place))
        if not os.path.isfile(file):  # noqa: PTH113  (Path.is_file raises upon a long name)
            msg = f"there is no file {place!r}"
            raise UsageError(msg)
        paths: tuple[Path, ...] = (file.parent,)
        module = file.stem
    else:
        file, paths, module = None, (), place
    if not _MODULE.fullmatch(module):
        msg = f"{module!r} is not the name of a module; rename it or give a YAML or JSON file"
        raise UsageError(msg)
    # A script's own directory comes first for Python too.
    _search(*paths, Path.cwd())
    found: Any = _import(module, text)
    if file is not None and Path(getattr(found, "__file__", None) or "/").resolve() != file:
        msg = f"{place} has the name of another module ({found!r}); rename it"
        raise UsageError(msg)
    return found, paths


def _object(text: str, place: str, name: str) -> ParsedFlow:
    """Import a Flow object by ``module:name`` or ``file.py:name``."""
    found, paths = _found(text, place, name)
    if not isinstance(found, FlowBuilder):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        msg = f"{text} names {what}, not a Flow; make one with: {name} = Flow('my-flow')"
        raise UsageError(msg)
    document = getattr(found, "document", None)
    tree: Document = document() if document else load_tree(found.definition())
    return ParsedFlow(name=text, document=tree, paths=paths)


def _only_flow(text: str) -> ParsedFlow:
    """Import a script, and find the one Flow object that it has.

    Raises:
        UsageError: It has none, or several.
    """
    module, _ = _module(text, text)
    flows: dict[int, str] = {}
    for name, found in vars(module).items():
        if isinstance(found, FlowBuilder):
            flows.setdefault(id(found), name)  # one object may have several names
    names = list(flows.values())
    if not names:
        msg = f"{text} has no Flow object at its top level; make one with: flow = Flow('my-flow')"
        raise UsageError(msg)
    if len(names) > 1:
        known = ", ".join(names[:_TOLD])
        msg = f"{text} has {len(names)} Flow objects ({known}): say which, as {text}:{names[0]}"
        raise UsageError(msg)
    return _object(f"{text}:{names[0]}", text, names[0])


def _import(module: str, text: str) -> Any:
    """Import a user's module; whatever it raises is the user's to see, in one sentence."""
    try:
        with importing(module), _stdout_for_data():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            msg = f"{text}: there is no module {error.name!r} here; is its directory on PYTHONPATH?"
            raise UsageError(msg) from error
        _raised(module, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a user's module may raise anything)
        _raised(module, error)


def _raised(module: str, error: BaseException) -> NoReturn:
    last = traceback.format_exception_only(error)[-1].strip()
    msg = f"importing {module!r} raised {last} ({where_raised(error)})"
    raise UsageError(msg) from error


def _stdout_for_data() -> AbstractContextManager[object]:
    """Keep what a user's module prints while it is imported out of ``-o json``."""
    return redirect_stdout(sys.stderr)


def importing_here() -> AbstractContextManager[object]:
    """Let modules of the working directory be imported, and keep what they print out of data."""
    _search(Path.cwd())
    return _stdout_for_data()


def _search(*directories: Path) -> None:
    """Put directories first where Python looks for modules, in this order."""
    wanted = list(dict.fromkeys(map(str, directories)))
    sys.path[:] = [*wanted, *(entry for entry in sys.path if entry not in wanted)]
    importlib.invalidate_caches()


def seconds(text: str | None) -> float | None:
    """Read a duration such as ``30s``.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
