"""CONTRIBUTING.md and the hooks of pre-commit name what there is."""

import re
from pathlib import Path

import pytest
import yaml

from flowcore.backends import BackendRegistry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
CHANGES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def _paths(text: str) -> list[str]:
    return [
        name for name in re.findall(r"`([^`\s]+)`", text) if re.search(r"/|\.(?:md|toml)$", name)
    ]


def test_every_kind_of_change_is_described() -> None:
    assert list(CHANGES) == [
        "A built-in node type",
        "A command",
        "A rule of the check",
        "A store",
        "A backend",
        "An event kind",
        "An error code",
    ]


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_change_lists_code_and_tests_and_all_of_it_exists(change: str) -> None:
    paths = _paths(CHANGES[change])
    assert any(path.startswith("flowcore/") for path in paths)
    assert any(path.startswith("tests/") for path in paths)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_names_in_the_lists_are_in_the_files_beside_them() -> None:
    for line in re.split(r"\n- ", TEXT):
        named = re.match(r"`([\w/.]+\.py)`[^`]*, in `(\w+)`", line)
        if named:
            assert re.search(rf"\b{named[2]}\b", (ROOT / named[1]).read_text("utf-8")), line
    assert len(re.findall(r", in `\w+`", TEXT)) == 4


def test_the_folders_of_tests_are_all_described() -> None:
    described = set(re.findall(r"^\| `tests/(\w+)/` \|", TEXT, re.MULTILINE))
    assert {"unit", "contract", "integration", "acceptance"} <= described
    assert [name for name in described if not (ROOT / "tests" / name).is_dir()] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = re.findall(r"(?:\$ |`)make (\w+)", TEXT)
    assert named
    assert set(named) <= set(targets)


def test_hooks_are_local_and_run_the_tools_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
    lint = (ROOT / "scripts/lint").read_text("utf-8")
    for hook in hooks["repos"][0]["hooks"]:
        tool = re.fullmatch(r"\.venv/bin/([\w-]+)(?: .*)?", hook["entry"])
        assert tool is not None, hook
        assert hook["language"] == "system"
        assert f'"$bin/{tool[1]}"' in lint


def test_the_readme_names_the_backends_that_are_planned() -> None:
    planned = [
        name
        for name in BackendRegistry.list_backends(all=True)
        if BackendRegistry.get_info(name)["status"] == "planned"
    ]
    assert planned
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"The {' and '.join(planned)} backends are planned" in readme
