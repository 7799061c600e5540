"""A callable may be named if it is the user's own, or allowed, or declared; nothing else."""

import importlib
import importlib.abc
import importlib.util
import json
import re
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.check.check import check
from flowcore.engine.background.callbacks import find_callbacks
from flowcore.errors import UsageError
from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.graph.load import load_tree
from flowcore.nodes.permission import GROUP, SETTING
from flowcore.nodes.resolve import RefusedError, forget, resolve

BODY = "LOADED = True\ndef f(): return 'called'\n"

#: Modules that reach code, files or other processes; yaml stands for what pip installs.
POWERFUL = ("os", "subprocess", "builtins", "pickle", "shutil", "ctypes", "runpy", "yaml")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(SETTING, raising=False)
    before = set(sys.modules)
    forget()
    yield
    forget()
    for name in set(sys.modules) - before:
        if name.partition(".")[0].startswith("made_"):
            del sys.modules[name]


def _put(place: Path, name: str, body: str = BODY) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.py").write_text(body)


def _dist_info(place: Path, name: str, files: list[str], **more: str) -> None:
    about = place / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for key, text in more.items():
        (about / key.replace("_json", ".json").replace("_txt", ".txt")).write_text(text)


def _editable(project: Path) -> str:
    return json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})


def _refuses(uses: str) -> str:
    with pytest.raises(RefusedError, match="is not allowed") as error:
        resolve(uses)
    module = uses.partition(":")[0]
    if module.startswith("made_"):
        assert module not in sys.modules, "it was imported"
    return str(error.value)


# ── where a module lies ─────────────────────────────────────────────────────────────────────────


def test_modules_of_a_directory_on_the_path_are_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, "made_own")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("made_own:f").function() == "called"


@pytest.mark.parametrize(
    "place",
    ["lib/python3/site-packages", "lib/python3/dist-packages", ".venv/lib/python3/site-packages"],
)
def test_what_is_installed_is_refused_and_not_imported(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path / place, "made_lib")
    monkeypatch.syspath_prepend(tmp_path / place)
    assert "'made_lib' is an installed package" in _refuses("made_lib:f")


@pytest.mark.parametrize("records", [True, False])
def test_an_archive_is_what_it_holds(
    records: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("made_zipped.py", BODY)
        if records:
            made.writestr("zipped-1.dist-info/RECORD", "made_zipped.py,,\n")
    monkeypatch.syspath_prepend(archive)
    if records:
        _refuses("made_zipped:f")
    else:
        assert resolve("made_zipped:f").function() == "called"


def test_an_egg_among_the_installed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    egg = tmp_path / "site-packages" / "made.egg"
    egg.parent.mkdir()
    with zipfile.ZipFile(egg, "w") as made:
        made.writestr("made_egg.py", BODY)
    monkeypatch.syspath_prepend(egg)
    _refuses("made_egg:f")


def test_what_pip_puts_beside_the_users_modules_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, "made_target")
    _put(tmp_path, "made_beside")
    _dist_info(tmp_path, "target", ["made_target.py"])
    monkeypatch.syspath_prepend(tmp_path)
    _refuses("made_target:f")
    assert resolve("made_beside:f").function() == "called"


def test_an_editable_project_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metadata may lie beside it, or its modules be found by a finder of its installer."""
    _put(tmp_path / "src", "made_editable")
    _dist_info(tmp_path / "src", "e", ["made_editable.py"], direct_url_json=_editable(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "src")
    assert resolve("made_editable:f").function() == "called"

    _put(tmp_path / "project", "made_found")

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
            if name != "made_found":
                return None
            file = tmp_path / "project" / "made_found.py"
            return importlib.util.spec_from_file_location(name, file)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert resolve("made_found:f").function() == "called"


def test_a_checkout_that_pip_has_made_is_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    _put(tmp_path / "src" / "library", "made_checkout")
    _put(tmp_path / "src", "made_in_src")
    (tmp_path / "src" / "library" / ".git").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "src" / "library")
    monkeypatch.syspath_prepend(tmp_path / "src")
    _refuses("made_checkout:f")
    assert resolve("made_in_src:f").function() == "called"


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, cache, project = (tmp_path / name for name in ("site-packages", "cache", "project"))
    for place, name in ((cache, "made_cached"), (project, "made_linked"), (site, "made_real")):
        _put(place, name)
    (site / "made_cached.py").symlink_to(cache / "made_cached.py")
    (site / "made_linked.py").symlink_to(project / "made_linked.py")
    (project / "made_real.py").symlink_to(site / "made_real.py")
    _dist_info(site, "p", ["made_linked.py"], direct_url_json=_editable(project))
    monkeypatch.syspath_prepend(site)
    _refuses("made_cached:f")
    assert resolve("made_linked:f").function() == "called"
    monkeypatch.syspath_prepend(project)
    _refuses("made_real:f")


def test_each_part_of_a_namespace_counts_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path / "own" / "made_space", "mine")
    _put(tmp_path / "site-packages" / "made_space", "theirs")
    monkeypatch.syspath_prepend(tmp_path / "own")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert resolve("made_space.mine:f").function() == "called"
    _refuses("made_space.theirs:f")


def test_the_directory_of_commands_is_nobodys_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first on the path while a command such as 'flowcore' or 'celery' runs."""
    from flowcore.nodes.origin import Origin, origin_of_file

    scripts = Path(sys.executable).parent
    assert origin_of_file(str(scripts / "activate_this.py")) is Origin.INSTALLED


def test_a_module_without_a_file_is_refused() -> None:
    from types import ModuleType

    module = ModuleType("made_up")
    module.f = lambda: 1  # type: ignore[attr-defined]
    sys.modules["made_up"] = module
    with pytest.raises(RefusedError, match="no file is known of it"):
        resolve("made_up:f")


# ── what a callable comes from ──────────────────────────────────────────────────────────────────


def _callables(module: str) -> list[str]:
    found = importlib.import_module(module)
    return [
        name
        for name in dir(found)
        if not name.startswith("__") and callable(getattr(found, name)) and name.isidentifier()
    ]


@pytest.mark.parametrize("module", POWERFUL)
def test_no_callable_of_another_can_be_named_directly_or_through_ones_own(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = _callables(module)
    aliases = "\n".join(
        f"again_{name} = there.{name}\n"
        f"bound_{name} = functools.partial(functools.partial(there.{name}), 1)\n"
        f"cached_{name} = functools.wraps(there.{name})(lambda *a: there.{name}(*a))"
        for name in names
    )
    body = f"import functools\nimport {module}\nimport {module} as there\n{aliases}\n"
    _put(tmp_path, "made_through", body)
    monkeypatch.syspath_prepend(tmp_path)
    allowed = []
    for name in names:
        for uses in (
            f"{module}:{name}",
            f"made_through:{module}.{name}",
            f"made_through:there.{name}",
            f"made_through:again_{name}",
            f"made_through:bound_{name}",
            f"made_through:bound_{name}.func",
        ):
            try:
                resolve(uses)
                allowed.append(uses)
            except RefusedError:
                pass
    assert allowed == []
    assert names


@pytest.mark.parametrize(
    "uses",
    [
        "yaml:unsafe_load", "subprocess:run", "os:system", "builtins:eval", "pickle:loads",
        "made_mine:os.system", "made_mine:subprocess.run", "made_mine:Shell.communicate",
        "made_mine:Inner.run", "made_mine:where.joinpath", "made_mine:table.update",
        "made_mine:logged_run", "made_mine:Model.model_validate", "made_mine:json_loads",
        "flowcore.engine.memory.user_functions:call", "flowcore.nodes.types.http:http",
    ],
)  # fmt: skip
def test_every_way_to_a_foreign_callable_is_refused(
    uses: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
import functools, os, subprocess, json, pathlib, pydantic
class Shell(subprocess.Popen): pass
class Inner: run = staticmethod(subprocess.run)
class Model(pydantic.BaseModel): x: int = 1
where = pathlib.Path("/")
table = {}
json_loads = json.JSONDecoder().decode
@functools.wraps(subprocess.run)
def logged_run(*args): return subprocess.run(*args)
"""
    _put(tmp_path, "made_mine", body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RefusedError):
        resolve(uses)


@pytest.mark.parametrize(
    "name",
    ["plain", "wrapped", "remembered", "Tool", "tool", "tool.method", "Tool.made", "part", "Sub"],
)
def test_the_users_own_may_be_dressed_by_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(
        tmp_path / "site-packages",
        "made_decorators",
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n"
        "    def inner(*a): return f(*a)\n    return inner\n",
    )
    body = """
import functools, subprocess
from made_decorators import deco
def plain(): pass
@deco
@deco
def wrapped(): pass
@functools.cache
def remembered(): pass
class Tool:
    def __call__(self): pass
    def method(self): pass
    @classmethod
    def made(cls): pass
class Sub(subprocess.Popen): pass
tool = Tool()
part = functools.partial(tool.method)
"""
    _put(tmp_path, "made_dressed", body)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path)
    assert callable(resolve(f"made_dressed:{name}").function)


def test_a_function_that_only_says_that_it_is_the_users_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path / "site-packages", "made_liar", "def g(): pass\ng.__module__ = 'made_home'\n")
    _put(tmp_path, "made_home", "from made_liar import g\ndef f(): pass\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve("made_home:f").uses
    with pytest.raises(RefusedError, match="'made_liar' is an installed package"):
        resolve("made_home:g")


# ── what allows a module ────────────────────────────────────────────────────────────────────────


def _lines(refusal: str) -> tuple[str, str]:
    """The line for pyproject.toml and the one for the environment, as they are printed."""
    found = re.search(r"below (\[.*?\]): (.+?), or in the environment: (\S+?)\)?$", refusal)
    assert found, refusal
    return f"{found[1]}\n{found[2]}", found[3]


@pytest.mark.parametrize("name", ["made_lib", "made_pack.inner"])
def test_each_of_the_two_printed_lines_allows_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    _put(site, "made_lib")
    _put(site / "made_pack", "__init__", "")
    _put(site / "made_pack", "inner")
    monkeypatch.syspath_prepend(site)
    pyproject, environment = _lines(_refuses(f"{name}:f"))

    key, _, value = environment.partition("=")
    monkeypatch.setenv(key, value)
    assert resolve(f"{name}:f").function() == "called"
    monkeypatch.delenv(key)
    with pytest.raises(RefusedError):
        resolve(f"{name}:f")

    declared = tomllib.loads(pyproject)["project"]["entry-points"][GROUP]
    text = f"[{GROUP}]\n" + "".join(f"{key} = {value}\n" for key, value in declared.items())
    _dist_info(site, "declares", [], entry_points_txt=text)
    importlib.invalidate_caches()
    forget()
    assert resolve(f"{name}:f").function() == "called"


def test_the_printed_line_keeps_what_is_allowed_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "acme, billing")
    assert f"{SETTING}=acme,billing,yaml" in _refuses("yaml:safe_load")


def test_what_is_allowed_adds_to_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put(tmp_path, "made_own")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(SETTING, "math,yaml")
    assert resolve("math:sqrt").function(9) == 3
    assert resolve("yaml:safe_load").function("[1]") == [1]
    assert resolve("made_own:f").function() == "called"
    with pytest.raises(RefusedError):
        resolve("os:system")


def test_marked_callables_count_once_their_module_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "from flowcore import agent, node\n@node\ndef marked(): return 1\n"
        "@agent('helper')\ndef helper(text): return text\ndef plain(): return 1\n"
    )
    _put(tmp_path / "site-packages", "made_marked", body)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    for name in ("marked", "helper", "plain"):
        _refuses(f"made_marked:{name}")
    importlib.import_module("made_marked")
    assert resolve("made_marked:marked").function() == 1
    assert resolve("made_marked:helper").function("x") == "x"
    with pytest.raises(RefusedError):
        resolve("made_marked:plain")


# ── wherever a callable is named ────────────────────────────────────────────────────────────────

END = {"uses": "end"}


def _trees(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Every place of a definition that names a callable."""
    named = {"uses": name}
    memory = {"type": "summary", "summarise_after": 2, "max_tokens": 9}
    return [
        ("uses", {"nodes": {"a": named}}),
        ("fallback", {"nodes": {"a": END | {"fallback": named}}}),
        ("second fallback", {"nodes": {"a": END | {"fallback": [{"value": 1}, named]}}}),
        ("undo", {"nodes": {"a": END | {"undo": named}}}),
        ("on_failure", {"nodes": {"a": END}, "on_failure": {"x": named}}),
        ("finally", {"nodes": {"a": END}, "finally": {"x": named}}),
        ("branches", {"nodes": {"a": {"uses": "parallel", "branches": {"x": named}}}}),
        ("flow", {"nodes": {"a": {"uses": "workflow", "flow": {"nodes": {"x": named}}}}}),
        ("for_each", {"nodes": {"a": END | {"for_each": named}}}),
        ("tools", {"nodes": {"a": END}, "config": {"tools": [name]}}),
        ("tools at the top", {"nodes": {"a": END}, "tools": [name]}),
        ("counter", {"nodes": {"a": END}, "memory": {"counter": name}}),
        ("summariser", {"nodes": {"a": END}, "memory": {**memory, "summariser": name}}),
        ("embed", {"nodes": {"a": END}, "memory": {"type": "vector", "embed": name}}),
    ]  # fmt: skip


@pytest.mark.parametrize("place", [place for place, _ in _trees("")])
@pytest.mark.parametrize("name", ["os:system", "yaml:unsafe_load"])
def test_a_foreign_callable_is_refused_wherever_it_is_named(name: str, place: str) -> None:
    tree = dict(_trees(name))[place]
    with pytest.raises(InvalidFlowError) as error:
        check(load_tree(tree))
    assert "FC221" in {found.code for found in error.value.diagnostics}


@pytest.mark.parametrize("place", [place for place, _ in _trees("")])
@pytest.mark.parametrize("given", [{"allowed": {"acme", "m"}}, {"announced": {"acme:f", "m:s"}}])
@pytest.mark.parametrize("name", ["os:system", "acmeevil:f", "not_here:f"])
def test_a_stranger_can_name_nothing_else_anywhere(
    name: str, given: dict[str, Any], place: str
) -> None:
    with pytest.raises(InvalidFlowError) as error:
        check(load_tree(dict(_trees(name))[place]), resolve=False, **given)
    assert {found.code for found in error.value.diagnostics} == {"FC221"}
    good = dict(_trees("acme:f"))[place]
    assert check(load_tree(good), resolve=False, **given).order


@pytest.mark.parametrize(
    ("name", "allowed", "is_good"),
    [
        ("os:system", {"acme"}, False),
        ("celery:shop.tasks.charge", {"acme"}, False),
        ("celery:shop.tasks.charge", {"shop"}, True),
        ("celery:acme.tasks.charge", {"acme"}, True),
        ("celery:charge", {"charge"}, True),
        ("celery:celery.backend_cleanup", {"celery"}, False),
        ("acme:f", {"acme"}, True),
        ("acme.deep.inside:C.method", {"acme.deep"}, True),
        ("acme:f.__globals__.clear", {"acme"}, False),
        ("acme:f", set(), False),
        ("end", set(), True),
        ("http", {"acme"}, True),
    ],
)
def test_by_name_alone_the_list_decides(name: str, allowed: set[str], is_good: bool) -> None:
    given = {"with": {"url": "http://acme.example"}} if name == "http" else {}
    tree = {"nodes": {"a": {"uses": name, **given}}}
    if is_good:
        assert check(load_tree(tree), resolve=False, allowed=allowed).order == ("a",)
        return
    with pytest.raises(InvalidFlowError, match="FC221"):
        check(load_tree(tree), resolve=False, allowed=allowed)


def test_what_workers_announce_can_be_named_and_is_not_imported() -> None:
    announced = {"acme.nodes:fetch", "celery:shop.add"}
    for name in announced:
        tree = {"nodes": {"a": {"uses": name}}}
        assert check(load_tree(tree), announced=announced).order == ("a",)
    with pytest.raises(InvalidFlowError, match=r"did you mean 'acme\.nodes:fetch'\?"):
        check(load_tree({"nodes": {"a": {"uses": "acme.nodes:fetsh"}}}), announced=announced)
    with pytest.raises(InvalidFlowError, match="FC221"):
        check(load_tree({"nodes": {"a": {"uses": "celery:shop.pay"}}}), announced=announced)


@pytest.mark.parametrize("given", [{"allowed": set()}, {"announced": set()}])
def test_a_strangers_sub_flow_is_no_file(given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "sub.yaml").write_text("nodes: {a: {uses: end}}")
    tree = {"nodes": {"a": {"uses": "workflow", "flow": str(tmp_path / "sub.yaml")}}}
    assert check(load_tree(tree), resolve=False).order
    with pytest.raises(InvalidFlowError, match="FC224"):
        check(load_tree(tree), resolve=False, **given)


def test_callbacks_are_named_under_the_same_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "class Audit:\n    def on_event(self, event): pass\n"
    from flowcore.run.callbacks import METHODS

    body = body.replace("on_event", next(iter(METHODS)))
    _put(tmp_path / "site-packages", "made_theirs", body)
    _put(tmp_path, "made_callbacks", body + "audit = Audit()\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_callbacks("made_callbacks:Audit")
    assert find_callbacks("made_callbacks:audit")
    with pytest.raises(UsageError, match=SETTING):
        find_callbacks("made_theirs:Audit")
    monkeypatch.setenv(SETTING, "made_theirs")
    assert find_callbacks("made_theirs:Audit")


def test_a_queue_that_no_live_worker_serves_is_refused_where_that_is_known() -> None:
    tree = {"nodes": {"a": END | {"queue": "gpu"}, "b": {"uses": "celery:x.y", "queue": "theirs"}}}
    assert check(load_tree(tree)).order
    assert check(load_tree(tree), announced={"celery:x.y"}, queues={"gpu"}).order
    with pytest.raises(InvalidFlowError, match=r"FC230: no live worker serves 'gpu'.*'gpus'\?"):
        check(load_tree(tree), queues={"gpus", "flowcore"})
    inside = {"nodes": {"a": {"uses": "parallel", "branches": {"b": END | {"queue": "gpu"}}}}}
    with pytest.raises(InvalidFlowError, match="FC230"):
        check(load_tree(inside), queues=set())
    with pytest.raises(InvalidFlowError, match="FC230"):
        check(load_tree({"nodes": {"a": END}, "defaults": {"queue": "gpu"}}), queues={"flowcore"})
