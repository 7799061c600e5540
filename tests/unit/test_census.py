"""The census example measures what its text says it measures."""

import ast
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from examples import census


def complexity(source: str) -> int:
    """The complexity of the first function of a module."""
    (_, *_), *_ = found = census.measure(source.encode())["complex"]
    return int(found[-1][0])


def sums(source: str | bytes) -> dict[str, int]:
    data = source if isinstance(source, bytes) else source.encode()
    found: dict[str, int] = census.measure(data)["sums"]
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("pass", 1),
        ("if a: pass", 2),
        ("if a: pass\n elif b: pass\n else: pass", 3),
        ("if a and b or c: pass", 4),
        ("for x in y: pass\n else: pass", 2),
        ("while a: pass", 2),
        ("try: pass\n except A: pass\n except B: pass\n finally: pass", 3),
        ("return 1 if a else 2", 2),
        ("return [x for x in y if x if z]", 4),
        ("with a: assert b", 1),
        ("match a:\n  case 1: pass\n  case [x] if x: pass\n  case _: pass", 3),
        ("match a:\n  case x if x: pass", 2),
        ("return lambda x: x or y", 2),
        ("return f'{a if b else c}'", 2),
    ],
)
def test_complexity_counts_decisions(body: str, expected: int) -> None:
    assert complexity(f"def f():\n {body}\n") == expected
    assert complexity(f"async def f():\n {body}\n") == expected


def test_a_function_inside_another_is_counted_by_itself() -> None:
    source = "def f():\n if a:\n  def g():\n   if b or c: pass\n"
    found = census.measure(source.encode(), "m.py")["complex"]
    assert sorted(found) == [[2, "f()", "m.py:1"], [3, "f.g()", "m.py:3"]]


def test_functions_methods_and_classes_are_told_apart() -> None:
    source = """
class A:
    def m(self):
        def inner(): pass
    class B:
        async def n(self): pass
        x = lambda: 0
def f(): pass
"""
    found = census.measure(source.encode())
    assert {name: found["sums"][name] for name in ("classes", "functions", "methods")} == {
        "classes": 2,
        "functions": 2,
        "methods": 2,
    }
    names = {name for _, name, _ in found["complex"]}
    assert names == {"A.m()", "A.m.inner()", "A.B.n()", "f()"}


def test_each_line_is_blank_comment_or_code() -> None:
    source = '''"""Doc

string."""

# a comment
x = 1  # code with a comment

text = """
# no comment

no blank"""
def f():
    "doc"
'''
    found = sums(source)
    assert (found["lines"], found["comment"], found["code"], found["blank"]) == (13, 5, 6, 2)


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (b"", 0),
        (b"x", 1),
        (b"x\n", 1),
        (b"x\r\ny\r\n", 2),
        (b"x\ry", 2),
        (b"x = '\x0c'\n\x0c\n", 2),
    ],
)
def test_lines_are_python_s_lines(source: bytes, lines: int) -> None:
    assert sums(source)["lines"] == lines


def test_other_encodings_are_read() -> None:
    assert sums("# coding: latin-1\nx = 'é'\n".encode("latin-1"))["comment"] == 1
    assert sums("\ufeff# x\n".encode())["comment"] == 1


def test_imports_name_each_other_module_once() -> None:
    source = "import os.path, sys\nfrom os import path\nfrom . import a\nfrom .b import c\n"
    assert census.measure(source.encode())["imports"] == {"os": 1, "sys": 1}


def test_deeply_nested_code_is_no_trouble() -> None:
    assert complexity("def f():\n return " + "+".join("a" * 900) + "\n") == 1


def test_shards_hold_every_file_once_and_are_balanced(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"m{number:02}.py").write_text("x\n" * (number + 1) * 10)
    (tmp_path / "tests").mkdir()
    (tmp_path / ".hidden").mkdir()
    for left_out in ("tests/t.py", ".hidden/h.py", "no.txt"):
        (tmp_path / left_out).write_text("x")
    (tmp_path / "link.py").symlink_to(tmp_path / "m00.py")
    found = census.files(str(tmp_path))
    assert found["root"] == str(tmp_path)
    assert len(found["shards"]) == census.SHARDS
    assert sorted(chain(*found["shards"])) == [f"m{number:02}.py" for number in range(40)]
    sizes = [sum((tmp_path / path).stat().st_size for path in s) for s in found["shards"]]
    assert max(sizes) - min(sizes) < max(sizes) / 10
    assert "tests/t.py" in chain(*census.files(str(tmp_path), exclude=())["shards"])


def test_a_root_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="input 'root'"):
        census.files(str(tmp_path / "nowhere"))


def test_what_does_not_parse_is_listed_and_counted_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "bad.py").write_text("def (\n")
    (tmp_path / "null.py").write_bytes(b"x\0")
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "huge.py").write_bytes(b"#" * (census.MOST_BYTES + 1))
    names = ["good.py", "bad.py", "null.py", "bytes.py", "huge.py", "gone.py"]
    found = census.parse(str(tmp_path), names)
    assert found["sums"]["files"] == 6
    assert found["sums"]["lines"] == 1
    reasons = dict(found["unparsed"])
    assert set(reasons) == set(names) - {"good.py"}
    assert reasons["bad.py"].startswith("SyntaxError: ")
    assert reasons["huge.py"] == "ValueError: larger than 4 MiB"
    assert reasons["gone.py"].startswith("FileNotFoundError: ")


def test_a_shard_s_output_stays_small(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("".join(f"def f{n}(): pass\n" for n in range(5000)))
    found = census.parse(str(tmp_path), ["m.py"])
    assert found["sums"]["functions"] == 5000
    assert len(found["complex"]) == census.TOP


def test_shards_add_up() -> None:
    one = {**census.measure(b"import os\ndef f(): pass\n", "a.py"), "root": "r"}
    two = {**census.measure(b"import os, re\ndef g():\n if a: pass\n", "b.py"), "root": "r"}
    found = census.aggregate({"parse_1": one, "parse_2": two})
    assert found["sums"]["functions"] == 2
    assert found["imports"] == {"os": 2, "re": 1}
    assert found["complex"] == [[2, "g()", "b.py:2"], [1, "f()", "a.py:2"]]
    assert found["long"] == [[3, "b.py"], [2, "a.py"]]


def aggregated(**more: Any) -> dict[str, Any]:
    return {**census.aggregate({"parse_1": {"root": "r", **census.parse("r", [])}}), **more}


def test_the_report_is_a_table_that_ends_with_where_the_files_are(tmp_path: Path) -> None:
    text = census.report(aggregated(), str(tmp_path / "new"))
    files = [str(tmp_path / "new" / f"census-report.{kind}") for kind in ("md", "html")]
    assert text.splitlines()[-2:] == [f"written to {file}" for file in files]
    assert [str(file) for file in sorted((tmp_path / "new").iterdir(), reverse=True)] == files


def test_names_cannot_break_out_of_the_report(tmp_path: Path) -> None:
    evil = "<script>|`x`\x1b[31m\n.py"
    text = census.report(aggregated(root=evil, unparsed=[[evil, "a & b"]]), str(tmp_path))
    page = (tmp_path / "census-report.html").read_text("utf-8")
    assert "<script" not in page
    assert "a &amp; b" in page
    assert r"\<script\>\|\`x\`" in (tmp_path / "census-report.md").read_text("utf-8")
    assert "\x1b" not in text + page


def test_the_page_needs_nothing_from_elsewhere_and_follows_the_reader_s_scheme(
    tmp_path: Path,
) -> None:
    census.report(aggregated(), str(tmp_path))
    page = (tmp_path / "census-report.html").read_text("utf-8")
    assert "color-scheme: light dark" in page
    assert not any(word in page for word in ("http:", "https:", "src=", "url("))


def test_it_imports_no_flowcore() -> None:
    tree = ast.parse(Path(census.__file__).read_text("utf-8"))
    named = {name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not any(alias.name.startswith("flowcore") for alias in named)
