"""All expressions of a definition together are bounded, before any of them is compiled."""

import itertools
from typing import Any

import pytest

from flowcore.check.check import check
from flowcore.check.expression_size import check_expression_size
from flowcore.check.rules import expressions as rules_expressions
from flowcore.errors import DefinitionError
from flowcore.graph.document import STRICT, Limits
from flowcore.graph.load import DEFAULT_LIMITS, load_text, load_tree

LONG = "inputs.n + " + "1 + " * 900


def _tree(texts: list[Any]) -> dict[str, Any]:
    nodes = {
        f"n{at}": {"uses": "passthrough", "with": {"v": text}} for at, text in enumerate(texts)
    }
    return {"nodes": nodes}


def _refusal(tree: dict[str, Any], limits: Limits = DEFAULT_LIMITS) -> str:
    try:
        check_expression_size(load_tree(tree, limits=limits))
    except DefinitionError as error:
        return str(error)
    return ""


def test_megabytes_of_expressions_are_refused_before_one_is_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compile_none(*_: Any) -> None:
        pytest.fail("an expression was compiled")

    monkeypatch.setattr(rules_expressions, "compile_text", compile_none)
    monkeypatch.setattr(rules_expressions, "compile_expression", compile_none)
    tree = _tree([f"${{{{ {LONG} {at} }}}}" for at in range(400)])
    with pytest.raises(DefinitionError, match="at most 262,144 characters in all"):
        check(load_tree(tree), resolve=False)


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, STRICT])
def test_the_bound_is_exact_and_says_where_it_is_exceeded(limits: Limits) -> None:
    size = len(f" {LONG} 100000 ")
    count = limits.expressions // size
    texts = [f"${{{{ {LONG} {100_000 + at} }}}}" for at in range(count + 1)]
    assert _refusal(_tree(texts[:-1]), limits) == ""
    found = _refusal(_tree(texts), limits)
    assert "FC215" in found
    assert f"nodes.n{count}.with.v" in found


@pytest.mark.parametrize(
    "part",
    [
        {"if": "{}"},
        {"uses": "loop", "until": "{}"},
        {"for_each": "${{ {} }}"},
        {"with": {"x": {"y": [1, "before ${{ {} }} after"]}}},
        {"with": {"x": "${{ '}}' + {} }}"}},
        {"with": {"x": "${{ a }} and ${{ {} }}"}},
        {"flow": {"nodes": {"x": {"if": "{}"}}}},
        {"cache": {"key": "${{ {} }}"}},
        {"with": {"x": "${{ {} never closed"}},
    ],
)
def test_expressions_count_wherever_they_stand(part: dict[str, Any]) -> None:
    numbers = itertools.count()

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return value.replace("{}", f"{LONG} {next(numbers)}") if isinstance(value, str) else value

    nodes = {f"n{at}": {"uses": "start", **filled(part)} for at in range(100)}
    assert "FC215" in _refusal({"nodes": nodes})


def test_paths_texts_and_what_stands_twice_do_not_count() -> None:
    prose = "word " * 20_000
    assert _refusal(_tree(["${{ inputs.some.long.path_of_names }}"] * 20_000)) == ""
    assert _refusal(_tree([f"${{{{ inputs.n{at}.x }}}}" for at in range(20_000)])) == ""
    assert _refusal(_tree([f"${{{{ {LONG} }}}}"] * 1000)) == ""
    assert _refusal(_tree([f"{prose} {at} ${{{{ inputs.n + 1 }}}}" for at in range(40)])) == ""
    assert (
        _refusal(_tree([f"{prose} {at} ${{{{ inputs.n + 1 }}}} {prose}" for at in range(9)])) == ""
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nodes: {a: {uses: start, output: {type: number, maximum: 1e309}}}", "f.yaml"),
        ("nodes: {a: {uses: start, output: {type: number, maximum: -1e400}}}", "f.yaml"),
        ('{"nodes": {"a": {"uses": "start", "output": {"maximum": 1e309}}}}', "f.json"),
    ],
)
def test_a_number_beyond_the_largest_has_a_way_out(text: str, name: str) -> None:
    with pytest.raises(DefinitionError, match=r"FC220.*JSON can hold") as caught:
        load_text(text, name=name)
    assert "1.8e308" in str(caught.value)
    assert "leave out a bound" in str(caught.value)
