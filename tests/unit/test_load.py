"""Reading definitions: YAML, JSON and dicts give the same trees, with places in the text."""

import json
import math
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.check.check import check
from flowcore.errors import DefinitionError
from flowcore.graph.document import STRICT, Document, Limits, Mark, Position
from flowcore.graph.dump import to_yaml
from flowcore.graph.load import load_file, load_text, load_tree

YAML = """\
# a comment
id: demo
nodes:
  fetch: {uses: "acme.web:fetch", with: {url: 'https://x'}}
  "split":
    needs: [fetch]
    uses: passthrough
"""

JSON = """\
{"id": "demo",
 "nodes": {
   "fetch": {"uses": "acme.web:fetch", "with": {"url": "https://x"}},
   "sp\\u006cit": {"needs": ["fetch"], "uses": "passthrough"}
 }}
"""

TREE = {
    "id": "demo",
    "nodes": {
        "fetch": {"uses": "acme.web:fetch", "with": {"url": "https://x"}},
        "split": {"needs": ["fetch"], "uses": "passthrough"},
    },
}


def _mark(document: Document, *path: str | int) -> Mark:
    assert document.source is not None
    return document.source.locate([path])[path]


def _code(error: pytest.ExceptionInfo[DefinitionError]) -> str:
    return error.value.problems[0].split("error ")[1][:5]


def test_yaml_json_and_dict_give_the_same_tree() -> None:
    trees = [load_text(YAML).tree, load_text(JSON).tree, load_tree(TREE).tree]
    assert trees == [TREE, TREE, TREE]


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [(YAML, (6, 5), (6, 13)), (JSON, (4, 19), (4, 29))],
    ids=["yaml", "json"],
)
def test_everything_has_a_place_in_the_text(
    text: str, key: tuple[int, int], value: tuple[int, int]
) -> None:
    document = load_text(text)
    needs = _mark(document, "nodes", "split", "needs")
    assert needs.key == Position(line=key[0], column=key[1])
    first = _mark(document, "nodes", "split", "needs", 0)
    assert first == Mark(value=Position(line=value[0], column=value[1]))


def test_a_tree_from_python_has_no_source() -> None:
    assert load_tree(TREE).source is None


def test_tuples_and_mappings_from_python_become_lists_and_dicts() -> None:
    assert load_tree({"a": (1, 2.5, None, True)}).tree == {"a": [1, 2.5, None, True]}


def test_files_are_told_apart_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(JSON)
    (tmp_path / "a.yaml").write_text("\ufeff" + YAML, encoding="utf-8")
    assert load_file(tmp_path / "a.json").tree == load_file(str(tmp_path / "a.yaml")).tree == TREE
    assert load_file(tmp_path / "a.yaml").name == str(tmp_path / "a.yaml")


def test_braces_of_yaml_are_not_taken_for_json() -> None:
    assert load_text("{a: 1, b: [x]}").tree == {"a": 1, "b": ["x"]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("=", "="),
        ("1e3", 1000.0),
        ("-7", -7),
        (".5", ".5"),
        ("5.", "5."),
        ("+5", "+5"),
        ("08", "08"),
        ("0777", "0777"),
        ("02134", "02134"),
        ("-01", "-01"),
        ("1e+3", 1000.0),
        ("-0", 0),
        ("true", True),
        ("True", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("1.5.2", "1.5.2"),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_scalars_of_yaml_are_those_of_json(text: str, value: object) -> None:
    assert load_text(f"a: {text}").tree == {"a": value}


@settings(max_examples=300)
@given(st.from_regex(r"[-+.0-9eE_xo]{1,9}", fullmatch=True))
def test_a_scalar_of_yaml_is_a_number_where_json_has_one(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = text
    if isinstance(expected, float) and not math.isfinite(expected):
        with pytest.raises(DefinitionError, match="FC220"):
            load_text(f"a: {text}\n", name="a.yaml")
        return
    with suppress(DefinitionError):  # dashes and the like are marks of YAML's own
        read = load_text(f"a: {text}\n", name="a.yaml").tree
        assert read == {"a": expected}
        assert isinstance(read, dict)
        assert type(read["a"]) is type(expected)


_ODD_SPACES = ("\t", "\u00a0", "\u2003", "\u200b", "\u202f", "\u3000", "\ufeff")


@pytest.mark.parametrize("space", _ODD_SPACES, ids=lambda char: f"U+{ord(char):04X}")
@pytest.mark.parametrize(
    "text",
    [
        "id: x\nnodes:\n_a: {uses: passthrough}\n",
        "id: x\nnodes:\n  a: {uses: passthrough}\n__b: {uses: passthrough}\n",
        "id: x\nnodes:\n  a:\n    uses: passthrough\n _  needs: [b]\n",
        "id: x\nnodes:\n  a:\n    needs:\n    _- b\n",
    ],
)
def test_what_looks_like_a_space_in_an_indentation_is_named(text: str, space: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_text(text.replace("_", space), name="a.yaml")
    problem = caught.value.problems[0]
    assert f"U+{ord(space):04X}" in problem, problem
    assert _code(caught) == "FC201"


@pytest.mark.parametrize("space", _ODD_SPACES[1:], ids=lambda char: f"U+{ord(char):04X}")
@pytest.mark.parametrize("text", ["nodes:\n  a:\n    uses:_b\n", "nodes:\n  - _a\n", "a:\n-_b\n"])
def test_what_looks_like_a_space_beside_a_mark_of_yaml_is_named(text: str, space: str) -> None:
    with pytest.raises(DefinitionError, match=f"U\\+{ord(space):04X}"):
        load_text(text.replace("_", space), name="a.yaml")


def test_such_a_space_within_a_text_or_in_quotes_is_part_of_it() -> None:
    tree = load_text("a: caf\u00e9\u00a0noir\nb: '\u00a0x'\nc: |\n  \u00a0y\n  \tz\n").tree
    assert tree == {"a": "caf\u00e9\u00a0noir", "b": "\u00a0x", "c": "\u00a0y\n\tz\n"}


@given(st.text(max_size=12))
def test_what_is_written_as_yaml_is_read_back(text: str) -> None:
    try:
        written = to_yaml({"a": text, "b": [text]})
    except DefinitionError:
        return  # half of a surrogate pair
    assert load_text(written, name="a.yaml").tree == {"a": text, "b": [text]}


@pytest.mark.parametrize("written", ["1.10", "123", "1e5", "true", "True", "-0.50"])
@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_the_hint_to_use_quotes_quotes_what_was_written(written: str, name: str) -> None:
    key = '"version"' if name == "a.json" else "version"
    if name == "a.json" and written == "True":
        return
    text = f'{{"id": "x", {key}: {written}, "nodes": {{"a": {{"uses": "passthrough"}}}}}}'
    with pytest.raises(DefinitionError, match=f'put it in quotes: "{re.escape(written)}"'):
        check(load_text(text, name=name))


def test_keys_of_yaml_are_text_as_it_is_written() -> None:
    text = "{no: 1, on: 2, 3: 3, true: 4, null: 5, 1.0: 6, 2024-01-01: 7, <<: 8}"
    keys = ["no", "on", "3", "true", "null", "1.0", "2024-01-01", "<<"]
    assert load_text(text).tree == {key: index for index, key in enumerate(keys, start=1)}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("f.yaml", "a: [1, 2", "FC201"),
        ("f.yaml", "a: b: c", "FC201"),
        ("f.yaml", "a: \x07", "FC201"),
        ("f.json", '{"a" 1}', "FC201"),
        ("f.json", "", "FC201"),
        ("f.yaml", "a: 1\nb: 2\na: 3", "FC206"),
        ("f.json", '{"a": 1, "a": 2}', "FC206"),
        ("f.yaml", "--- 1\n--- 2", "FC219"),
        ("f.yaml", "? [a, b]\n: 1", "FC219"),
        ("f.yaml", "a: 1e999", "FC220"),
        ("f.yaml", "a: 99999999999999999999999", "FC220"),
        ("f.json", '{"a": 1e999}', "FC220"),
        ("f.json", '{"a": NaN}', "FC220"),
        ("f.json", '{"a": 99999999999999999999999}', "FC220"),
        ("f.json", '{"a": "\\ud800"}', "FC220"),
        ("f.yaml", "a: \ud800", "FC220"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code(name: str, text: str, code: str) -> None:
    with pytest.raises(DefinitionError) as error:
        load_text(text, name=name)
    assert _code(error) == code


def test_a_node_defined_twice_names_both_lines() -> None:
    with pytest.raises(DefinitionError) as error:
        load_text("nodes:\n  a: {uses: end}\n  a: {uses: start}\n", name="twice.yaml")
    assert error.value.problems == (
        (
            "twice.yaml:3:3: error FC206: node 'a' is defined twice  [nodes.a]\n"
            "     3 |   a: {uses: start}\n"
            "       |   ^ first defined in line 2"
        ),
    )


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), float("nan"), 2**64, {1: 2}, "\ud800"])
def test_python_values_without_a_json_form_are_refused(value: object) -> None:
    with pytest.raises(DefinitionError) as error:
        load_tree({"nodes": {"a": {"with": {"x": value}}}})
    assert _code(error) == "FC220"
    assert "[nodes.a.with.x]" in str(error.value)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "census.yaml").touch()
    with pytest.raises(DefinitionError, match=r"No such file.*\(did you mean 'census.yaml'\?\)"):
        load_file(tmp_path / "cencus.yaml")


def test_a_directory_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"a: \xff")
    for path in (tmp_path, tmp_path / "b.yaml"):
        with pytest.raises(DefinitionError, match="FC201"):
            load_file(path)


def test_an_endless_file_is_read_only_up_to_the_limit() -> None:
    with pytest.raises(DefinitionError, match="FC215"):
        load_file("/dev/zero", limits=STRICT)


def test_terminal_escapes_in_a_text_are_not_printed() -> None:
    with pytest.raises(DefinitionError) as error:
        load_text('{"a\\u001b[2J": 1, "a\\u001b[2J": 2}', name="x.json")
    assert "\x1b" not in str(error.value)


def test_a_long_line_is_cut_around_the_caret() -> None:
    text = (
        json.dumps({"pad": "x" * 10_000})[:-1] + ', "b": 1, "b": 2, "more": "' + "y" * 9_000 + '"}'
    )
    with pytest.raises(DefinitionError) as error:
        load_text(text, name="long.json")
    _, line, caret = error.value.problems[0].splitlines()
    assert len(line) < 140
    assert line[caret.index("^") :].startswith('"b": 2')


def test_limits_are_frozen_and_stricter_for_strangers() -> None:
    assert STRICT.yaml_bytes == 256 * 1024 < Limits().yaml_bytes == 4 * 1024 * 1024
    with pytest.raises(AttributeError):
        STRICT.depth = 1  # type: ignore[misc]


json_trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(json_trees)
def test_any_json_text_reads_as_json_does(tree: object) -> None:
    document = load_text(json.dumps(tree), name="x.json")
    assert document.tree == tree
    assert document.source is not None
    assert document.source.locate([()])[()].value == Position(line=1, column=1)


@given(st.text(max_size=60), st.sampled_from(["x.yaml", "x.json", "x"]))
@settings(max_examples=300)
def test_any_text_gives_a_document_or_a_definition_error(text: str, name: str) -> None:
    with suppress(DefinitionError):
        load_text(text, name=name)


@given(st.text("{}[]:,-?&*!|>'\"#%@` \nab1.~", max_size=40))
@settings(max_examples=500)
def test_any_yaml_like_text_gives_a_document_or_a_definition_error(text: str) -> None:
    try:
        document = load_text(text, name="x.yaml")
    except DefinitionError:
        return
    assert document.source is not None
    document.source.locate([()])
