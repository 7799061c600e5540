"""The rules of the house that no linter holds."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import flowcore

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "flowcore").rglob("*.py"))
MAX_LINES = 400
HOMELESS = {"common", "helper", "helpers", "misc", "util", "utils"}

# Joined from halves, so that this file does not name what it looks for.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com")
MIRRORS = ("deb." + "debian.org", "crates" + ".io", "proxy." + "golang.org")
MACHINE_DIRECTORIES = ("farm", "root", "work")
FOREIGN = re.compile(
    "|".join(
        [
            *(re.escape(host) for host in REGISTRIES + MIRRORS),
            *(rf"(?<![\w.$}}~*-])/{name}/" for name in MACHINE_DIRECTORIES),
        ]
    )
)


def _inside(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _text_files() -> Iterator[tuple[Path, str]]:
    """What git tracks or would track, with its text; files that are not text are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        try:
            yield path, path.read_text("utf-8")
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
            continue


def test_a_module_fits_one_sitting() -> None:
    lengths = {_inside(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_module_has_a_home() -> None:
    homeless = [
        _inside(path)
        for path in MODULES
        if HOMELESS & {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
    ]
    assert homeless == []


def test_no_module_hides_an_import_from_the_running_program() -> None:
    hiding = [
        f"{_inside(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Name) and node.id == "TYPE_CHECKING")
        or (isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING")
    ]
    assert hiding == []


def test_every_public_name_resolves() -> None:
    missing = [name for name in flowcore.__all__ if not hasattr(flowcore, name)]
    assert missing == []
    assert len(set(flowcore.__all__)) == len(flowcore.__all__)
    assert set(flowcore.__all__) <= set(dir(flowcore)), "a lazy __getattr__ needs its __dir__"


def test_all_is_the_whole_public_namespace() -> None:
    public = {
        name
        for name, value in vars(flowcore).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", "flowcore").split(".")[0] == "flowcore"
    }
    assert public - set(flowcore.__all__) == set(), "list it in __all__ or give it an underscore"


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{_inside(path)}:{number}: {line.strip()[:80]}"
        for path, text in _text_files()
        for number, line in enumerate(text.splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert found == []


def test_a_lock_names_no_address_and_no_absolute_path() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert locks
    found = [
        f"{_inside(path)}:{number}: {line.strip()[:80]}"
        for path in locks
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"://|file:|(?<![\w.])/|--(?:extra-)?index|--find-links", line)
    ]
    assert found == []


def test_a_client_imports_nothing_of_celerys_worker_and_pools() -> None:
    script = "import sys, flowcore.backends.native; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    for name in ("celery.worker.strategy", "celery.worker.request", "billiard.pool", "re2"):
        assert name not in loaded
    assert not [name for name in loaded if name.startswith(("kombu.asynchronous", "jsonschema"))]


def test_an_import_of_flowcore_loads_nothing_of_it_that_nobody_asked_for() -> None:
    """Not for ``app`` either, which is what ``celery -A flowcore`` asks for."""
    script = "import sys, flowcore; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("flowcore")] == ["flowcore"]
    assert not {"celery", "kombu", "click", "redis", "pydantic"} & set(loaded)
    assert "app" not in dir(flowcore), "who looks at all names starts no server"
