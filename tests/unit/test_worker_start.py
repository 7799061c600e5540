"""What a worker imports when it starts, and how that is said when it cannot be."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.bin.celery import celery as celery_group

from flowcore.celery.start import find_modules_here, import_modules

MODULES = {
    "good_one": "WAS_HERE = True",
    "wanting_one": "\nimport nope_nope",
    "leaving_one": "raise SystemExit(3)",
    "wrong_one": "def f(:",
    "deep_one": "def f():\n    raise ValueError('deep down')\n\nf()",
    "mute_one": "raise RuntimeError",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    find_modules_here()
    return tmp_path


@pytest.fixture
def command() -> Iterator[None]:
    with celery_group.make_context("celery", ["--version"], resilient_parsing=True):
        yield


def test_the_working_directory_comes_first_and_stays_when_celery_takes_its_own_away(
    project: Path,
) -> None:
    sys.path.insert(0, str(project))  # as Celery does while it looks for the app
    find_modules_here()
    sys.path.remove(str(project))
    assert sys.path[0] == str(project)
    import_modules(["good_one"])
    assert sys.modules["good_one"].WAS_HERE


@pytest.mark.parametrize(
    ("name", "error", "where"),
    [
        ("nosuch_one", "ModuleNotFoundError: No module named 'nosuch_one'", ""),
        ("nosuch.one", "ModuleNotFoundError: No module named 'nosuch'", ""),
        (
            "wanting_one",
            "ModuleNotFoundError: No module named 'nope_nope'",
            "wanting_one.py, line 2",
        ),
        ("leaving_one", "SystemExit: 3", "leaving_one.py, line 1"),
        ("wrong_one", "SyntaxError: invalid syntax (wrong_one.py, line 1)", ""),
        ("deep_one", "ValueError: deep down", "deep_one.py, line 2"),
        ("mute_one", "RuntimeError: ", "mute_one.py, line 1"),
    ],
)
def test_a_command_says_which_module_why_and_where(
    project: Path, command: None, name: str, error: str, where: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_modules(["good_one", name])
    place = f" ({project}/{where})" if where else ""
    expected = (
        f"flowcore: cannot import the nodes of {name!r}: {error}{place}; "
        f"modules are looked for in {project} and on Python's path"
    )
    assert str(ended.value) == expected


def test_outside_of_commands_the_error_is_the_modules_own(project: Path) -> None:
    with pytest.raises(ValueError, match="deep down"):
        import_modules(["deep_one"])
    with pytest.raises(SystemExit, match=r"^3$"):
        import_modules(["leaving_one"])


def test_ctrl_c_is_no_error_of_a_module(project: Path, command: None) -> None:
    (project / "stopped_one.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        import_modules(["stopped_one"])
