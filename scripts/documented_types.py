"""Check the types of all Python that README, docs and examples show, as their readers would.

In: nothing. Out: the exit code 1 if mypy --strict or pyright (strict) has anything to say. A
fragment is checked with the imports that it leaves out, and with stand-ins for names of its
reader's own program. Not here: whether examples run (tests).
"""

import ast
import builtins
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import flowcore

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```", re.DOTALL | re.MULTILINE)

#: Names of a reader's own program in fragments, as a stub of a module.
_STAND_INS = """
from collections.abc import Callable
from typing import Any, TypeVar
from flowcore import Callbacks, Flow, Run

F = TypeVar("F")

class App:
    control: Any
    def get(self, path: str) -> Callable[[F], F]: ...

class Request:
    headers: dict[str, str]

class Response:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class StreamingResponse(Response): ...

app: App
callbacks: Callbacks
data: dict[str, Any]
flow: Flow
handle: Run
id: str
model: Any
u: str
def embed(text: str) -> list[float]: ...
def last_price(item: str) -> int: ...
async def notify(*args: Any, **kwargs: Any) -> None: ...
"""
_KNOWN = frozenset(
    re.findall(r"^(?:class |def |async def )?(\w+)(?=[:(])", _STAND_INS, re.MULTILINE)
)

#: Without types of their own: pyright knows nothing of what comes from them.
_UNTYPED = {"django_app.py"}

#: Tests, whose functions nobody annotates: checked as both checkers do by default.
_LOOSE = ("docs_how_to_testing",)

_CONFIG = {
    "pythonVersion": "3.11",
    # As docs/reference/python.md says: a chain is written for its effect.
    "reportUnusedExpression": "none",
    # A fragment shows what comes next, too, and loops without bodies.
    "reportUnusedImport": "none",
    "reportUnusedVariable": "none",
    # Other libraries', and the standard library's.
    "reportDeprecated": "none",
    "reportMissingTypeStubs": "none",
    "reportMissingImports": "none",
    "reportMissingModuleSource": "none",
    "reportUnknownArgumentType": "none",
    "reportUnknownMemberType": "none",
    "reportUnknownVariableType": "none",
}


def fragments(text: str) -> Iterator[tuple[int, str]]:
    """The Python blocks of a page, each with its line."""
    for match in _BLOCK.finditer(text):
        line = text[: match.start()].count("\n") + 2
        yield line, textwrap.dedent(match[2])


def whole(fragment: str) -> str:
    """A fragment as a module: with imports and stand-ins, in a coroutine where it awaits.

    Raises:
        NameError: It names something that nobody knows.
    """
    lines: list[str] = []
    try:
        compile(fragment, "fragment", "exec")
    except SyntaxError:
        fragment = "async def reader() -> None:\n" + textwrap.indent(fragment, "    ")
    for name in sorted(_missing(ast.parse(fragment))):
        if name in flowcore.__all__:
            lines.append(f"from flowcore import {name}")
        elif name in _KNOWN:
            lines.append(f"from stand_ins import {name}")
        elif name not in dir(builtins):
            raise NameError(name)
    return "\n".join(lines) + "\n" + fragment


def _missing(tree: ast.Module) -> set[str]:
    """The names that are read and never made; ``id`` is the reader's where nothing calls it."""
    made: set[str] = set()
    read: set[str] = set()
    called: set[str] = set()
    for part in ast.walk(tree):
        match part:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name):
                made.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                made.add(name)
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                made.add(name)
            case ast.alias(name=name, asname=other):
                made.add((other or name).partition(".")[0])
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            called.add(part.func.id)
    mine = {"id"} - called
    return {name for name in read - made if name in mine or name not in dir(builtins)}


def collect(place: Path) -> None:
    """Write everything that is shown below a directory."""
    (place / "stand_ins.pyi").write_text(_STAND_INS)
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = page.read_text()
        name = "_".join(page.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
        for line, fragment in fragments(text):
            try:
                module = whole(fragment)
            except NameError as error:
                msg = f"{page}:{line} names {error}: import it, or give it a stand-in here"
                raise SystemExit(msg) from None
            (place / f"{name}_line_{line}.py").write_text(module)
    for example in sorted((ROOT / "examples").rglob("*.py")):
        (place / example.name).write_text(example.read_text())


def main() -> int:
    """Check, and tell."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        collect(place)
        files = sorted(path.name for path in place.glob("*.py") if path.name not in _UNTYPED)
        loose = [name for name in files if name.startswith(_LOOSE)]
        strict = [name for name in files if name not in loose]
        fine = _check(place, strict, "strict")
        fine = _check(place, loose, "basic") and fine
    print(f"{len(files)} files")
    return 0 if fine else 1


def _check(place: Path, files: list[str], mode: str) -> bool:
    binaries = Path(sys.executable).parent
    cache = ROOT / ".mypy_cache" / f"documented-{mode}"
    # An ignored line may be about a library that is not here.
    options = ["--ignore-missing-imports", "--no-warn-unused-ignores", "--cache-dir", str(cache)]
    options += ["--strict"] if mode == "strict" else []
    mypy = [binaries / "mypy", *options, *files]
    config = {**_CONFIG, "typeCheckingMode": mode, "include": files}
    (place / "pyrightconfig.json").write_text(json.dumps(config))
    pyright = [binaries / "pyright", "--pythonpath", sys.executable, "--warnings"]
    codes = [
        subprocess.run(command, cwd=place, check=False, timeout=600).returncode
        for command in (mypy, [*pyright, "-p", "pyrightconfig.json"])
    ]
    return not any(codes)


if __name__ == "__main__":
    raise SystemExit(main())
