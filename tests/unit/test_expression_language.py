"""CEL as its definition has it: each rule with small expressions, and what each comes to.

A table and not prose: https://github.com/google/cel-spec (doc/langdef.md) tells the rules.
"""

import math
from typing import Any

import pytest

from flowcore.errors import ExpressionError
from flowcore.expr.cel import ExpressionSyntaxError, compile_expression

GIVEN: dict[str, Any] = {
    "l": [3, 1, 2],
    "m": {"a": 1, "content-type": "x", "n": None, "x": {"y": 2}},
    "b": b"ab\xff",
    "t": True,
}


def _value(text: str) -> Any:
    return compile_expression(text).evaluate({"inputs": GIVEN})


TRUE = {
    "precedence and association": [
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "2 - 3 - 4 == -5 && 24 / 4 / 2 == 3 && 7 % 4 * 2 == 6",
        "1 + 1 < 3 == true",
        "true || false && false",
        "!false && !!true && !(true && false)",
        "-2 - -2 == 0 && - 2 * 3 == -6",
        "(false ? 1 : true ? 2 : 3) == 2 && (true ? false : true ? true : true) == false",
        "1 in [1] == true && (2 in [1]) == false",
        "!inputs.t == false && -inputs.l[0] == -3",
    ],
    "errors that the other side absorbs": [
        "true || 1 / 0 > 0",
        "1 / 0 > 0 || true",
        "!(false && inputs.none)",
        "!(inputs.none && false)",
        "inputs.none.deeper || true",
        "true || inputs.l",
        "'text' || true",
        "true ? true : 1 / 0 > 0",
        "false ? 1 / 0 > 0 : true",
        "[1, 2, 0].exists(x, 2 / x == 1)",
        "[0, 2, 1].exists(x, 2 / x == 1)",
        "![0, 2].all(x, 2 / x == 2)",
    ],
    "macros": [
        "has(inputs.m.a) && !has(inputs.m.z) && has(inputs.m.n) && has(inputs.m.x.y)",
        "!has({}.a) && has({'a': 1}.a)",
        "[].all(x, x > 0) && ![].exists(x, x > 0) && ![].exists_one(x, true)",
        "[1, 2, 3].exists_one(x, x == 2) && ![1, 2, 2].exists_one(x, x == 2)",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1}.exists(k, k == 'a')",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && {'k': 1}.map(k, k) == ['k']",
        "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x % 2 == 1) == [1, 3] && {'a': 1}.filter(k, false) == []",
        "[1, 2].map(x, [3].map(x, x)) == [[3], [3]]",
        "[[1, 2], []].map(x, x.map(y, y + 1)) == [[2, 3], []]",
        "[1].map(inputs, inputs + 1) == [2]",
    ],
    "texts": [
        "'a' + 'b' == 'ab' && 'abc'.size() == 3 && size('é😀') == 2",
        "'abc'.contains('') && 'abc'.contains('bc') && !'abc'.contains('d')",
        "'abc'.startsWith('ab') && 'abc'.endsWith('') && !'abc'.endsWith('b')",
        "'abc'.matches('b') && matches('abc', '^a.c$') && !'abc'.matches('^b')",
        "'a' < 'b' && 'a' < 'aa' && 'B' < 'a' && '' < 'a' && 'z' < 'é'",
        "'é' != 'e\\u0301'",
        r"'\a\b\f\n\r\t\v\\\?\'\"\`'.size() == 12",
        r"'\x41\X41\101\u0041\U00000041' == 'AAAAA'",
        r"'\U0001F600'.size() == 1 && r'\n'.size() == 2 && R'\'.size() == 1",
        "'''it's \"so\"\n''' == 'it\\'s \"so\"\\n' && \"\"\"a\"b\"\"\" == 'a\"b'",
        r"""r'''\''' == '\\' && r"\d" == '\\d'""",
    ],
    "bytes": [
        r"b'\xff' == b'\377' && b'é' == b'\303\251' && size(b'é') == 2",
        r"b'a' + b'b' == bytes('ab') && b'a' < b'b' && b'a' < b'\xff'",
        r"string(b'\303\251') == 'é' && rb'\n'.size() == 2 && br'\n'.size() == 2 && bR'a' == Br'a'",
        "inputs.b.size() == 3 && inputs.b != b'ab'",
    ],
    "numbers": [
        "7 / 2 == 3 && -7 / 2 == -3 && 7 % 3 == 1 && -7 % 3 == -1 && 7 % -3 == 1",
        "7u / 2u == 3u && 7u % 4u == 3u && 1.0 / 0.0 > 1.0e308 && -1.0 / 0.0 < -1.0e308",
        "0x10 == 16 && 0XfFu == 255u && -0x1 == -1 && 1e3 == 1000.0 && .5 == 0.5 && 1E-2 == 0.01",
        "-9223372036854775808 < 9223372036854775807 && 18446744073709551615u > 0u",
        "0.1 + 0.2 != 0.3 && 5e-324 > 0.0 && -0.0 == 0.0",
        "0.0 / 0.0 != 0.0 / 0.0 && !(0.0 / 0.0 < 1.0) && !(0.0 / 0.0 >= 1.0)",
    ],
    "numbers across types": [
        "1 == 1u && 1u == 1.0 && 1.0 == 1 && 1 != 2u && 1.5 != 1",
        "1 < 2u && 1u < 1.5 && -1 < 0u && 1.5 > 1 && 2 >= 2.0 && 2u <= 2.0",
        "9223372036854775807 < 9223372036854775808u && 18446744073709551615u > -1",
        "9007199254740993 > 9007199254740992.0 && 9007199254740993 != 9007199254740992.0",
        "1 in [1.0, 2u] && 2.0 in [1, 2] && [1, 2u] == [1.0, 2.0] && {1: 2} == {1u: 2.0}",
        "1.0 in {1: 2} && 1u in {1: 2} && {1u: 'a'}[1.0] == 'a' && {1: 'a'}[1u] == 'a'",
        "[7, 8][1.0] == 8 && [7, 8][1u] == 8",
    ],
    "equality": [
        "null == null && null != 0 && 'a' != 1 && true != 1 && [] != {} && '1' != 1",
        "[1, [2]] == [1, [2]] && [1, 2] != [2, 1] && [1] != [1, 1]",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && {'a': 1} != {'a': 2} && {'a': null} != {}",
        "[null] == [null] && !([0.0 / 0.0] == [0.0 / 0.0])",
        "false < true && !(true < true) && true >= false",
        "type(1) == int && type(1u) == uint && type('') == string && type(1.0) == double",
        "type(null) == null_type && type([]) == list && type({}) == map && type(type(1)) == type",
        "type(b'') == bytes && type(true) == bool && int != uint",
    ],
    "lists and maps": [
        "[1] + [] + [2, 'a'] == [1, 2, 'a'] && size([1, 2]) == 2 && [1, 2,].size() == 2",
        "size({}) == 0 && {'a': 1, 'b': 2,}.size() == 2 && {true: 1}[true] == 1",
        "[[1, 2], [3]][0][1] == 2 && {'a': {'b': [1]}}.a['b'][0] == 1",
        "inputs.m.`content-type` == 'x' && inputs.m['content-type'] == 'x'",
        "has(inputs.m.`content-type`) && !has(inputs.m.`content/type`) && {'a b': 1}.`a b` == 1",
        "'a' in inputs.m && !('z' in inputs.m) && [1] in [[1]] && !(1 in [])",
        "!(true in {1: 2}) && !(1 in {true: 2}) && !('1' in {1: 2})",
    ],
    "conversions": [
        "int('-7') == -7 && int(3.99) == 3 && int(-3.99) == -3 && int(7u) == 7 && int(7) == 7",
        "uint('7') == 7u && uint(3.99) == 3u && uint(7) == 7u",
        "double('1.5e3') == 1500.0 && double(2) == 2.0 && double(2u) == 2.0 && double('-inf') < 0",
        "string(1) == '1' && string(1u) == '1' && string(1.5) == '1.5' && string(true) == 'true'",
        "string(-0.5) == '-0.5' && string(b'a') == 'a' && string('a') == 'a'",
        "bytes('é') == b'é' && bytes(b'a') == b'a' && dyn(1) == 1 && dyn([1])[0] == 1",
        "bool('true') && bool('TRUE') && bool('t') && bool('1') && bool(true)",
        "!bool('false') && !bool('False') && !bool('f') && !bool('0')",
        "int(timestamp('1970-01-01T00:01:00Z')) == 60 && timestamp(60) > timestamp(59)",
        "string(timestamp('2026-03-01T01:00:00+01:00')) == '2026-03-01T00:00:00Z'",
        "string(duration('1m30.5s')) == '90.5s' && duration(duration('1s')) == duration('1000ms')",
    ],
    "times": [
        "timestamp('2026-03-01T00:00:00Z') == timestamp('2026-03-01T01:00:00+01:00')",
        "timestamp('2026-03-01T00:00:00Z') + duration('1h') > timestamp('2026-03-01T00:59:59Z')",
        "timestamp('2026-03-01T00:00:00Z') - duration('1s') == timestamp('2026-02-28T23:59:59Z')",
        "duration('1h') + duration('-30m') == duration('30m') && -duration('1s') < duration('0')",
        "timestamp('2009-02-13T23:31:30.123456789Z').getFullYear() == 2009",
        "timestamp('2009-02-13T23:31:30Z').getMonth() == 1",
        "timestamp('2009-02-13T23:31:30Z').getDate() == 13",
        "timestamp('2009-02-13T23:31:30Z').getDayOfMonth() == 12",
        "timestamp('2009-02-13T23:31:30Z').getDayOfYear() == 43",
        "timestamp('2009-02-13T23:31:30Z').getDayOfWeek() == 5",
        "timestamp('2009-02-15T23:31:30Z').getDayOfWeek() == 0",
        "timestamp('2009-02-13T23:31:30Z').getHours() == 23",
        "timestamp('2009-02-13T23:31:30Z').getMinutes() == 31",
        "timestamp('2009-02-13T23:31:30Z').getSeconds() == 30",
        "timestamp('2009-02-13T23:31:30.123456789Z').getMilliseconds() == 123",
        "timestamp('2009-02-13T23:31:30Z').getHours('Asia/Kathmandu') == 5",
        "timestamp('2009-02-13T23:31:30Z').getDate('Australia/Sydney') == 14",
        "timestamp('2009-02-13T23:31:30Z').getHours('+02:00') == 1",
        "timestamp('2009-02-13T23:31:30Z').getHours('02:00') == 1",
        "timestamp('2009-02-13T23:31:30Z').getMinutes('-00:40') == 51",
        "duration('3730.5s').getHours() == 1 && duration('3730.5s').getMinutes() == 62",
        "duration('3730.5s').getSeconds() == 3730 && duration('1.234s').getMilliseconds() == 234",
        "duration('-1.234s').getMilliseconds() == -234 && duration('-90m').getHours() == -1",
        "type(timestamp(0)) != type(duration('0s'))",
    ],
    "blanks and comments": [
        " // first\n true // last",
        "\n\ttrue\r\n",
        "[1, // one\n 2].size() == 2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", [one for some in TRUE.values() for one in some])
def test_what_the_definition_says_is_true(text: str) -> None:
    assert _value(text) is True, text


FAILS = [
    # overflow, division
    *("9223372036854775807 + 1", "-9223372036854775808 - 1", "-(-9223372036854775808)"),
    *("9223372036854775807 * 2", "-9223372036854775808 / -1", "18446744073709551615u + 1u"),
    *("0u - 1u", "1 / 0", "1 % 0", "1u / 0u", "1u % 0u"),
    *("int(9223372036854775808.0)", "int(1e300)", "int(0.0 / 0.0)", "uint(-1)", "uint(-1.5)"),
    *("uint('-1')", "int('9223372036854775808')", "int(18446744073709551615u)"),
    # no such overload
    *("1 + 1u", "1 + 1.0", "'a' + 1", "1.5 % 1.0", "-1u", "!1", "-'a'", "-true", "[1] + 1"),
    *("1 < 'a'", "null < null", "[1] < [2]", "{} < {}", "'a' < b'a'", "true < 1"),
    *("true && 1", "1 && true", "false || 'a'", "1 ? 2 : 3", "null ? 1 : 2"),
    *("size(1)", "1.size()", "'a'.startsWith(1)", "'a'.matches('(')", "[1].contains(1)"),
    *("1 in 'a'", "1 in 1", "int(true)", "int('1.5')", "int(' 1')", "int('')", "double('x')"),
    *("bool('yes')", "bool(1)", "bool('TrUe')", r"string(b'\xff')", "string([1])", "bytes(1)"),
    *("duration(1)", "timestamp('x')", "timestamp(0).getHours(1)", "duration('1s').getDate()"),
    # what is not there
    *("[1][1]", "[1][-1]", "[1]['0']", "[1][0.5]", "[1][true]", "b'a'[0]", "'a'[0]", "[][0]"),
    *("{'a': 1}.b", "{'a': 1}[1]", "{1: 2}[true]", "{1: 2}[1.5]", "1.a", "null.a", "inputs.none"),
    *("has(inputs.l.a)", "has(inputs.none.a)", "[1].a"),
    # maps
    *("{'a': 1, 'a': 2}", "{1: 1, 1u: 2}", "{1.5: 1}", "{null: 1}", "{[]: 1}"),
    # errors that nothing absorbs
    *("1 / 0 > 0 || false", "true && 1 / 0 > 0", "(1 / 0 > 0) ? true : true"),
    *("[0, 1].exists(x, 1 / x == 2)", "[1, 0].all(x, 1 / x == 1)", "[0, 1].map(x, 1 / x)"),
    *("[0, 1].exists_one(x, 1 / x == 1)", "[1].all(x, x)", "[1].filter(x, x)", "1.map(x, x)"),
    *("'abc'.map(x, x)", "[1].map(x, x, x)", "[1 / 0, 1][1]", "{'a': 1 / 0}.size()"),
]


@pytest.mark.parametrize("text", FAILS)
def test_what_the_definition_calls_an_error_is_one(text: str) -> None:
    with pytest.raises(ExpressionError):
        _value(text)


UNREADABLE = [
    *("", " ", "//", "1 +", "+1", "1 2", "(1", "1)", "[1", "{1: 2", "{1}", "{1:}", "[,]", "a."),
    *("a..b", ".a", "a b", "1 === 1", "1 = 1", "a ? b", "a ? : b", "true & false", "a | b", "~1"),
    *("'a", 'a"', "'a\nb'", "'''a''", r"'\z'", r"'\x4'", r"'\u12'", r"'\ud800'", r"'\U00110000'"),
    *(r"'\400'", r"'\08'", r"b'\u0041'", "9223372036854775808", "18446744073709551616u", "1e999"),
    *("0x", "1u1", "1.", "1e", "0xg", "1_000", "\u0661 + 1"),
    *("as", "break", "for", "if", "let", "while", "package + 1", "true.a(", "in", "a.in", "a.true"),
    *("f()", "a.f()", "len('a')", "has(a)", "has(a['b'])", "has()", "has(a.b, c)", "a.map(x)"),
    *("a.map(1, x)", "a.map(x.y, x)", "a.all(x, x, x)", "a.map(x, x, x, x)", "size(1, 2)"),
    *("'a'.int()", "contains('a', 'b')", "Message{a: 1}", "a.`b", "a.``", "a.`b`()", "`a`"),
    *("a.`b$c`", "dyn()", "1 in", "!", "--", "a ? b : c :", "$a", "a#b", "é", "a\x00b", "\\a"),
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_the_grammar_does_not_have_is_refused_when_it_is_read(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        compile_expression(text)


def test_a_key_in_backticks_is_a_name_that_is_read() -> None:
    read = compile_expression("inputs.`content-type` + fetch.output.`a/b`[0]")
    assert list(read.inputs) == ["content-type"]
    assert read.node_refs == {"fetch"}
    path = compile_expression("fetch.output.`a-b`.c")
    assert path.is_path
    assert path.evaluate({"fetch": {"output": {"a-b": {"c": 1}}}}) == 1


def test_the_largest_numbers_are_exact() -> None:
    assert _value("-9223372036854775808") == -(2**63)
    assert _value("18446744073709551615u") == 2**64 - 1
    assert math.copysign(1, _value("-0.0")) == -1
