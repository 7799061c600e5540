"""Everything that documents, docstrings and comments name exists.

A path, a module, a class in backticks, a setting: when one of them moves or goes, the texts that
name it fail here.
"""

import ast
import builtins
import functools
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flowcore"

# Names of other projects and standards.
FOREIGN = frozenset(
    {
        "Accept",
        "AsyncResult",
        "Authorization",
        "EventSource",
        "ImageMagick",
        "JavaScript",
        "NaN",
        "ParseDuration",
        "StreamingResponse",
        "VmHWM",
        "WfCommons",
        "WfFormat",
    }
)

# Paths of a user's own, in examples.
USERS_OWN = frozenset({"file.py"})


@functools.cache
def _files() -> tuple[str, ...]:
    """The files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(name for name in listed.stdout.split("\0") if name and (ROOT / name).exists())


@functools.cache
def _endings() -> frozenset[str]:
    """Each tracked file and each of its folders, named from any folder above it on."""
    endings: set[str] = set()
    for name in _files():
        path = PurePosixPath(name)
        for whole in (path, *path.parents):
            parts = whole.parts
            endings.update("/".join(parts[start:]) for start in range(len(parts)))
    return frozenset(endings)


def _unreleased(text: str) -> str:
    return text.partition("## [Unreleased]")[2].partition("\n## [")[0]


def _documents() -> Iterator[tuple[str, str]]:
    for name in _files():
        if name == "CHANGELOG.md":
            yield name, _unreleased((ROOT / name).read_text("utf-8"))
        elif name.startswith(("docs/", "compose/")) or name in {"README.md", "CONTRIBUTING.md"}:
            yield name, (ROOT / name).read_text("utf-8")


def _code(source: str) -> ast.Module:
    """A module without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return tree


def _prose(source: str) -> str:
    """The comments and docstrings of a module."""
    comments = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return "\n".join(comments + strings)


@functools.cache
def _sources() -> tuple[tuple[str, str], ...]:
    """The prose of each module and script of the package."""
    found = []
    for name in _files():
        if name.startswith(("flowcore/", "worker/")) and name.endswith((".py", ".lua")):
            text = (ROOT / name).read_text("utf-8")
            prose = _prose(text) if name.endswith(".py") else "\n".join(re.findall(r"--.*", text))
            found.append((name, prose))
    return tuple(found)


@functools.cache
def _texts() -> tuple[tuple[str, str], ...]:
    return (*_documents(), *_sources())


# ── paths ───────────────────────────────────────────────────────────────────────────────────────

_PATH = re.compile(r"(?<![\w/.:$~{}*>-])((?:[\w.-]+/)+[\w.-]*\w|[\w-]+\.(?:lua|py))/?(?![\w/*{])")
_FOLDERS = frozenset(
    [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    + [path.name for path in PACKAGE.iterdir() if path.is_dir()]
    + ["lua", "redis", "inmemory", "unit", "contract", "integration", "acceptance"]
)
_SUFFIXES = (".py", ".lua", ".md", ".yaml", ".yml", ".svg", ".toml", ".txt", ".json", ".pyi")


def _is_ours(path: str, document: str) -> bool:
    """Tell a path of this project from one of a user's, a URL or a media type."""
    if "/" not in path:
        return path.endswith(".lua") or document.startswith(
            ("flowcore/", "docs/decisions/", "docs/architecture", "CONTRIBUTING")
        )
    top = PurePosixPath(path).parts[0]
    if path.endswith(_SUFFIXES):
        return top in _FOLDERS
    return top in {"flowcore", "tests", "docs", "scripts"} and "." not in path


def _exists(path: str, document: str) -> bool:
    beside = (ROOT / document).parent / path
    return path in _endings() or beside.exists()


def test_every_path_that_a_text_names_exists() -> None:
    stale = sorted(
        {
            f"{document}: {path}"
            for document, text in _texts()
            for path in _PATH.findall(text)
            if _is_ours(path, document) and path not in USERS_OWN and not _exists(path, document)
        }
    )
    assert stale == []


def test_every_link_of_a_document_leads_to_a_file() -> None:
    stale = [
        f"{document}: {link}"
        for document, text in _documents()
        if document.endswith(".md")
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
        if not ((ROOT / document).parent / link).exists()
    ]
    assert stale == []


# ── modules ─────────────────────────────────────────────────────────────────────────────────────

_DOTTED = re.compile(
    r"(?<![\w./-])((?:flowcore|engine|stores|ports|assembly|cli|check|backends|importers|testing)"
    r"(?:\.(?!md\b|py\b|json\b|lua\b|schema\.json)[A-Za-z_]\w*)+)(?![\w(/]*[/:])"
)


def _module(parts: tuple[str, ...]) -> Path | None:
    """The file of a module of flowcore, or the folder of a package."""
    place = PACKAGE.joinpath(*parts)
    if place.is_dir():
        return place / "__init__.py"
    file = place.with_suffix(".py")
    return file if file.exists() else None


@functools.cache
def _names_of(file: Path) -> Mapping[str, ast.AST | None]:
    """The names that a module has at its top, each with its definition."""
    names: dict[str, ast.AST | None] = {}
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.setdefault(node.name, node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, None)
        elif isinstance(node, ast.alias):
            names.setdefault((node.asname or node.name).split(".")[0], None)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.setdefault(node.value, None)  # what __getattr__ makes, by its name in __all__
    return names


@functools.cache
def _literals() -> frozenset[str]:
    """Names of loggers, entry points and attributes that code spells out."""
    return frozenset(
        node.value
        for name in _files()
        if name.startswith("flowcore/") and name.endswith(".py")
        for node in ast.walk(_code((ROOT / name).read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _resolves(dotted: str) -> bool:
    parts = tuple(dotted.removeprefix("flowcore.").split("."))
    for end in range(len(parts), 0, -1):
        file = _module(parts[:end])
        if file is not None:
            rest = parts[end:]
            return not rest or not file.exists() or rest[0] in _names_of(file)
    return dotted in _literals() or parts[0] in _names_of(PACKAGE / "__init__.py")


def test_every_module_that_a_text_names_exists() -> None:
    stale = sorted(
        {
            f"{document}: {dotted}"
            for document, text in _texts()
            for dotted in _DOTTED.findall(text)
            if dotted not in USERS_OWN and not _resolves(dotted)
        }
    )
    assert stale == []


_NOT_HERE = re.compile(r"Not here:(.*?)(?:\n\s*\n|\Z)", re.DOTALL)
_REFERENCE = re.compile(r"[a-z_]+(?:[./][a-z_]+)*")


def test_every_module_that_a_header_refers_to_exists() -> None:
    """A header says ``Not here: what becomes which (evaluation)``."""
    modules = {ending.removesuffix(".py").removesuffix(".lua") for ending in _endings()}
    stale = [
        f"{name}: {word}"
        for name, text in _sources()
        for tail in _NOT_HERE.findall(text)
        for inside in re.findall(r"\(([^()]*)\)", tail)
        for word in re.split(r",\s*|\s+and\s+", " ".join(inside.replace("`", "").split()))
        if _REFERENCE.fullmatch(word)
        and word not in _endings()
        and word.replace(".", "/") not in modules
        and not _resolves(word)
    ]
    assert stale == []


# ── classes and settings ────────────────────────────────────────────────────────────────────────


@functools.cache
def _identifiers() -> frozenset[str]:
    """Every name that the project's own code defines or imports."""
    found: set[str] = set(dir(builtins))
    for name in _files():
        if name.endswith(".py") and name.startswith(
            ("flowcore/", "tests/", "examples/", "scripts/")
        ):
            tree = ast.parse((ROOT / name).read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    found.add(node.name)
                elif isinstance(node, ast.Name):
                    found.add(node.id)
                elif isinstance(node, ast.Attribute):
                    found.add(node.attr)
                elif isinstance(node, ast.alias):
                    found.update((node.asname or node.name).split("."))
    return frozenset(found)


_CLASS = re.compile(r"`([A-Z][a-z]+[A-Za-z]*)(?:\.(\w+))?(?:\(\))?`")
_HUMPS = re.compile(r"(?<![\w-])[A-Z][a-z]+(?:[A-Z][a-z]+)+(?!\w)")


def test_every_class_that_a_text_names_exists() -> None:
    known = _identifiers() | FOREIGN
    stale = sorted(
        {
            f"{document}: {name}"
            for document, text in _texts()
            for pair in _CLASS.findall(text)
            for name in pair
            if name and name not in known
        }
    )
    assert stale == []


def test_every_class_that_a_docstring_or_a_comment_names_exists() -> None:
    """Without backticks, too: what has two capitals is a class."""
    known = _identifiers() | FOREIGN
    stale = sorted(
        {
            f"{document}: {name}"
            for document, text in _sources()
            for name in _HUMPS.findall(text)
            if name not in known
        }
    )
    assert stale == []


_SETTING = re.compile(r"FLOWCORE_[A-Z0-9_]*[A-Z0-9]")


@functools.cache
def _settings() -> frozenset[str]:
    """Every variable that code, not prose, names."""
    found: set[str] = set()
    for name in _files():
        source = (ROOT / name).read_text("utf-8") if name.endswith(".py") else ""
        if "FLOWCORE_" not in source:
            continue
        for node in ast.walk(_code(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.update(_SETTING.findall(node.value))
    return frozenset(found)


def test_every_setting_that_a_text_names_is_read() -> None:
    stale = sorted(
        {
            f"{document}: {name}"
            for document, text in _texts()
            for name in _SETTING.findall(text)
            if name not in _settings() and not name.startswith("FLOWCORE_SECRET_")
        }
    )
    assert stale == []


def test_the_architecture_lists_every_port() -> None:
    listed = (ROOT / "docs/architecture.md").read_text("utf-8")
    ports = {
        (name, node.name)
        for name in _files()
        if re.fullmatch(r"flowcore/ports/\w+\.py", name)
        for node in ast.parse((ROOT / name).read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    }
    assert len(ports) > 15
    missing = [
        f"{name}: {port}"
        for name, port in sorted(ports)
        if not re.search(rf"`{name.removeprefix('flowcore/')}` \|[^|]*`{port}`", listed)
    ]
    assert missing == []


def test_the_architecture_names_every_package_of_the_engine() -> None:
    listed = (ROOT / "docs/architecture.md").read_text("utf-8")
    packages = {name.split("/")[2] for name in _files() if re.match(r"flowcore/engine/\w+/", name)}
    assert packages
    assert [package for package in sorted(packages) if f"| `{package}/` |" not in listed] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see engine/gone.py", ["engine/gone.py"]),
        ("`lua/gone.lua` does it", ["lua/gone.lua"]),
        ("in (tests/unit/test_gone.py)", ["tests/unit/test_gone.py"]),
        ("``flowcore/gone/``", ["flowcore/gone"]),
        ("https://example.org/docs/a.md", []),
    ],
)
def test_a_path_that_is_gone_would_be_found(text: str, found: list[str]) -> None:
    assert [
        path
        for path in _PATH.findall(text)
        if _is_ours(path, "docs/x.md") and not _exists(path, "docs/x.md")
    ] == found


@pytest.mark.parametrize(
    "dotted",
    ["engine.gone", "flowcore.gone.Name", "ports.backend.IGone", "flowcore.engine.runs.gone"],
)
def test_a_module_that_is_gone_would_be_found(dotted: str) -> None:
    assert _DOTTED.findall(f"see ``{dotted}``") == [dotted]
    assert not _resolves(dotted)


def test_a_module_that_is_there_is_found() -> None:
    for dotted in (
        "flowcore.Flow",
        "engine.runs",
        "ports.backend.IBackend",
        "flowcore.testing.Flows",
    ):
        assert _resolves(dotted), dotted
