"""`uses` finds functions in allowed modules, and nothing else."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from flowcore.errors import NodeCancelledError, ResolveError
from flowcore.nodes.resolve import PlannedNodeError, RefusedError, forget, resolve
from flowcore.nodes.types.builtin import BUILTIN, PLANNED

MODULE = """
import os
import subprocess
from functools import partial
from os import system
from subprocess import run as launch

def fetch(url): return url

class Spec: pass

def registered(): return 1
registered.__flowcore__ = Spec()

class Tool:
    def __call__(self): return 2
    def method(self): return 3

tool = Tool()
bound = partial(fetch, "u")
smuggled = partial(os.system, "id")
evaluate = eval
LIMIT = 5
TABLE = {}
"""

STARTS = """import asyncio
from flowcore import Flow
flow = Flow("starts")
flow.add("only", "start")
flow.run()
def f(): return 1
"""


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user, on the path for one test."""
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "web.py").write_text(MODULE)
    (package / "broken.py").write_text("x = 1\nraise RuntimeError('no licence')\n")
    (package / "quits.py").write_text("import sys\nsys.exit(3)\n")
    (package / "typo.py").write_text("x = 1\ndef f(:\n")
    (package / "starts.py").write_text(STARTS)
    (package / "starts_async.py").write_text(
        STARTS.replace("flow.run()", "asyncio.run(flow.arun())")
    )
    (package / "lacks.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield package
    forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["fetch", "tool", "tool.method", "bound", "Tool", "registered"])
def test_callables_of_user_modules_are_found(name: str) -> None:
    found = resolve(f"acme.web:{name}")
    assert callable(found.function)
    assert not found.builtin


def test_the_built_in_types_are_found_by_name() -> None:
    for name, function in BUILTIN.items():
        found = resolve(name)
        assert found.function is function
        assert found.builtin


def test_a_registered_node_carries_its_spec() -> None:
    assert type(resolve("acme.web:registered").spec).__name__ == "Spec"
    assert resolve("acme.web:fetch").spec is None


@pytest.mark.parametrize(
    "uses",
    [
        "os:system",
        "builtins:eval",
        "builtins:exec",
        "builtins:__import__",
        "subprocess:run",
        "posix:system",
        "shutil:rmtree",
        "importlib:import_module",
        "pickle:loads",
        "ctypes:CDLL",
        "code:interact",
        "os.path:join",
        "_posixsubprocess:fork_exec",
        "acme.web:os.system",
        "acme.web:subprocess.run",
        "acme.web:system",
        "acme.web:launch",
        "acme.web:evaluate",
        "acme.web:smuggled",
        "acme.web:fetch.__globals__.clear",
        "acme.web:__builtins__.get",
        "acme.web:__loader__.get_data",
        "acme.web:TABLE.update",
    ],
)
def test_the_standard_library_is_refused_however_it_is_reached(uses: str) -> None:
    with pytest.raises(RefusedError, match="is not allowed"):
        resolve(uses)


def test_a_refusal_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWCORE_ALLOWED_MODULES", raising=False)
    with pytest.raises(RefusedError) as error:
        resolve("os:system")
    assert str(error.value) == (
        "'os:system' is not allowed: 'os' belongs to Python's standard library "
        "(wrap it in a function of your own; or allow it, in pyproject.toml below "
        '[project.entry-points."flowcore.nodes"]: os = "os", '
        "or in the environment: FLOWCORE_ALLOWED_MODULES=os)"
    )


def test_allowed_modules_are_the_only_ones() -> None:
    assert resolve("math:sqrt", allowed=["math"]).function(9) == 3
    assert resolve("acme.web:fetch", allowed={"acme"}).function("u") == "u"
    with pytest.raises(RefusedError, match=r"'acme\.web' is not one of the allowed modules"):
        resolve("acme.web:fetch", allowed=["math"])
    with pytest.raises(RefusedError):
        resolve("acmeevil:fetch", allowed=["acme"])


def test_a_module_that_is_not_allowed_is_not_imported() -> None:
    with pytest.raises(RefusedError):
        resolve("acme.quits:anything", allowed=["other"])
    assert "acme.quits" not in sys.modules


def test_a_registered_node_is_allowed_once_its_module_is_imported() -> None:
    with pytest.raises(RefusedError):
        resolve("acme.web:registered", allowed=["other"])
    forget()
    __import__("acme.web")
    assert resolve("acme.web:registered", allowed=["other"]).function() == 1
    with pytest.raises(RefusedError):
        resolve("acme.web:fetch", allowed=["other"])


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        ("acme.web:fech", "module 'acme.web' has no 'fech' (did you mean 'fetch'?)"),
        ("acme.web:tool.metod", "'acme.web:tool.metod' has no 'metod' (did you mean 'method'?)"),
        ("acme.web:LIMIT", "'acme.web:LIMIT' is an int, which cannot be called"),
        ("acme.wob:fetch", "there is no module 'acme.wob' (is its directory on PYTHONPATH?)"),
        ("nowhere.at.all:f", "there is no module 'nowhere' (is its directory on PYTHONPATH?)"),
        (
            "acme.web.fetch",
            (
                "'acme.web.fetch' is neither a built-in node type nor of the form "
                "'module:callable' (did you mean 'acme.web:fetch'?)"
            ),
        ),
        (
            "pasthrough",
            (
                "'pasthrough' is neither a built-in node type nor of the form 'module:callable' "
                "(did you mean 'passthrough'?)"
            ),
        ),
        ("a b:c", "'a b:c' is neither a built-in node type nor of the form 'module:callable'"),
    ],
)
def test_what_is_not_there_is_named(uses: str, message: str) -> None:
    with pytest.raises(ResolveError) as error:
        resolve(uses)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("broken", "importing 'acme.broken' raised RuntimeError: no licence"),
        ("quits", "importing 'acme.quits' raised SystemExit: 3"),
        ("lacks", "importing 'acme.lacks' raised ModuleNotFoundError: No module named"),
        ("typo", "importing 'acme.typo' raised SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_raises_shows_its_last_line(module: str, message: str) -> None:
    with pytest.raises(ResolveError) as error:
        resolve(f"acme.{module}:f")
    assert str(error.value).startswith(message)
    assert f"{module}.py, line" in str(error.value)


@pytest.mark.parametrize("module", ["starts", "starts_async"])
def test_a_module_may_not_start_a_run_while_it_is_imported(module: str) -> None:
    with pytest.raises(ResolveError) as error:
        resolve(f"acme.{module}:f")
    assert f"module 'acme.{module}' starts a run while it is imported" in str(error.value)
    assert '__name__ == "__main__"' in str(error.value)


def test_a_script_that_parses_arguments_on_import_is_shown_by_its_own_line(acme: Path) -> None:
    text = (
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--n', required=True)\n"
        "args = parser.parse_args([])\n"
        "def f(): ...\n"
    )
    (acme / "script.py").write_text(text)
    with pytest.raises(ResolveError) as raised:
        resolve("acme.script:f")
    told = str(raised.value)
    assert told.startswith("importing 'acme.script' raised SystemExit: 2 (see ")
    assert f"{acme / 'script.py'}, line 4; what a script does belongs under if __name__" in told


def test_a_file_with_the_name_of_a_module_of_pythons_own_is_told_to_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("statistics")  # as a worker may have
    file = tmp_path / "statistics.py"
    file.write_text("def f(): ...\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with pytest.raises(ResolveError) as raised:
        resolve("statistics:f")
    assert str(raised.value) == (
        "'statistics:f' is not allowed: 'statistics' is a module of Python's standard library, "
        f"whose name your {file} has (rename that file)"
    )


def test_a_refused_import_shows_the_users_line() -> None:
    with pytest.raises(ResolveError, match=r"starts\.py, line 5"):
        resolve("acme.starts:f")


def test_a_failed_import_is_tried_again_and_a_missing_name_is_not(acme: Path) -> None:
    for uses in ("acme.broken:f", "acme.web:late"):
        with pytest.raises(ResolveError):
            resolve(uses)
    (acme / "broken.py").write_text("def f(): return 'mended'\n")
    sys.modules["acme.web"].late = lambda: 1  # type: ignore[attr-defined]
    assert resolve("acme.broken:f").function() == "mended"
    with pytest.raises(ResolveError):
        resolve("acme.web:late")
    forget()
    assert resolve("acme.web:late").function() == 1


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_later_types_are_planned(name: str) -> None:
    with pytest.raises(PlannedNodeError, match="is planned, not in this release"):
        resolve(name)


@pytest.mark.parametrize(
    ("name", "given", "output"),
    [
        ("start", {"upstream": 1}, 1),
        ("passthrough", {"upstream": 1}, 1),
        ("passthrough", {"upstream": 1, "a": 2}, {"a": 2}),
        ("end", {"upstream": [1]}, [1]),
        ("end", {"a": None}, {"a": None}),
    ],
)
def test_built_in_types_give_on_what_they_get(
    name: str, given: dict[str, Any], output: object
) -> None:
    assert BUILTIN[name](**given) == output


def test_a_sleeping_node_wakes_when_its_run_stops() -> None:
    ctx = SimpleNamespace(stopping=Event())
    assert BUILTIN["sleep"](seconds=0, ctx=ctx) is None
    ctx.stopping.set()
    with pytest.raises(NodeCancelledError):
        BUILTIN["sleep"](seconds=60, ctx=ctx)


def test_attributes_that_raise_are_a_users_trouble_in_a_sentence(acme: Path) -> None:
    """Of a module with ``__getattr__``, of a class with a property: both are code."""
    (acme / "lazy.py").write_text(
        "class Shop:\n"
        "    @property\n"
        "    def till(self): raise ValueError('no till')\n"
        "shop = Shop()\n"
        "def __getattr__(name):\n"
        "    if name == 'leave': raise SystemExit(3)\n"
        "    raise RuntimeError('no licence')\n"
    )
    for uses, said in (
        ("acme.lazy:missing", "RuntimeError: no licence"),
        ("acme.lazy:shop.till", "ValueError: no till"),
        ("acme.lazy:leave", "SystemExit: 3"),
    ):
        with pytest.raises(ResolveError, match=f"looking for '{uses}' raised {said}"):
            resolve(uses)
