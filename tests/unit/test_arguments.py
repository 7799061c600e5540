"""Each argument of each built-in type is held to one model, as written and when it runs."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema_rs
import pytest

from flowcore.check.check import check
from flowcore.check.schema import json_schema
from flowcore.errors import FlowcoreError, UsageError
from flowcore.graph.diagnostic import CODES, InvalidFlowError
from flowcore.graph.load import load_text, load_tree
from flowcore.nodes.arguments.model import misfits
from flowcore.nodes.arguments.registry import ARGUMENTS
from flowcore.nodes.context import Resumed
from flowcore.nodes.resolve import forget
from flowcore.nodes.types.builtin import BUILTIN, Suspend
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.types import LONGEST, format_duration, parse_duration
from tests.deep import count

SCHEMA = jsonschema_rs.Draft202012Validator(json_schema())

#: Values of every kind, by a name for each. YAML and JSON can hold all of them.
POOL: dict[str, Any] = {
    "true": True, "false": False, "zero": 0, "one": 1, "minus": -1, "half": 0.5, "three": 3,
    "huge": 1e300, "minus huge": -1e300, "status": 404, "big": 2**62,
    "empty": "", "word": "word", "digits": "3", "span": "5s", "minus span": "-5s",
    "long span": "40000d", "date": "2026-12-24", "far date": "2926-01-01", "url": "http://a.example/x",
    "ftp": "ftp://a.example", "no host": "http://", "spaces": "a b", "verb": "read",
    "empty list": [], "numbers": [1, 2], "statuses": [404], "words": ["a"], "nested": [[1]],
    "pairs": [["a", 1]], "messages": [{"role": "user", "content": "x"}],
    "roleless": [{"content": "x"}], "empty map": {}, "map": {"a": "b"}, "numbered": {"a": 1},
    "deep": {"a": {"b": 1}}, "mixed": {"a": [1]}, "truths": {"b": True}, "bad key": {"a b": "x"},
}  # fmt: skip
LISTS = {name for name, value in POOL.items() if isinstance(value, list)}
MAPS = {name for name, value in POOL.items() if isinstance(value, dict)}
TEXTS = {name for name, value in POOL.items() if isinstance(value, str)}
NUMBERS = {
    name
    for name, value in POOL.items()
    if isinstance(value, int | float) and not isinstance(value, bool)
}
ALL = set(POOL)
FULL_TEXTS = TEXTS - {"empty"}
SMALL = {"one", "half", "three", "status"}
SPANS = {"digits", "span"}

#: For each argument: what else it takes to have it, and the values that it can have; no others.
CASES: dict[tuple[str, str], tuple[dict[str, Any], set[str]]] = {
    ("wait", "for"): ({}, SMALL | SPANS | {"zero"}),
    ("wait", "until"): ({}, SMALL | {"zero", "date"}),
    ("signal", "name"): ({}, FULL_TEXTS),
    ("signal", "timeout"): ({"name": "go"}, SMALL | SPANS | {"zero"}),
    ("signal", "default"): ({"name": "go"}, ALL),
    ("approval", "message"): ({}, FULL_TEXTS | NUMBERS),
    ("approval", "timeout"): ({}, SMALL | SPANS | {"zero"}),
    ("approval", "default"): ({}, {"true", "false"}),
    ("approval", "on_reject"): ({}, set()),
    ("sleep", "seconds"): ({}, SMALL | {"zero"}),
    ("http", "url"): ({}, {"url"}),
    ("http", "method"): ({"url": "http://a"}, {"word", "verb"}),
    ("http", "headers"): ({"url": "http://a"}, {"map", "numbered", "empty map"}),
    ("http", "params"): (
        {"url": "http://a"},
        TEXTS
        | {"map", "numbered", "truths", "mixed", "bad key", "empty map", "empty list", "pairs"},
    ),
    ("http", "json"): ({"url": "http://a"}, ALL),
    ("http", "body"): ({"url": "http://a"}, TEXTS),
    ("http", "timeout"): ({"url": "http://a"}, SMALL | SPANS),
    ("http", "max_bytes"): ({"url": "http://a"}, {"one", "three", "status"}),
    ("http", "redirects"): ({"url": "http://a"}, {"zero", "one", "three"}),
    ("http", "accept"): ({"url": "http://a"}, {"empty list", "statuses"}),
    ("http", "retry_status"): ({"url": "http://a"}, {"empty list", "statuses"}),
    ("llm", "model"): ({}, FULL_TEXTS),
    ("llm", "prompt"): ({"model": "m"}, FULL_TEXTS | NUMBERS | LISTS | MAPS),
    ("llm", "messages"): ({"model": "m"}, {"messages"}),
    ("llm", "system"): ({"model": "m"}, FULL_TEXTS),
    ("llm", "temperature"): ({"model": "m"}, {"zero", "half", "one"}),
    ("llm", "max_tokens"): ({"model": "m"}, {"one", "three", "status"}),
    ("llm", "base_url"): ({"model": "m"}, {"url"}),
    ("llm", "api_key"): ({"model": "m"}, FULL_TEXTS),
    ("llm", "timeout"): ({"model": "m"}, SMALL | SPANS),
    ("llm", "max_bytes"): ({"model": "m"}, {"one", "three", "status"}),
    ("llm", "accept"): ({"model": "m"}, {"empty list", "words"}),
    ("llm", "stream"): ({"model": "m"}, {"true", "false"}),
    ("llm", "options"): ({"model": "m"}, MAPS),
    ("tool", "name"): ({}, FULL_TEXTS),
    ("tool", "args"): ({"name": "t"}, MAPS),
    ("memory", "op"): ({}, {"verb"}),
    ("memory", "thread"): ({}, FULL_TEXTS),
    ("memory", "last"): ({}, {"one", "three", "status"}),
    ("memory", "content"): ({"op": "append"}, ALL),
    ("memory", "role"): ({"op": "append", "content": 1}, FULL_TEXTS),
    ("memory", "messages"): (
        {"op": "extend"},
        {"empty list", "messages"},
    ),
    ("memory", "query"): ({"op": "recall"}, FULL_TEXTS | {"numbers", "statuses"}),
    ("memory", "k"): ({"op": "recall", "query": "x"}, {"one", "three", "status"}),
    ("memory", "min_score"): ({"op": "recall", "query": "x"}, {"minus", "zero", "half", "one"}),
    ("memory", "value"): ({"op": "set", "name": "n"}, ALL),
    ("memory", "ttl"): ({"op": "set", "name": "n", "value": 1}, SMALL | SPANS),
    ("memory", "name"): ({"op": "get"}, FULL_TEXTS),
    ("memory", "default"): ({"op": "get", "name": "n"}, ALL),
    ("condition", "cases"): ({}, {"truths"}),
    ("condition", "match"): ({"cases": {"b": True}}, set()),
    ("condition", "default"): ({"cases": {"b": True}}, FULL_TEXTS),
}


CELLS = [
    (uses, {**more, name: given}, name, value in good)
    for (uses, name), (more, good) in CASES.items()
    for value, given in POOL.items()
]


def test_every_argument_of_every_type_is_in_the_table() -> None:
    from flowcore.nodes.arguments.conversation import OPERATIONS

    there = {
        (uses, name)
        for uses, model in ARGUMENTS.items()
        for each in (OPERATIONS.values() if uses == "memory" else [model])
        for name in each.names()
    }
    assert {(uses, name) for uses, name in there if uses != "switch"} == CASES.keys()
    assert ARGUMENTS.keys() == BUILTIN.keys()


@pytest.mark.parametrize(("uses", "name"), CASES)
def test_an_argument_takes_its_values_and_no_others(uses: str, name: str) -> None:
    """The same verdict of the model, of a check with its place, and of the node itself."""
    more, good = CASES[uses, name]
    verdicts = {}
    for value, given in POOL.items():
        arguments = {**more, name: given}
        wrong = misfits(ARGUMENTS[uses], arguments)
        verdicts[value] = not wrong
        assert _read(uses, arguments) == (not wrong), value
        for found in wrong:
            assert found.code in CODES
            assert found.path[:1] in {(name,), ()}, found
    assert {value for value, fits in verdicts.items() if fits} == good


def _read(uses: str, arguments: dict[str, Any]) -> bool:
    """Whether the type takes the arguments when the node runs; else it names the node."""
    told = ""
    try:
        ARGUMENTS[uses].read(arguments, uses=uses, node="here")
    except UsageError as error:
        told = str(error)
    assert not told or ("node 'here'" in told and uses in told)
    return not told


def _definition(uses: str, arguments: dict[str, Any]) -> dict[str, Any]:
    nodes: dict[str, Any] = {"a": {"uses": uses, "with": arguments}}
    if uses == "condition":
        cases = arguments.get("cases")
        names = [*(cases if isinstance(cases, dict) else {"b": 1}), arguments.get("default")]
        nodes |= {str(name): {"uses": "end", "needs": ["a"]} for name in names if name}
    tools = [f"acme:{arguments.get('name')}"]
    return {"nodes": nodes, **({"config": {"tools": tools}} if uses == "tool" else {})}


def test_a_check_and_editors_say_what_the_model_says() -> None:
    """A check refuses with line and column; the schema for editors refuses nothing that is good."""
    cells = [cell for cell in CELLS if cell[0] not in {"condition", "tool"}]
    for uses, arguments, name, fits in random.Random(7).sample(cells, count(250, len(cells))):
        tree = _definition(uses, arguments)
        found = _problems(json.dumps(tree, indent=1))
        assert (not found) == fits, (uses, name, arguments)
        assert all(each.path[:3] == ("nodes", "a", "with") for each in found)
        assert all(each.position and each.position.line > 3 for each in found)
        if fits:
            assert SCHEMA.is_valid(tree), (uses, arguments, list(SCHEMA.iter_errors(tree)))


def test_whatever_arguments_are_given_a_check_ends_with_a_verdict() -> None:
    """Random values, in each other: the check raises nothing else, and agrees with the run."""
    dice = random.Random(count(11, 12))

    def value(depth: int = 0) -> Any:
        if depth < 3 and dice.random() < 0.3:
            return [value(depth + 1) for _ in range(dice.randint(0, 3))]
        if depth < 3 and dice.random() < 0.3:
            return {dice.choice("abc d"): value(depth + 1) for _ in range(dice.randint(0, 3))}
        return dice.choice([None, *POOL.values()])

    types = sorted(ARGUMENTS.keys() - {"condition", "switch", "tool", "llm"})
    for _ in range(count(300, 5000)):
        uses = dice.choice(types)
        names = [name for of, name in CASES if of == uses] or ["x"]
        arguments = {
            dice.choice([*names, "odd"]) if dice.random() < 0.2 else dice.choice(names): value()
            for _ in range(dice.randint(0, 4))
        }
        tree: dict[str, Any] = {"uses": uses, "with": arguments}
        if uses == "parallel":
            tree["branches"] = {"b": {"uses": "end"}}
        elif uses in {"workflow", "for_each", "map", "loop"}:
            tree |= {"flow": {"nodes": {"b": {"uses": "end"}}}, "for_each": [1], "until": "true"}
        found = _problems(json.dumps({"nodes": {"a": tree}}))
        assert (not found) == _read(uses, arguments), arguments


def _problems(text: str) -> tuple[Any, ...]:
    try:
        check(load_text(text, name="a.json"), resolve=False)
    except InvalidFlowError as error:
        return error.diagnostics
    return ()


def test_the_schema_for_editors_refuses_most_of_what_a_check_refuses() -> None:
    wrong = [(uses, given) for uses, given, _, fits in CELLS if not fits and uses != "tool"]
    seen = [not SCHEMA.is_valid(_definition(uses, given)) for uses, given in wrong]
    assert sum(seen) > 0.9 * len(seen)


@pytest.mark.parametrize("uses", sorted(ARGUMENTS.keys() - {"end", "passthrough", "workflow"}))
def test_what_an_expression_gives_is_looked_at_when_it_is_there(uses: str) -> None:
    """At check an expression may stand for any value, and inside of any."""
    for (of, name), (more, _) in CASES.items():
        if of != uses or (uses, name) == ("condition", "cases"):
            continue
        tree = _definition(uses, {**more, name: "${{ inputs.x }}"})
        if uses == "tool":
            tree["config"]["tools"] = ["acme:t"]
        if uses == "condition":
            tree["nodes"]["b"] = {"uses": "end", "needs": ["a"]}
        if (uses, name) == ("condition", "default"):
            continue  # it names a node
        check(load_tree(tree), resolve=False)
        assert SCHEMA.is_valid(tree), tree


@pytest.mark.parametrize(
    ("uses", "given", "is_good"),
    [
        ("http", {"url": "https://${{ inputs.host }}/x"}, True),
        ("http", {"url": "${{ inputs.scheme }}://x"}, True),
        ("http", {"url": "ftp://${{ inputs.host }}/x"}, False),
        ("http", {"url": "http://a", "headers": {"A": "Bearer ${{ inputs.t }}"}}, True),
        ("http", {"url": "http://a", "headers": {"A": ["${{ inputs.t }}"]}}, False),
        ("http", {"url": "http://a", "accept": ["${{ inputs.s }}", 404]}, True),
        ("http", {"url": "http://a", "accept": ["${{ inputs.s }}", "x"]}, False),
        ("http", {"url": "http://a", "max_bytes": "${{ inputs.n }}000"}, False),
        ("http", {"url": "http://a", "method": "$${{x"}, False),
        ("wait", {"for": "${{ inputs.n }}s"}, True),
        ("wait", {"for": "${{ inputs.n }}", "until": "${{ inputs.u }}"}, False),
        ("llm", {"model": "${{ inputs.m }}-mini", "stream": "${{ inputs.s }}!"}, False),
        ("memory", {"op": "${{ inputs.op }}", "k": 3, "content": "x"}, True),
        ("memory", {"op": "${{ inputs.op }}", "k": "x"}, False),
        ("memory", {"op": "${{ inputs.op }}", "kk": 3}, False),
    ],
)
def test_what_is_written_around_an_expression_is_looked_at(
    uses: str, given: dict[str, Any], is_good: bool
) -> None:
    tree = _definition(uses, given)
    if is_good:
        assert check(load_tree(tree), resolve=False).order == ("a",)
        return
    with pytest.raises(InvalidFlowError):
        check(load_tree(tree), resolve=False)


WRONG: list[tuple[str, str, str]] = [
    ("{uses: wait, with: {for: -5s}}", "FC211", "cannot be negative, got -5s"),
    ("{uses: wait, with: {for: -1}}", "FC211", "cannot be negative"),
    ("{uses: wait, with: {for: 1e300}}", "FC211", "at most 100 years"),
    ("{uses: wait, with: {until: tomorrow}}", "FC205", "expected a time such as 2026-12-24T18"),
    ("{uses: wait, with: {until: 1e300}}", "FC205", "within 100 years"),
    ("{uses: wait}", "FC204", "wait needs 'for' or 'until'"),
    ("{uses: wait, with: {for: null}}", "FC204", "wait needs 'for' or 'until'"),
    ("{uses: signal, with: {name: 3}}", "FC205", "expected the name of a signal"),
    ("{uses: signal, with: {nmae: x}}", "FC226", "signal takes no 'nmae'"),
    ("{uses: approval, with: {default: 'yes'}}", "FC205", "true or false, got text 'yes'"),
    ("{uses: approval, with: {on_reject: stop}}", "FC222", "must be one of fail, continue"),
    ("{uses: sleep, with: {seconds: long}}", "FC205", "expected a number, got text 'long'"),
    ("{uses: http, with: {url: 3}}", "FC205", "begins with http:// or https://"),
    ("{uses: http}", "FC204", "http needs 'url'"),
    ("{uses: http, with: {url: 'http://a', json: 1, body: x}}", "FC223", "'json' or 'body'"),
    ("{uses: http, with: {url: 'http://a?b=1', params: {b: 2}}}", "FC216", "in the query"),
    (
        "{uses: http, with: {url: 'http://u:p@a', headers: {authorization: x}}}",
        "FC216",
        "a user of its own",
    ),
    ("{uses: llm, with: {prompt: hi}}", "FC204", "llm needs 'model', in the node's 'with' or"),
    ("{uses: llm, with: {model: m, options: {stream: true}}}", "FC216", "a key of its own"),
    (
        "{uses: llm, with: {model: m, temperature: 1, options: {temperature: 1}}}",
        "FC216",
        "given twice",
    ),
    (
        "{uses: http, with: {url: 'http://a', headers: {X-A: b, x-a: c}}}",
        "FC216",
        "'x-a' is given twice",
    ),
    (
        "{uses: http, with: {url: 'http://a', headers: {Content-Length: 3}}}",
        "FC216",
        "set by the request itself",
    ),
    (
        "{uses: http, with: {url: 'http://a', accept: [404], retry_status: [404]}}",
        "FC216",
        "404 is in 'accept' already",
    ),
    ("{uses: wait, with: {until: 90s}}", "FC205", "expected a time such as"),
    ("{uses: signal, with: {name: '  '}}", "FC205", "expected the name of a signal"),
    (
        "{uses: llm, with: {model: m, max_tokens: 3, options: {max_completion_tokens: 3}}}",
        "FC216",
        "given twice",
    ),
    ("{uses: memory, with: {op: extend, messages: [{role: 3, content: x}]}}", "FC205", "a role"),
    ("{uses: memory, with: {op: explode}}", "FC222", "must be one of read, append"),
    ("{uses: memory, with: {op: recall}}", "FC204", "memory 'recall' needs 'query'"),
    ("{uses: condition, with: {cases: {d: 1}}}", "FC205", "true or false, got the number 1"),
    ("{uses: tool, with: {name: nope}}", "FC229", "is none of this flow's tools"),
    ("{uses: start, with: {x: 1}}", "FC226", "start takes no 'x'"),
    ("{uses: parallel, with: {x: 1}, branches: {b: {uses: end}}}", "FC226", "takes no 'x'"),
    ("{uses: 'celery:a.b', with: {args: 1}}", "FC205", "expected a list of arguments"),
    ("{uses: 'celery:a.b', with: {kwargs: [1]}}", "FC205", "expected a mapping of arguments"),
    ("{uses: end, cache: {ttl: 1e300}}", "FC211", "at most 100 years"),
    ("{uses: end, timeout: 1e300}", "FC211", "at most 100 years"),
    ("{uses: end, timeout: 0}", "FC211", "more than 0 seconds"),
    ("{uses: end, retry: {delay: 40000d}}", "FC211", "at most 100 years"),
    ("{uses: end, retry: {delay: 5m, max_delay: 1s}}", "FC211", "longer than 'max_delay'"),
    ("{uses: end, retry: {retry_on: ['a b']}}", "FC214", "not a valid name for 'retry_on'"),
    ("{uses: end, concurrency: 10000000000}", "FC205", "at most 1000000000"),
    ("{uses: end, concurrency: {limit: 1, name: ''}}", "FC204", "'name' is empty"),
    ("{uses: end, rate_limit: 99999999999999999999/s}", "FC205", "at most 1000000000"),
    ("{uses: end, idempotency_key: ''}", "FC204", "'idempotency_key' is empty"),
    ("{uses: end, fallback: {uses: null}}", "FC211", "either 'value' or 'uses'"),
    ("{uses: end, output: {$ref: '#/nope'}}", "FC211", "#/nope"),
    ("{uses: loop, until: null, flow: {nodes: {b: {uses: end}}}}", "FC204", "needs 'until'"),
    ("{uses: loop, max_iterations: null, flow: {nodes: {b: {uses: end}}}}", "FC204", "needs"),
    ("{uses: end, until: null, initial: 3}", "FC223", "'initial' means nothing without"),
    (
        "{uses: workflow, with: {n: x}, flow: {inputs: {n: {type: integer}}, nodes: {b: END}}}",
        "FC222",
        "'n' should be integer",
    ),
    (
        "{uses: workflow, with: {m: 1}, flow: {inputs: {n: {default: 1}}, nodes: {b: END}}}",
        "FC227",
        "input 'm' is not declared by the flow",
    ),
    (
        "{uses: workflow, with: {n: 1}, flow: {inputs: {n: {}, m: {}}, nodes: {b: {uses: end}}}}",
        "FC204",
        "input 'm' of the flow is missing",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("node", "code", "words"), WRONG, ids=[one[0] for one in WRONG])
@pytest.mark.parametrize(
    "around",
    [
        "nodes:\n  a: NODE\n",
        "nodes:\n  x:\n    uses: parallel\n    branches:\n      a: NODE\n",
        "nodes:\n  x:\n    uses: workflow\n    flow:\n      nodes:\n        a: NODE\n",
        "nodes:\n  x:\n    uses: end\n    undo: NODE\n",
        "nodes: {x: {uses: end}}\nfinally:\n  a: NODE\n",
    ],
    ids=["node", "branch", "sub-flow", "undo", "finally"],
)
def test_what_is_wrong_is_told_when_it_is_written_wherever_it_stands(
    node: str, code: str, words: str, around: str
) -> None:
    node = node.replace("END", "{uses: end}")
    text = around.replace("NODE", node)
    with pytest.raises(InvalidFlowError) as error:
        check(load_text(text, name="bad.yaml"), resolve=False)
    found = [one for one in error.value.diagnostics if one.code == code and words in one.message]
    assert found, error.value.problems
    line = next(at for at, row in enumerate(text.splitlines(), 1) if node in row)
    assert found[0].position is not None
    assert found[0].position.line == line
    assert found[0].position.column > 2


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ("{backend: ../../x}", "FC214", "'../../x' is not a valid name for 'backend'"),
        ("{tools: ['os:system']}", "FC221", "'os:system' is not allowed"),
        ("{tools: [http]}", "FC210", "'http' is a node type, and not a tool"),
        ("{tools: ['celery:a.b']}", "FC210", "'celery:a.b' is a task, and not a tool"),
        ("{tools: ['']}", "FC204", "'tools' is empty"),
        ("{llm: {model: ''}}", "FC204", "'model' is empty"),
        ("{llm: {model: m, temperature: 1e300}}", "FC205", "must be at most 2"),
        ("{llm: {model: m, base_url: ftp://x}}", "FC205", "begins with http"),
        ("{execution: {timeout_seconds: 1e300}}", "FC211", "at most 100 years"),
        ("{execution: {timeout_seconds: 0}}", "FC211", "more than 0 seconds"),
        ("{defaults: {timeout: 1e300}}", "FC211", "at most 100 years"),
        ("{memory: {type: conversation, ttl: 0}}", "FC211", "more than 0 seconds"),
        ("{memory: {type: conversation, thread: ''}}", "FC204", "'thread' is empty"),
        ("{agents: [{role: '', goal: x}]}", "FC204", "'role' is empty"),
        ("{streaming: {buffer_size: 0}}", "FC205", "at least 1"),
    ],
)
def test_the_config_is_looked_at_too(config: str, code: str, words: str) -> None:
    nodes = "nodes: {a: {uses: tool, with: {name: '${{ inputs.t }}'}}}"
    with pytest.raises(InvalidFlowError) as error:
        check(load_text(f"{nodes}\nconfig: {config}", name="bad.yaml"))
    found = error.value.diagnostics[0]
    assert (found.code, found.position and found.position.line) == (code, 2)
    assert words in found.message


def test_a_map_of_more_items_than_can_be_is_refused() -> None:
    tree = {"nodes": {"a": {"uses": "end", "for_each": list(range(100_000))}}}
    assert check(load_tree(tree)).order
    tree["nodes"]["a"]["for_each"] = list(range(100_001))
    with pytest.raises(InvalidFlowError, match=r"FC215.*100,001 items; at most 100,000"):
        check(load_tree(tree))


def test_limits_of_one_name_say_the_same() -> None:
    def nodes(first: Any, second: Any) -> dict[str, Any]:
        return {"nodes": {"a": {"uses": "end", **first}, "b": {"uses": "end", **second}}}

    shared = {"concurrency": {"limit": 2, "name": "db"}}
    assert check(load_tree(nodes(shared, shared))).order
    other = {"concurrency": {"limit": 3, "name": "db"}}
    with pytest.raises(InvalidFlowError, match=r"FC216.*'db' is another one at node 'a'"):
        check(load_tree(nodes(shared, other)))
    rates = [{"rate_limit": {"limit": 2, "per": per, "name": "api"}} for per in ("1s", "1m")]
    with pytest.raises(InvalidFlowError, match="FC216"):
        check(load_tree(nodes(*rates)))


# ── when a node runs ────────────────────────────────────────────────────────────────────────────


def _context(**more: Any) -> Any:
    return SimpleNamespace(node_id="here", resumed=None, memory=None, **more)


HERE: list[tuple[str, dict[str, Any], str]] = [
    ("wait", {}, "wait node 'here' needs 'for' or 'until'"),
    (
        "wait",
        {"for": "soon"},
        (
            "'for' of wait node 'here': expected a duration such as '30s', '500ms' or '1h30m', "
            "got 'soon'"
        ),
    ),
    (
        "signal",
        {"name": 3},
        (
            "'name' of signal node 'here': expected the name of a signal, such as approved, got "
            'the number 3 (put it in quotes: "3")'
        ),
    ),
    (
        "approval",
        {"default": "yes"},
        "'default' of approval node 'here': expected true or false, got text 'yes' (write true)",
    ),
    (
        "http",
        {"url": "http://a", "headers": {"x": None}},
        "'headers'['x'] of http node 'here': expected the text of a header, got nothing",
    ),
    (
        "llm",
        {"model": "m", "max_tokens": 0},
        "'max_tokens' of llm node 'here': must be at least 1, got the number 0",
    ),
    (
        "memory",
        {"op": "explode"},
        (
            "'op' of memory node 'here': must be one of read, append, extend, recall, clear, get, "
            "set, delete, facts, got text 'explode'"
        ),
    ),
    (
        "condition",
        {"cases": {"d": "x"}},
        "'cases'['d'] of condition node 'here': expected true or false, got text 'x'",
    ),
    (
        "tool",
        {"name": "t", "args": [1]},
        "'args' of tool node 'here': expected a mapping of arguments by name, got a list of 1",
    ),
    (
        "sleep",
        {"seconds": "1s"},
        "'seconds' of sleep node 'here': expected a number, got text '1s'",
    ),
]


@pytest.mark.parametrize(("uses", "given", "sentence"), HERE)
def test_a_wrong_value_names_the_node_the_argument_and_the_value(
    uses: str, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as error:
        BUILTIN[uses](ctx=_context(), **given)
    assert str(error.value) == sentence


def test_null_counts_as_left_out_where_it_is_no_value() -> None:
    with pytest.raises(Suspend) as park:
        BUILTIN["signal"](ctx=_context(), name="go", timeout=None)
    assert park.value.seconds is None
    context = _context()
    context.resumed = Resumed(by="time")
    assert BUILTIN["signal"](ctx=context, name="go", timeout="1s", default=None) is None
    with pytest.raises(Suspend):
        BUILTIN["wait"](ctx=_context(), **{"for": 1, "until": None})


# ── durations ───────────────────────────────────────────────────────────────────────────────────


def test_no_time_is_longer_than_a_hundred_years() -> None:
    assert parse_duration(LONGEST) == LONGEST == parse_duration("36525d")
    for given in (LONGEST * 1.01, "36526d", 1e300, 10**400, "9" * 400, "9" * 400 + "d"):
        with pytest.raises(ValueError, match="at most 100 years") as error:
            parse_duration(given)
        assert len(str(error.value)) < 120
    assert format_duration(1e300) == "more than 100 years"


def test_a_delay_that_is_longer_than_the_default_maximum_is_kept() -> None:
    def retry(**given: Any) -> Any:
        tree = {"nodes": {"a": {"uses": "end", "retry": given}}}
        return compile_plan(check(load_tree(tree))).policy(0).retry

    assert retry(delay="5m").max_delay == 300
    assert retry(delay="5s").max_delay == 60
    assert retry(max_delay="10ms").delay == 0.01


@pytest.mark.parametrize("given", [{"max_delay": 0}, {"max_delay": 0.5}, {"delay": 90}, {}])
def test_a_retry_reads_back_equal_whatever_was_left_out(given: dict[str, Any]) -> None:
    tree = {"nodes": {"a": {"uses": "end", "retry": given}}}
    plan = compile_plan(check(load_tree(tree)))
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_a_plan_from_before_is_read_whatever_it_says() -> None:
    """Its rules were others: what is absurd by now must not make the plan unreadable."""
    tree = {
        "nodes": {
            "a": {
                "uses": "end",
                "retry": {"delay": "1s", "max_delay": "2s", "retry_on": ["OSError"]},
                "cache": "1h",
                "concurrency": 3,
                "fallback": {"value": 1},
            }
        }
    }
    plan = compile_plan(check(load_tree(tree)))
    policy = plan.policies[0].to_wire()
    policy["retry"] |= {"delay": 1e300, "max_delay": 2.0, "retry_on": ["not a name"]}
    policy["cache"]["ttl"] = 1e300
    policy["concurrency"]["limit"] = 10**12
    policy["fallback"] = [{"uses": None, "value": 1}]
    read = type(plan.policies[0]).from_wire(policy)
    assert read.cache is not None
    assert read.cache.ttl == LONGEST
    assert read.retry is not None
    assert read.retry.max_attempts == 3
    assert read.concurrency is not None
    assert read.concurrency.limit == 10**12
    assert Plan.from_bytes(plan.to_bytes()) == plan


def test_every_file_of_examples_still_checks() -> None:
    """Nothing that people have written by the documentation is refused."""
    root = Path(__file__).parents[2]
    found = [*root.glob("examples/**/*.yaml"), *root.glob("compose/flows/*.yaml")]
    for file in found:
        text = file.read_text("utf-8")
        if "nodes:" in text:
            try:
                check(load_text(text, name=str(file)), resolve=False)
            except FlowcoreError as error:
                pytest.fail(f"{file}: {error}")


# ── tools ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    body = "def greet(name, *, loud=False): return name\ndef any(**more): return more\n"
    body += "def first(x, /, ctx): return x, ctx.node_id\n"
    (tmp_path / "made_tools.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    yield [f"made_tools:{name}" for name in ("greet", "any", "first")]
    forget()
    sys.modules.pop("made_tools", None)


@pytest.mark.parametrize(
    ("name", "args", "code", "words"),
    [
        ("greet", {"name": "you"}, "", ""),
        ("greet", {"name": "you", "loud": True}, "", ""),
        ("any", {"x": 1}, "", ""),
        ("first", {"x": 1}, "", ""),
        ("greet", {}, "FC204", "needs 'name'"),
        ("greet", {"nmae": "you"}, "FC226", "takes no 'nmae'"),
        ("greet", {"name": "you", "more": 1}, "FC226", "takes no 'more'"),
        ("first", {}, "FC204", "needs 'x'"),
    ],
)
def test_a_tool_is_given_what_it_takes(
    tools: list[str], name: str, args: dict[str, Any], code: str, words: str
) -> None:
    given = {"name": name, "args": args}
    tree = {"nodes": {"a": {"uses": "tool", "with": given}}, "config": {"tools": tools}}
    if not code:
        assert check(load_tree(tree)).order
        BUILTIN["tool"](ctx=_context(), tools=tools, **given)
        return
    with pytest.raises(InvalidFlowError, match=f"{code}: tool 'made_tools:{name}' {words}"):
        check(load_tree(tree))
    with pytest.raises(UsageError, match=f"tool '{name}' of node 'here' {words}"):
        BUILTIN["tool"](ctx=_context(), tools=tools, **given)
