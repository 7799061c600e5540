"""Expressions read data and nothing else; templates put them into text."""

import contextlib
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.errors import ExpressionError
from flowcore.expr.cel import ExpressionSyntaxError, compile_expression
from flowcore.expr.scan import tokenize
from flowcore.expr.template import compile_template, compile_text
from flowcore.expr.tree import Part, parse

CONTEXT: dict[str, Any] = {
    "inputs": {"url": "u", "n": 3, "odd key": 1, "big": 2**70},
    "fetch": {"output": {"items": [3, 1, 2], "ok": True, "s": "héllo"}, "state": "succeeded"},
    "my-node": {"output": 5, "state": "succeeded"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.url", "u"),
        (" fetch . output ", {"items": [3, 1, 2], "ok": True, "s": "héllo"}),
        ("fetch.output.items[0]", 3),
        ("inputs['odd key'] + 1", 2),
        ('inputs["odd key"]', 1),
        ('nodes["my-node"].output', 5),
        ("nodes['my-node'].output + nodes.fetch.output.items[1]", 6),
        ("fetch.output.items.size() > 2 && fetch.output.ok", True),
        ("size('héllo 😀')", 7),
        ("'hé'.size() + size({'a': 1}) + size(b'hé')", 6),
        ("fetch.output.items.filter(x, x > inputs.n - 2).map(x, x * 2)", [6, 4]),
        ("has(fetch.output.nothing)", False),
        ("fetch.output.ok ? 'y' : absent", "y"),
        ("fetch.output.s.startsWith('hé')", True),
        ("inputs.big", 2**70),
        ("[1u, -2, 3.5, null, true]", [1, -2, 3.5, None, True]),
        ("b'hi'", b"hi"),
        ("timestamp('2024-01-02T03:04:05Z')", "2024-01-02T03:04:05Z"),
        ("duration('90s')", "90s"),
        ("{'b': 1, 'a': [b'x']}", {"b": 1, "a": [b"x"]}),
        ("{1: 2, 3: 4}", {"1": 2, "3": 4}),
        ("type(1) == int", True),
        ('\'}}\' + r\'\\n\' + """q"""', "}}\\nq"),
        ("1 // a comment", 1),
    ],
)
def test_an_expression_gives_a_plain_json_value(text: str, value: object) -> None:
    result = compile_expression(text).evaluate(CONTEXT)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 + 1", set()),
        ("fetch.output", {"fetch"}),
        ("fetch.inputs + inputs.fetch", {"fetch", "inputs"}),
        ("a.map(x, x + y)", {"a", "y"}),
        ("a.map(x, x) + x", {"a", "x"}),
        ("x.map(x, x)", {"x"}),
        ("a.exists(x, b.all(y, x == y && z))", {"a", "b", "z"}),
        ("{'k': v, k2: 1}", {"v", "k2"}),
        ('nodes["my-node"].output', {"my-node"}),
        ("nodes.fetch.output", {"fetch"}),
        ("size(a) + b.size()", {"a", "b"}),
        ("c ? d : e in f", {"c", "d", "e", "f"}),
        ("'fetch.output' + \"a\" // b", set()),
        ("string(a)", {"a"}),
        ("true || null == a", {"a"}),
    ],
)
def test_names_are_the_roots_that_an_expression_reads(text: str, names: set[str]) -> None:
    expression = compile_expression(text)
    assert expression.names == names
    assert expression.node_refs == names - {"inputs"}


@pytest.mark.parametrize(
    ("text", "reason", "offset"),
    [
        ("", "the expression is empty", 0),
        ("   ", "the expression is empty", 0),
        ("a +", "the expression ends too early", 3),
        ("a b", "unexpected 'b'", 2),
        ("a ==\n== b", "unexpected '=='", 5),
        ("a..b", "a name may not begin with '.'", 2),
        (".a", "a name may not begin with '.'", 0),
        ("a + 'b", "the text that begins with ' has no end", 4),
        ("a # b", "unexpected character '#'", 2),
        ("a }} b", "'}}' closes nothing", 2),
        ("if.output", "'if' is a word of CEL; write nodes[\"if\"] for the node", 0),
        ("nodes[inputs.x]", "'nodes' takes the name of one node as a text: nodes[\"fetch\"]", 0),
        ("size(nodes)", "'nodes' takes the name of one node as a text: nodes[\"fetch\"]", 5),
        ("a.upper()", "there is no function 'upper'", 2),
        ("Msg{a: 1}", "message types are not available", 0),
        ("(" * 33 + "1" + ")" * 33, "nested deeper than 32 levels", 32),
        (
            "[1].map(x, [1].map(y, [1].map(z, 1)))",
            "more than 2 loops inside each other",
            29,
        ),
        ("1" * 4097, "longer than 4,096 characters", 4096),
    ],
)
def test_a_wrong_expression_says_what_and_where(text: str, reason: str, offset: int) -> None:
    with pytest.raises(ExpressionSyntaxError) as error:
        compile_expression(text)
    assert (error.value.reason, error.value.offset) == (reason, offset)
    assert isinstance(error.value, ExpressionError)
    assert pickle.loads(pickle.dumps(error.value)).offset == offset


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("late.output", "'late' is not available here (at character 1)"),
        ("late.output + 1", "'late' is not available here (at character 1)"),
        ("fetch.output.nope", "there is no key 'nope' (at character 14)"),
        ("  fetch.output.nope + 1", "there is no key 'nope' (at character 14)"),
        ("fetch.output.items[3]", "there is no item 3: the list has 3 (at character 19)"),
        (
            "1 + fetch.output.items[inputs.n]",
            "there is no item 3: the list has 3 (at character 23)",
        ),
        ("fetch.output.s.x", "cannot take 'x' of text (at character 16)"),
        ("1 / 0", "division by zero (at character 3)"),
        ("size(1)", "there is no size() of int (at character 1)"),
        (
            "true && 2 * (3 + fetch.output.items) > 1",
            "there is no '+' of int and list (at character 16)",
        ),
        (
            "inputs.n + fetch.output.s",
            (
                "there is no '+' of int and string; int(…), double(…) and string(…) convert "
                "(at character 10)"
            ),
        ),
        ("inputs.n && true", "'&&' is of true and false, not of int (at character 10)"),
        ("inputs.n ? 1 : 2", "'?' is of true and false, not of int (at character 10)"),
        ("fetch.output.ok ? -fetch.output.s : 2", "there is no '-' of string (at character 19)"),
        ("2 in inputs.n", "'in' looks into a list or a map, not into int (at character 3)"),
        (
            "fetch.output.s.startsWith(1)",
            "there is no startsWith() of string and int (at character 16)",
        ),
        ("int('abc')", "int(): the text is not a whole number (at character 1)"),
        (
            "fetch.output.items.map(x, [x, x > 2 ? -x : 'a' + x])",
            (
                "there is no '+' of string and int; int(…), double(…) and string(…) convert "
                "(at character 48)"
            ),
        ),
        ("{'a': [1, !3]}", "there is no '!' of int (at character 11)"),
        ("has(fetch.output.s.x.y)", "cannot take 'x' of text (at character 20)"),
    ],
)
def test_a_failing_evaluation_says_which_part_failed_of_what_types_and_where(
    text: str, message: str
) -> None:
    with pytest.raises(ExpressionError) as error:
        compile_expression(text).evaluate(CONTEXT)
    assert str(error.value) == f"{text.strip()}: {message}"


ESCAPES = [
    "__import__('os').system('id')",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__.__mro__",
    "inputs.__class__",
    "inputs.__init__.__globals__",
    "inputs.keys()",
    "inputs.get('url')",
    "fetch.output.items.append(4)",
    "fetch.output.items.__len__",
    "fetch.output.s.format(inputs)",
    "fetch.output.s.__class__",
    "getattr(inputs, 'url')",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "globals()",
    "nodes.__class__",
    "nodes['__class__'].x",
    "lambda: 1",
    "[x for x in inputs]",
    "f'{inputs}'",
    "inputs['__class__']",
    "type(inputs).mro()",
    "os.system('id')",
    "cel.bind(x, 1, x)",
    "inputs.url.__getattribute__('x')",
    "`ls`",
    "$(id)",
    "{{ 7 * 7 }}",
    "inputs|attr('x')",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_no_expression_reaches_python(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text).evaluate(CONTEXT)


def test_a_python_object_in_the_data_gives_nothing_away() -> None:
    class Secret:
        token = "canary"

    for text in ("a.token", "a.output.token", "a.output.token + ''"):
        with pytest.raises(ExpressionError):
            compile_expression(text).evaluate({"a": {"output": Secret()}})  # type: ignore[dict-item]


def test_the_same_text_is_compiled_once() -> None:
    assert compile_expression("a.b + 1") is compile_expression("a.b + 1")


# ── Templates ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("${{ fetch.output.items }}", [3, 1, 2]),
        ("${{inputs.n}}", 3),
        (" ${{ inputs.n }}", " 3"),
        ("${{ inputs.url }}-${{ inputs.n }}", "u-3"),
        ("x=${{ fetch.output.items }} ${{ null }} ${{ true }}", "x=[3, 1, 2] null true"),
        ("é ${{ [fetch.output.s] }}", 'é ["héllo"]'),
        ("$${{ inputs.n }}", "${{ inputs.n }}"),
        ("a $${{ b }} ${{ inputs.n }}", "a ${{ b }} 3"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ '}}' }}", "}}"),
        ("}} $ { {{ ${{ inputs.n }}", "}} $ { {{ 3"),
        ({"k": ["${{ inputs.n }}", 1], "z": None}, {"k": [3, 1], "z": None}),
        ({"${{ inputs.n }}": 1}, {"${{ inputs.n }}": 1}),
    ],
)
def test_a_template_renders(template: Any, value: object) -> None:
    assert compile_template(template).render(CONTEXT) == value


def test_a_tree_without_expressions_is_returned_as_it_is() -> None:
    tree: dict[str, Any] = {"a": [1, {"b": "c"}]}
    template = compile_template(tree)
    assert template.render({}) is tree
    assert template.names == frozenset()


def test_a_template_knows_the_names_it_reads() -> None:
    template = compile_template(
        {"a": "${{ x.output }} ${{ inputs.i }}", "b": ['${{ nodes["y-y"] }}']}
    )
    assert template.names == {"x", "inputs", "y-y"}
    assert template.node_refs == {"x", "y-y"}


def test_references_stand_where_the_text_has_them() -> None:
    text = "a ${{ x.output }} b ${{ 1 + yy.output }}"
    places = {ref.name: ref.offset for ref in compile_text(text).references}
    assert places == {"x": text.index("x.output"), "yy": text.index("yy.output")}


@pytest.mark.parametrize(
    ("text", "offset"), [("a ${{ b", 2), ("a ${{ b..c }}", 8), ("${{ }}", 3), ("${{ 'a }}", 4)]
)
def test_a_wrong_template_says_where(text: str, offset: int) -> None:
    with pytest.raises(ExpressionSyntaxError) as error:
        compile_template([text])
    assert error.value.offset == offset


@given(st.text(max_size=30) | st.text("ab.()[]{}'\"+-!?:,&|=<> 12nodes", max_size=25))
@settings(max_examples=500)
def test_any_text_compiles_or_raises_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_expression(text).evaluate({"a": {"b": [1]}})


@given(st.text("${} a'\"", max_size=20))
def test_any_text_is_a_template_or_raises_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_template(text).render({"a": 1})


@pytest.mark.parametrize(
    ("text", "size", "good"),
    [
        ("inputs.x.map(i, i + 1).size()", 1000, True),
        ("inputs.x.filter(i, i > 1).size()", 20_000, True),
        ("inputs.x.filter(i, i > 1).size()", 1_000_001, False),
        ("inputs.x.all(i, i >= 0)", 20_000, True),
        ("inputs.x.all(i, inputs.x.exists(j, i == j))", 300, True),
        ("inputs.x.all(i, inputs.x.exists(j, i == j))", 3000, False),
        ("inputs.x.map(i, inputs.x.map(j, i * j)).size()", 500, True),
        ("inputs.x.map(i, inputs.x.map(j, i * j)).size()", 2000, False),
    ],
)
def test_loops_that_would_take_too_long_are_refused(text: str, size: int, *, good: bool) -> None:
    given = {"inputs": {"x": list(range(size))}}
    expression = compile_expression(text)
    if good:
        expression.evaluate(given)
        return
    with pytest.raises(
        ExpressionError, match="more than 3,000,000 steps on this data; do it in a function"
    ):
        expression.evaluate(given)


def test_an_expression_without_names_is_worked_out_too() -> None:
    assert compile_template({"a": "${{ 1 + 2 }}", "b": "${{ [1, 2] }}"}).render({}) == {
        "a": 3,
        "b": [1, 2],
    }


def _bracketed(part: Part) -> str:
    """Write a part with every bracket that CEL would think of."""
    of = [_bracketed(one) for one in part.parts]
    if part.kind == "infix":
        return f"({of[0]} {part.word} {of[1]})"
    if part.kind == "choice":
        return f"({of[0]} ? {of[1]} : {of[2]})"
    if part.kind == "prefix":
        return f"({part.word}{of[0]})"
    if part.kind == "list":
        return f"[{', '.join(of)}]"
    if part.kind == "index":
        return f"{of[0]}[{of[1]}]"
    return part.word


_ATOMS = st.sampled_from(["1", "2", "-3", "7", "[4, 5][1]", "(6)", "inputs"])
_SUMS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from("+-*"), inner)
        | st.builds("{} {} {} ? {} : {}".format, inner, st.sampled_from("<>"), inner, inner, inner)
        | st.builds("({})".format, inner)
    ),
    max_leaves=12,
)


@given(_SUMS)
@settings(max_examples=200)
def test_the_parts_of_an_expression_are_those_that_cel_sees(text: str) -> None:
    try:
        value = compile_expression(text).evaluate({"inputs": 10})
    except ExpressionError:
        return
    part = parse(tokenize(text)[0])
    assert compile_expression(_bracketed(part)).evaluate({"inputs": 10}) == value
