"""No expression of a legal size takes long or takes much: B4 of the cases, and its kind."""

import contextlib
import random
import time
import tracemalloc
from typing import Any

import pytest

from flowcore.errors import ExpressionError
from flowcore.expr import budget as budget_module
from flowcore.expr.budget import MAX_BYTES, MAX_STEPS, Budget, BudgetError
from flowcore.expr.cel import ExpressionSyntaxError, compile_expression
from flowcore.expr.template import compile_template
from tests.deep import count

#: Seconds of the processor, not of the clock: three times what the slowest takes here.
PATIENCE = 6.0
SLACK = 40 * 2**20


def _deep(levels: int) -> Any:
    value: Any = [1]
    for _ in range(levels):
        value = [value]
    return value


def _wide(levels: int) -> Any:
    value: Any = [1]
    for _ in range(levels):
        value = [value, value]
    return value


LIST = list(range(8_000))
INPUTS: dict[str, Any] = {
    "l": LIST,
    "many": list(range(1_000_000)),
    "s": "x" * 100_000,
    "big": "y" * 4_000_000,
    "wide": "é" * 1_000_000,
    "tree": _wide(16),
    "deep": _deep(240),
    "rows": [{"a": number, "b": str(number)} for number in range(20_000)],
    "m": {f"k{number}": number for number in range(5_000)},
    "texts": ["x" * 2_000 + str(number) for number in range(2_000)],
}
CONTEXT = {"inputs": INPUTS}

GREEDY = [
    "+".join(["inputs.l.map(x, inputs.l.map(y, x).size())[0]"] * 40),
    "inputs.l.map(x, inputs.s + string(x))",
    "inputs.l.map(x, inputs.big)",
    "inputs.l.map(x, [inputs.s])",
    "inputs.l.map(x, {'k': inputs.l})",
    "inputs.l.map(x, inputs.l + inputs.l).size()",
    "inputs.l.map(x, inputs.l.map(y, x * y)).size()",
    "inputs.l.all(x, inputs.l.all(y, x + y * 2 - 1 >= -5))",
    "inputs.l.all(x, inputs.l.exists(y, y.a.b.c == x) || true)",
    "inputs.l.all(x, inputs.big.contains('z') || true)",
    "inputs.l.all(x, inputs.big != inputs.big + 'a')",
    "inputs.l.all(x, inputs.tree == inputs.tree)",
    "inputs.l.all(x, bytes(inputs.s).size() > 0)",
    "inputs.many.all(x, x in inputs.many)",
    "inputs.many.all(x, timestamp('2026-01-01T00:00:00Z').getHours('Europe/Berlin') > 5 || true)",
    "inputs.many.all(x, duration('1h2m3.000000001s') > duration('0'))",
    "inputs.many.map(x, [x, x, x, x, x, x, x, x])",
    "inputs.many.map(x, string(x) + string(x))",
    "inputs.wide.matches('(.{0,500}b){0,1}(.{0,400}c)*$')",
    "inputs.l.all(x, inputs.s.matches('(x+x+)+y') || true)",
    "inputs.many.all(x, 'a'.matches('(a{1,9}){1,50}' + string(x)) || true)",
    "inputs.texts.all(x, x in inputs.texts && x + 'a' in inputs.texts || true)",
    "inputs.m.map(k, inputs.m.map(j, k + j)).size()",
]
MODEST = [
    "+".join(["inputs.l.map(x, x).size()"] * 40),
    "inputs.l.filter(x, x % 2 == 0).map(x, x * x)",
    "inputs.rows.all(r, r.a >= 0)",
    "inputs.rows.filter(r, r.a > 100).map(r, r.b + '!')",
    "inputs.rows.exists(r, r.b == '19999')",
    "inputs.m.map(k, inputs.m[k])",
    "inputs.deep == inputs.deep",
    "inputs.tree == inputs.tree",
    "inputs.big.contains('z') || inputs.big.size() > 3",
    "inputs.s.matches('^(x+x+)+$')",
    "inputs.big",
    "[inputs.big, inputs.deep]",
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> float:
    """A part of the budget, but for deep campaigns: what it bounds is proportional to it."""
    part = count(10, 1)
    monkeypatch.setattr(budget_module, "MAX_STEPS", MAX_STEPS // part)
    monkeypatch.setattr(budget_module, "MAX_BYTES", MAX_BYTES // part)
    return PATIENCE / part + 1.0


def _cost(text: str) -> tuple[float, str | None]:
    """Seconds of the processor, and what was said against it."""
    expression = compile_expression(text)
    begins = time.process_time()
    try:
        expression.evaluate(CONTEXT)
    except ExpressionError as error:
        return time.process_time() - begins, str(error)
    return time.process_time() - begins, None


@pytest.mark.parametrize("text", GREEDY)
def test_what_would_take_too_much_is_refused_before_it_does(small: float, text: str) -> None:
    seconds, said = _cost(text)
    assert said is not None
    assert "of this data; do it in a function" in said or "on this data; do it" in said
    assert seconds < small


@pytest.mark.parametrize("text", MODEST)
def test_what_people_write_is_worked_out(text: str) -> None:
    seconds, said = _cost(text)
    assert said is None or "takes more than" not in said
    assert seconds < PATIENCE


@pytest.mark.parametrize("text", [GREEDY[1], GREEDY[2], GREEDY[4], MODEST[3]])
def test_memory_is_bounded_too(text: str) -> None:
    expression = compile_expression(text)
    tracemalloc.start()
    try:
        _ = [expression.evaluate(CONTEXT) for _ in range(1) if text in MODEST]
        if text in GREEDY:
            with pytest.raises(ExpressionError):
                expression.evaluate(CONTEXT)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES + SLACK
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "1" + "+1" * 2_000,
        "'a'" + "+'a'" * 1_000,
        "!" * 4_000 + "true",
        "-" * 4_000 + "1",
        "true ? 1 : " * 350 + "1",
        "true ? " * 60 + "1" + " : 2" * 60,
        "[" * 32 + "]" * 32,
        "a" + ".a" * 2_000,
        "true" + "&&true" * 600,
        "1" + "<1" * 2_000,
        "[1]" + "[0]" * 1_300,
        "'" + "\\u00e9" * 600 + "'",
    ],
)
def test_long_texts_are_no_trouble(text: str) -> None:
    begins = time.process_time()
    with contextlib.suppress(ExpressionError):
        compile_expression(text).evaluate({"inputs": {}})
    assert time.process_time() - begins < PATIENCE


def test_choices_inside_choices_have_a_limit_of_their_own() -> None:
    with pytest.raises(ExpressionSyntaxError, match="nested deeper than 32 levels"):
        compile_expression("true ? " * 350 + "1" + " : 2" * 350)


def test_a_budget_that_is_used_up_is_not_an_error_that_or_gets_around(small: float) -> None:
    for text in (
        "inputs.l.all(x, inputs.l.all(y, x + y > -1)) || true",
        "false && true || inputs.many.all(x, x + x + x >= 0) || true",
        "[1, 2].exists(x, inputs.many.all(y, y + x >= 0 && y >= 0) || x == 2)",
    ):
        with pytest.raises(ExpressionError, match="steps on this data"):
            compile_expression(text).evaluate(CONTEXT)


def test_the_expressions_of_one_with_have_one_budget(small: float) -> None:
    one = "${{ inputs.l.all(x, inputs.l.map(y, y).size() > 0 && x < 100) }}"
    with pytest.raises(ExpressionError, match="steps on this data"):
        compile_template({f"k{number}": one for number in range(50)}).render(CONTEXT)
    few = "${{ inputs.m.size() }}"
    assert compile_template([few] * 500).render(CONTEXT) == [5_000] * 500


def test_a_large_value_that_is_read_often_is_bounded() -> None:
    for text in ("${{ inputs.big }}", "a ${{ inputs.big }}", "${{ {'k': inputs.big} }}"):
        with pytest.raises(ExpressionError, match="makes more than 96 MB"):
            compile_template({f"k{number}": text for number in range(100)}).render(CONTEXT)
    twice = compile_template(["${{ inputs.big }}", "${{ inputs.rows }}", "${{ inputs.rows[0] }}"])
    assert twice.render(CONTEXT) == [INPUTS["big"], INPUTS["rows"], INPUTS["rows"][0]]
    with pytest.raises(ExpressionError, match="makes more than 96 MB"):
        compile_template("${{ inputs.big }}" * 100).render(CONTEXT)


def test_what_several_expressions_read_is_a_copy_of_the_data() -> None:
    data = {"inputs": {"rows": [{"a": [1]}]}}
    rendered = compile_template(["${{ inputs.rows }}", "${{ inputs.rows[0] }}"]).render(data)
    assert isinstance(rendered, list)
    rendered[0][0]["a"].append(2)
    assert data == {"inputs": {"rows": [{"a": [1]}]}}


def test_a_budget_counts_what_is_read_and_made() -> None:
    budget = Budget()
    budget.read(10)
    assert budget.steps == MAX_STEPS
    budget.make(2_048)
    assert (budget.steps, budget.bytes) == (MAX_STEPS - 2, MAX_BYTES - 2_048)
    with pytest.raises(BudgetError):
        budget.spend(MAX_STEPS)
    with pytest.raises(BudgetError):
        budget.make(MAX_BYTES)


_LISTS = ["inputs.l", "inputs.many", "inputs.rows.map(r, r.a)", "inputs.m.map(k, inputs.m[k])"]
_TEXTS = ["inputs.s", "inputs.big", "inputs.wide", "'x'", "'(a|b)*c'", "inputs.texts[1]"]


class _Writer:
    """Writes expressions whose types fit, mostly."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def list(self, depth: int, bound: tuple[str, ...] = ()) -> str:
        if depth == 0:
            return self.dice.choice(_LISTS[: 2 if bound else 4])
        of, name = self.list(depth - 1, bound), "xy"[len(bound)] if len(bound) < 2 else ""
        if not name or self.dice.random() < 0.3:
            return f"({of} + [{self.number(depth - 1, bound)}])"
        inner = (*bound, name)
        return self.dice.choice(
            [
                f"{of}.map({name}, {self.number(depth - 1, inner)})",
                f"{of}.map({name}, {self.text(depth - 1, inner)}.size())",
                f"{of}.filter({name}, {self.test(depth - 1, inner)})",
            ]
        )

    def number(self, depth: int, bound: tuple[str, ...] = ()) -> str:
        if depth == 0:
            return self.dice.choice([*bound, "1", "7"])
        sides = self.number(depth - 1, bound), self.number(depth - 1, bound)
        return self.dice.choice(
            [
                f"({sides[0]} {self.dice.choice('+-*')} {sides[1]})",
                f"({self.test(depth - 1, bound)} ? {sides[0]} : {sides[1]})",
                f"{self.list(depth - 1, bound)}.size()",
                f"{self.text(depth - 1, bound)}.size()",
            ]
        )

    def text(self, depth: int, bound: tuple[str, ...] = ()) -> str:
        if depth == 0:
            return self.dice.choice(_TEXTS)
        return self.dice.choice(
            [
                f"({self.text(depth - 1, bound)} + {self.text(depth - 1, bound)})",
                f"string({self.number(depth - 1, bound)})",
            ]
        )

    def test(self, depth: int, bound: tuple[str, ...] = ()) -> str:
        if depth == 0:
            return self.dice.choice(["true", "false"])
        texts = self.text(depth - 1, bound), self.text(depth - 1, bound)
        numbers = self.number(depth - 1, bound), self.number(depth - 1, bound)
        return self.dice.choice(
            [
                f"({numbers[0]} {self.dice.choice(['<', '==', '>='])} {numbers[1]})",
                f"({texts[0]} == {texts[1]})",
                f"{texts[0]}.contains({texts[1]})",
                f"{texts[0]}.matches({texts[1]})",
                f"({numbers[0]} in {self.list(depth - 1, bound)})",
                f"({self.list(depth - 1, bound)} == {self.list(depth - 1, bound)})",
                f"({self.test(depth - 1, bound)} || {self.test(depth - 1, bound)})",
            ]
        )


@pytest.mark.timeout(1800)
def test_random_expressions_on_large_data_stay_within_their_budget(small: float) -> None:
    writer = _Writer(5)
    refused = worked = 0
    for number in range(count(60, 1_500)):
        write = (writer.list, writer.number, writer.text, writer.test)[number % 4]
        text = write(4)
        try:
            compile_expression(text)
        except ExpressionSyntaxError:
            continue
        seconds, said = _cost(text)
        assert seconds < small, text
        refused += said is not None and "do it in a function" in said
        worked += said is None
    assert refused
    assert worked
