"""A census of Python source: the functions that ``census.yaml`` names. They import no flowcore.

``files`` splits a tree into shards of about equal size, ``parse`` measures one shard,
``aggregate`` adds the shards up and ``report`` writes ``census-report.md`` and ``.html``.

What is counted, and how:

- A line is blank, comment or code. Docstrings count as comment, other texts as code.
- A function inside a class is a method, any other is a function; lambdas are neither.
- Complexity is McCabe's: 1, and 1 more for each ``if``, ``elif``, loop, ``except``, conditional
  expression, ``and`` or ``or``, ``case`` with a condition, and each ``for`` and ``if`` of a
  comprehension. A function defined inside another is counted by itself, a lambda with its function.
  Source: T. J. McCabe, "A Complexity Measure", IEEE Transactions on Software Engineering SE-2(4),
  1976, pages 308 to 320, with the predicates of a compound condition counted one by one.
"""

import ast
import heapq
import html
import io
import os
import sysconfig
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHARDS = 8
TOP = 15
MOST_BYTES = 4 * 2**20
EXCLUDED = ("__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests")
COUNTS = ("files", "lines", "code", "comment", "blank", "classes", "functions", "methods")


# ── The nodes ───────────────────────────────────────────────────────────────────────────────────


def files(root: str = "", exclude: Sequence[str] = EXCLUDED) -> dict[str, Any]:
    """List a tree's Python files in shards of about equal size.

    Args:
        root: The directory; Python's own standard library when empty.
        exclude: Names of directories to leave out, beside hidden ones.

    Returns:
        ``root``, and ``shards``: eight lists of paths below it.
    """
    top = Path(root or sysconfig.get_paths()["stdlib"]).expanduser().resolve()
    if not top.is_dir():
        raise NotADirectoryError(f"{top} is not a directory; give one as input 'root'")
    sized = sorted(_walk(top, frozenset(exclude)), key=lambda pair: (-pair[1], pair[0]))
    shards: list[list[str]] = [[] for _ in range(SHARDS)]
    # The largest file first, each to the shard that is smallest so far.
    loads = [(0, index) for index in range(SHARDS)]
    for path, size in sized:
        load, index = loads[0]
        shards[index].append(path)
        heapq.heapreplace(loads, (load + size, index))
    return {"root": str(top), "shards": shards}


def parse(root: str, paths: Sequence[str]) -> dict[str, Any]:
    """Measure the files of one shard.

    Args:
        root: The tree's directory.
        paths: Files below it.

    Returns:
        Sums, and the tops of each list: a few kilobytes whatever the shard's size.
    """
    found = [_measure(Path(root), path) for path in paths]
    return {"root": root, **_merge(found)}


def aggregate(upstream: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what the shards found.

    Args:
        upstream: The output of each ``parse``, by the node's id.

    Returns:
        The same as one shard's, for the whole tree.
    """
    shards = list(upstream.values())
    return {"root": shards[0]["root"], **_merge(shards)}


def report(aggregate: Mapping[str, Any], out: str = ".") -> str:
    """Write the report.

    Args:
        aggregate: What the whole tree came to.
        out: The directory for ``census-report.md`` and ``census-report.html``.

    Returns:
        The report as text for a terminal; its last lines say where the files are.
    """
    directory = Path(out).expanduser().resolve()
    directory.mkdir(parents=True, exist_ok=True)
    title, tables = f"Census of {aggregate['root']}", _tables(aggregate)
    pages = {
        directory / "census-report.md": _markdown(title, tables),
        directory / "census-report.html": _html(title, tables),
    }
    for path, page in pages.items():
        # Whole or not at all, also when this node has to run a second time.
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(page, "utf-8")
        fresh.replace(path)
    return "\n".join([_terminal(title, tables), *(f"written to {path}" for path in pages)])


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────


def _walk(top: Path, excluded: frozenset[str]) -> Iterator[tuple[str, int]]:
    for directory, below, names in os.walk(top):
        below[:] = [name for name in below if name not in excluded and not name.startswith(".")]
        for name in names:
            path = Path(directory, name)
            if name.endswith(".py") and path.is_file() and not path.is_symlink():
                yield path.relative_to(top).as_posix(), path.stat().st_size


def _measure(root: Path, path: str) -> dict[str, Any]:
    """Measure one file; one that cannot be parsed is only named, with the reason."""
    try:
        return measure(_read(root / path), path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f"{error.__class__.__name__}: {getattr(error, 'msg', None) or error}"
        return _found(sums={"files": 1}, unparsed=[[path, reason[:120]]])


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB")
    return data


def measure(data: bytes, path: str = "module.py") -> dict[str, Any]:
    """Measure the source of one module.

    Args:
        data: The file's bytes.
        path: What to call it.

    Returns:
        ``sums``, ``complex`` (complexity, function, path and line), ``long`` (lines, path),
        ``imports`` (modules by how many files import them), ``unparsed``.

    Raises:
        SyntaxError: It is not Python, as far as the running Python knows it.
        ValueError: It holds null bytes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes and comparisons in what is measured
        tree = ast.parse(data, path)
    seen, lines = _look(tree), _lines(data)
    sums = Counter(_kinds(lines, seen)) + Counter(f"{one.kind}s" for one in seen.functions)
    return _found(
        sums={**sums, "files": 1, "lines": len(lines), "classes": seen.classes},
        complex=[[one.complexity, f"{one.name}()", f"{path}:{one.line}"] for one in seen.functions],
        long=[[len(lines), path]],
        imports=dict.fromkeys(seen.imports, 1),
    )


def _found(**parts: Any) -> dict[str, Any]:
    return {"sums": {}, "complex": [], "long": [], "imports": {}, "unparsed": [], **parts}


Scope = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class Function:
    """A function or method; ``kind`` says which."""

    name: str
    line: int
    kind: str
    complexity: int = 1
    """McCabe's; see the module's text for what counts."""


@dataclass(slots=True)
class Seen:
    """What one look at a module's tree has found."""

    functions: list[Function] = field(default_factory=list)
    classes: int = 0
    imports: set[str] = field(default_factory=set)
    """Top-level names; relative imports name no other module."""
    texts: list[ast.expr] = field(default_factory=list)
    """Texts of several lines."""
    docs: list[ast.stmt] = field(default_factory=list)


def _look(tree: ast.Module) -> Seen:
    """Look at every node once.

    With a stack of its own, since generated code is nested deeper than Python may recurse.
    """
    seen = Seen()
    outside = Function("", 0, "module")
    stack: list[tuple[ast.AST, str, bool, Function]] = [(tree, "", False, outside)]
    while stack:
        node, scope, in_class, owner = stack.pop()
        if isinstance(node, Scope):
            scope, in_class, owner = _enter(seen, node, scope, owner, in_class=in_class)
        elif isinstance(node, ast.Constant | ast.JoinedStr):
            if node.end_lineno != node.lineno:
                seen.texts.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            seen.imports.update(_imported(node))
        else:
            owner.complexity += _decisions(node)
        stack += [(child, scope, in_class, owner) for child in _children(node)]
    return seen


def _enter(
    seen: Seen, node: Scope, scope: str, owner: Function, *, in_class: bool
) -> tuple[str, bool, Function]:
    """Note a module, class or function; return what holds inside it."""
    if ast.get_docstring(node, clean=False) is not None:
        seen.docs.append(node.body[0])
    if isinstance(node, ast.Module):
        return "", False, owner
    scope = f"{scope}.{node.name}" if scope else node.name
    if isinstance(node, ast.ClassDef):
        seen.classes += 1
        return scope, True, owner
    function = Function(scope, node.lineno, "method" if in_class else "function")
    seen.functions.append(function)
    return scope, False, function


_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)
_LEAVES = (ast.Name, ast.expr_context, ast.operator, ast.cmpop, ast.alias)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, without those that nothing is counted of."""
    for value in vars(node).values():
        for child in value if isinstance(value, list) else (value,):
            if isinstance(child, ast.AST) and not isinstance(child, _LEAVES):
                yield child


def _decisions(node: ast.AST) -> int:
    if isinstance(node, _BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        always = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None
        return int(not always or node.guard is not None)
    return 0


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif node.module and not node.level:
        yield node.module.partition(".")[0]


def _lines(data: bytes) -> list[str]:
    """Split as Python does, which knows fewer ends of line than ``str.splitlines``."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    text = io.TextIOWrapper(io.BytesIO(data), encoding, errors="replace").read()
    return text.removesuffix("\n").split("\n") if text else []


def _kinds(lines: Sequence[str], seen: Seen) -> list[str]:
    kinds = [
        "code" if (bare := line.strip()) and bare[0] != "#" else "comment" if bare else "blank"
        for line in lines
    ]
    # A '#' or an empty line inside a text is part of it.
    for kind, nodes in (("code", seen.texts), ("comment", seen.docs)):
        for one in nodes:
            last = one.end_lineno or one.lineno
            kinds[one.lineno - 1 : last] = [kind] * (last - one.lineno + 1)
    return kinds


def _merge(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    sums: Counter[str] = Counter()
    imports: Counter[str] = Counter()
    lists: dict[str, list[Any]] = {"complex": [], "long": [], "unparsed": []}
    for one in found:
        sums.update(one["sums"])
        imports.update(one["imports"])
        for name, items in lists.items():
            items.extend(one[name])
    return {
        "sums": {name: sums[name] for name in COUNTS},
        # Every name is kept until the end: what is rare in one shard may be common in all.
        "imports": dict(sorted(imports.items(), key=lambda pair: (-pair[1], pair[0]))),
        "complex": sorted(lists["complex"], key=lambda item: (-item[0], item[2]))[:TOP],
        "long": sorted(lists["long"], key=lambda item: (-item[0], item[1]))[:TOP],
        "unparsed": sorted(lists["unparsed"]),
    }


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────

#: Heading, names of the columns, rows; columns of numbers stand to the right.
Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


def _tables(found: Mapping[str, Any]) -> list[Table]:
    sums, total = found["sums"], max(found["sums"]["lines"], 1)
    share = {name: f"{sums[name] / total:.0%}" for name in ("code", "comment", "blank")}
    imports = list(found["imports"].items())[:TOP]
    tables: list[Table] = [
        ("Totals", ("", "count", ""), [(name, sums[name], share.get(name, "")) for name in COUNTS]),
        ("Most complex functions", ("McCabe", "function", "where"), found["complex"]),
        ("Longest modules", ("lines", "module"), found["long"]),
        ("Most imported modules", ("module", "by files"), imports),
    ]
    if found["unparsed"]:
        tables.append(("Files that do not parse", ("file", "reason"), found["unparsed"]))
    return tables


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _terminal(title: str, tables: Iterable[Table]) -> str:
    lines = [_cell(title)]
    for heading, names, rows in tables:
        cells = [list(names), *([_cell(value) for value in row] for row in rows)]
        wide = [max(len(row[column]) for row in cells) for column in range(len(names))]
        right = [any(isinstance(row[column], int) for row in rows) for column in range(len(names))]
        lines += ["", heading.upper()]
        for row in cells:
            padded = zip(row, wide, right, strict=True)
            parts = [
                f"{text:>{width}}" if num else f"{text:<{width}}" for text, width, num in padded
            ]
            lines.append("  ".join(["", *parts]).rstrip())
    return "\n".join([*lines, ""])


def _markdown(title: str, tables: Iterable[Table]) -> str:
    def row(values: Iterable[Any]) -> str:
        return "| " + " | ".join(_escaped(_cell(value)) for value in values) + " |"

    parts = [f"# {_escaped(_cell(title))}"]
    for heading, names, rows in tables:
        body = [row(names), "|" + " --- |" * len(names), *map(row, rows)]
        parts += ["", f"## {heading}", "", *body]
    return "\n".join([*parts, ""])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>&|#" else char for char in text)


_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; }
th, td { padding: .15rem 1.5rem .15rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
""".strip()


def _html(title: str, tables: Iterable[Table]) -> str:
    shown = html.escape(_cell(title))
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{shown}</title>\n<style>\n{_STYLE}\n</style>\n<h1>{shown}</h1>",
    ]
    for heading, names, rows in tables:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        parts += [f"<h2>{html.escape(heading)}</h2>", f"<table>\n<tr>{head}</tr>"]
        parts += ["<tr>" + "".join(map(_html_cell, row)) + "</tr>" for row in rows]
        parts.append("</table>")
    return "\n".join([*parts, "</html>", ""])


def _html_cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int) else ""
    return f"<td{kind}>{html.escape(_cell(value))}</td>"
