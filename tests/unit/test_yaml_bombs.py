"""Texts made to cost more than they weigh are refused fast and in little memory."""

import time
import tracemalloc

import pytest

from flowcore.errors import DefinitionError
from flowcore.graph.document import STRICT, Limits
from flowcore.graph.load import load_text, load_tree

MIB = 1024 * 1024

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)

BOMBS = {
    "billion laughs": (LAUGHS, "FC219"),
    "quadratic blowup": ("a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 30_000 + "]", "FC219"),
    "recursive alias": ("a: &a [*a]", "FC219"),
    "merge keys": ("a: &a {x: 1}\nb: {<<: *a}", "FC219"),
    "deep lists": ("[" * 200_000, "FC215"),
    "deep mappings": ("{a: " * 50_000, "FC215"),
    "deep indentation": ("".join(" " * i + "a:\n" for i in range(600)), "FC215"),
    "deep dashes": ("- " * 100_000, "FC215"),
    "a million keys": ("".join(f"k{i}: 1\n" for i in range(1_000_000)), "FC215"),
    "a huge scalar": ("a: " + "x" * 20 * MIB, "FC215"),
    "a huge number": ("a: " + "9" * 1_000_000, "FC220"),
    "a huge exponent": ("a: 1e" + "9" * 4, "FC220"),
    "a Python object": ("a: !!python/object/apply:os.system [id]", "FC219"),
    "a Python name": ("!!python/name:os.system", "FC219"),
    "a tag of its own": ("a: !Ref x", "FC219"),
    "a binary": ("a: !!binary aGVsbG8=", "FC219"),
    "a set": ("a: !!set {b, c}", "FC219"),
}


def _refused(text: str, name: str) -> tuple[str, float]:
    """Read a bomb twice: once for its time, once for its memory."""
    began = time.process_time()
    with pytest.raises(DefinitionError) as error:
        load_text(text, name=name)
    seconds = time.process_time() - began
    tracemalloc.start()
    try:
        with pytest.raises(DefinitionError):
            load_text(text, name=name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50 * MIB
    assert len(str(error.value)) < 1_000
    return error.value.problems[0].split("error ")[1][:5], seconds


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_yaml_bomb_is_refused_in_a_tenth_of_a_second(bomb: str) -> None:
    text, expected = BOMBS[bomb]
    code, seconds = _refused(text, "bomb.yaml")
    assert code == expected
    assert seconds < 0.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":' * 100_000, "FC215"),
        ("[" * 1_000_000, "FC215"),
        ('{"a": ' + "9" * 1_000_000 + "}", "FC220"),
        ('{"a": "' + "x" * 70 * MIB + '"}', "FC215"),
    ],
    ids=["deep mappings", "deep lists", "a huge number", "a huge text"],
)
def test_a_json_bomb_is_refused_in_a_tenth_of_a_second(text: str, expected: str) -> None:
    code, seconds = _refused(text, "bomb.json")
    assert code == expected
    assert seconds < 0.1


def test_a_python_tree_that_shares_its_branches_is_not_unfolded() -> None:
    tree: list[object] = ["lol"]
    for _ in range(40):
        tree = [tree, tree]
    with pytest.raises(DefinitionError, match="more than 200,000 values"):
        load_tree(tree, limits=STRICT)


def test_a_python_tree_that_holds_itself_is_refused() -> None:
    tree: dict[str, object] = {}
    tree["again"] = tree
    with pytest.raises(DefinitionError, match="nested deeper than 50 levels"):
        load_tree(tree)


def test_text_of_strangers_is_held_to_a_quarter_of_a_mebibyte() -> None:
    text = "a: " + "x" * 256 * 1024
    assert load_text(text).tree
    with pytest.raises(DefinitionError, match="larger than 256 KiB"):
        load_text(text, limits=STRICT)


@pytest.mark.parametrize("name", ["x.yaml", "x.json"])
def test_fifty_levels_are_read_and_fifty_one_are_not(name: str) -> None:
    load_text("[" * 50 + "]" * 50, name=name)
    with pytest.raises(DefinitionError, match="nested deeper than 50 levels"):
        load_text("[" * 51 + "]" * 51, name=name, limits=Limits())
