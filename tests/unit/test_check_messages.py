"""Wrong definitions get exact sentences, with places, carets and suggestions."""

import pickle
from pathlib import Path

import pytest

from flowcore.check.check import check
from flowcore.check.diagnostic import CODES, InvalidFlowError
from flowcore.errors import DefinitionError
from flowcore.graph.load import load_text, load_tree

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"


def _problems(text: str, name: str = "bad.yaml") -> InvalidFlowError:
    with pytest.raises(InvalidFlowError) as error:
        check(load_text(text, name=name))
    return error.value


EXAMPLE = """\
id: rag
nodes:
  fetch:
    uses: passthrough
  split:
    uses: passthrough
  embed:
    uses: passthrough
    needs: [fetchh]
"""


def test_a_problem_looks_like_the_example_of_the_documentation() -> None:
    assert _problems(EXAMPLE).problems == (
        (
            "bad.yaml:9:13: error FC203: node 'fetchh' is not defined  [nodes.embed.needs]\n"
            "     9 |     needs: [fetchh]\n"
            "       |             ^ did you mean 'fetch'?"
        ),
    )


#: Text, then place, code and message; path; suggestion.
WRONG: list[tuple[str, str, str, str | None]] = [
    (
        "nodes: {a: {uses: end, fallback: {valeu: 1, value: 2}}}",
        "1:35: error FC202: unknown key 'valeu'",
        "nodes.a.fallback.valeu",
        "did you mean 'value'?",
    ),
    (
        "nodes: {a: {uses: end, fallback: [{value: 1}, {valeu: 1, value: 2}]}}",
        "1:48: error FC202: unknown key 'valeu'",
        "nodes.a.fallback[1].valeu",
        "did you mean 'value'?",
    ),
    (
        "inputs: {x: {minimum: a lot}}\nnodes: {a: {uses: end}}",
        '1:23: error FC211: input \'x\' is not a JSON Schema: "a lot" is not of type "number"',
        "inputs.x.minimum",
        None,
    ),
    (
        "inputs: {x: {items: {$ref: 'http://a/b'}}}\nnodes: {a: {uses: end}}",
        (
            "1:28: error FC211: input 'x' '$ref' stays inside of the schema ('#/$defs/…'), got "
            "'http://a/b'"
        ),
        "inputs.x.items.$ref",
        None,
    ),
    (
        "nodes: {a: {uses: end, if: '${{ inputs.go }}'}}",
        "1:28: error FC212: a condition is one expression already",
        "nodes.a.if",
        "write it without ${{ }}",
    ),
    (
        "nodes: {a: {uses: end, if: 'inputs.go &&'}}",
        "1:41: error FC212: cannot read the expression: the expression ends too early",
        "nodes.a.if",
        None,
    ),
    (
        "nodes: {a: {uses: end, if: b.output}, b: {uses: end}}",
        "1:28: error FC213: node 'b' is not upstream of 'a'",
        "nodes.a.if",
        "add 'b' to the needs of 'a'",
    ),
    (
        "nodes: {a: {uses: end, if: true}}",
        "1:28: error FC205: expected text, got true",
        "nodes.a.if",
        'put it in quotes: "true"',
    ),
    (
        "nodes: {a: {uses: end}}\ndefaults: {timout: 3s}",
        "2:12: error FC202: unknown key 'timout'",
        "defaults.timout",
        "did you mean 'timeout'?",
    ),
    (
        "nodes: {a: {uses: end, fallback: []}}",
        (
            "1:34: error FC211: a fallback is a map such as {value: 0} or {uses: shop:guess}, or a "
            "list of these"
        ),
        "nodes.a.fallback",
        None,
    ),
    (
        "nodes: {a: {uses: end, fallback: {value: 1, uses: end}}}",
        (
            "1:34: error FC211: a fallback has either 'value' or 'uses', such as {value: 0} or "
            "{uses: shop:guess}"
        ),
        "nodes.a.fallback",
        None,
    ),
    (
        "nodes: {a: {uses: end, fallback: {uses: 'nowhere_at_all:guess'}}}",
        "1:41: error FC210: there is no module 'nowhere_at_all'",
        "nodes.a.fallback.uses",
        "is its directory on PYTHONPATH?",
    ),
    (
        "nodes: {a: {uses: end, circuit_breaker: {failures: 0}}}",
        "1:52: error FC205: must be at least 1, got the number 0",
        "nodes.a.circuit_breaker.failures",
        None,
    ),
    (
        "nodes: {a: {uses: end, circuit_breaker: {reset_after: 0s}}}",
        "1:41: error FC211: 'within' and 'reset_after' must be more than 0 seconds",
        "nodes.a.circuit_breaker",
        None,
    ),
    (
        "nodes: {a: {uses: end, cache: {key: x}}}",
        "1:24: error FC204: 'ttl' is missing",
        "nodes.a.cache.ttl",
        None,
    ),
    (
        "nodes: {a: {uses: end, cache: {ttl: 5, key: '${{ b.output }}'}}}",
        "1:50: error FC203: node 'b' is not defined",
        "nodes.a.cache.key",
        None,
    ),
    (
        "nodes: {a: {uses: end}}\nedgs: []",
        "2:1: error FC202: unknown key 'edgs'",
        "edgs",
        "did you mean 'edges'?",
    ),
    ("id: x", "1:1: error FC204: 'nodes' is missing", "nodes", None),
    ("nodes: {}", "1:8: error FC217: a flow needs at least one node", "nodes", None),
    ("nodes: []", "1:8: error FC217: a flow needs at least one node", "nodes", None),
    ("nodes:", "1:7: error FC217: a flow needs at least one node", "nodes", None),
    (
        "nodes: text",
        "1:8: error FC205: expected a mapping of nodes, or a list of them, got text 'text'",
        "nodes",
        None,
    ),
    (
        "id: a b\nnodes: {a: {uses: end}}",
        "1:5: error FC214: 'a b' is not a valid name for 'id'",
        "id",
        "use letters, digits, '_', '-' and '.', at most 100",
    ),
    (
        "version: 1.0\nnodes: {a: {uses: end}}",
        "1:10: error FC205: expected text, got the number 1.0",
        "version",
        'put it in quotes: "1.0"',
    ),
    (
        "inputs: {url: string}\nnodes: {a: {uses: end}}",
        "1:15: error FC205: expected a JSON Schema (a mapping), got text 'string'",
        "inputs.url",
        "write {type: string}",
    ),
    (
        "inputs: {url: {type: strng}}\nnodes: {a: {uses: end}}",
        (
            "1:22: error FC222: 'type' must be one of string, number, integer, boolean, array, "
            "object, null, got text 'strng'"
        ),
        "inputs.url.type",
        "did you mean 'string'?",
    ),
    (
        "nodes:\n  no: {uses: end}",
        "2:3: error FC214: node id 'no' means a boolean or null to other readers of YAML",
        "nodes.no",
        "rename it, as in 'no_'",
    ),
    (
        "nodes: {inputs: {uses: end}}",
        "1:9: error FC214: node id 'inputs' has another meaning in expressions",
        "nodes.inputs",
        "rename it, as in 'inputs_'",
    ),
    (
        "nodes: {a/b: {uses: end}}",
        "1:9: error FC214: 'a/b' is not a valid node id",
        "nodes.a/b",
        "use letters, digits, '_', '-' and '.', at most 100",
    ),
    ("nodes:\n  a: {}", "2:3: error FC204: 'uses' is missing", "nodes.a.uses", None),
    ("nodes: {a: {uses: ''}}", "1:19: error FC204: 'uses' is empty", "nodes.a.uses", None),
    (
        "nodes: {a: 'end'}",
        "1:12: error FC205: expected a mapping with 'uses', got text 'end'",
        "nodes.a",
        "write {uses: end}",
    ),
    (
        "nodes: [{uses: end}]",
        "1:9: error FC204: 'id' is missing: a node in a list needs one",
        "nodes[0].id",
        None,
    ),
    (
        "nodes: [{id: a, uses: end}, {id: a, uses: end}]",
        "1:34: error FC206: node 'a' is defined twice",
        "nodes[1].id",
        "give it another id",
    ),
    (
        "nodes: {a: {uses: pasthrough}}",
        (
            "1:19: error FC210: 'pasthrough' is neither a built-in node type nor of the form "
            "'module:callable'"
        ),
        "nodes.a.uses",
        "did you mean 'passthrough'?",
    ),
    (
        "nodes: {a: {uses: 'nowhere:f'}}",
        "1:19: error FC210: there is no module 'nowhere'",
        "nodes.a.uses",
        "is its directory on PYTHONPATH?",
    ),
    (
        "nodes: {a: {uses: 'os:system'}}",
        "1:19: error FC221: 'os:system' is not allowed: 'os' belongs to Python's standard library",
        "nodes.a.uses",
        (
            "wrap it in a function of your own; or allow it, in pyproject.toml below "
            '[project.entry-points."flowcore.nodes"]: os = "os", '
            "or in the environment: FLOWCORE_ALLOWED_MODULES=os"
        ),
    ),
    (
        "nodes: {a: {uses: agent}}",
        "1:19: error FC218: node type 'agent' is planned, not in this release",
        "nodes.a.uses",
        None,
    ),
    (
        "nodes: {a: {uses: end, for_each: x}}",
        (
            "1:34: error FC205: expected a list, one ${{ expression }} that gives one, or a "
            "function's 'uses'"
        ),
        "nodes.a.for_each",
        "write ${{ x }}",
    ),
    (
        "nodes: {a: {uses: end, chunk_size: 3}}",
        "1:24: error FC223: 'chunk_size' means nothing without 'for_each'",
        "nodes.a.chunk_size",
        None,
    ),
    (
        "nodes: {a: {uses: end, initial: 3}}",
        "1:24: error FC223: 'initial' means nothing without 'until' or 'max_iterations'",
        "nodes.a.initial",
        None,
    ),
    (
        "nodes: {a: {uses: end, for_each: [1], tolerated_failures: all}}",
        "1:59: error FC211: write a number of items, such as 3, or a part of them, such as 10%",
        "nodes.a.tolerated_failures",
        None,
    ),
    (
        "nodes: {a: {uses: end, until: 'output >'}}",
        "1:40: error FC212: cannot read the expression: the expression ends too early",
        "nodes.a.until",
        None,
    ),
    (
        "nodes: {a: {uses: end, with: {x: '${{ item }}'}}}",
        "1:39: error FC203: node 'item' is not defined",
        "nodes.a.with.x",
        None,
    ),
    (
        "nodes: {a: {uses: loop, flow: {nodes: {b: {uses: end}}}}}",
        "1:9: error FC204: uses: loop needs 'until' or 'max_iterations'",
        "nodes.a.until",
        None,
    ),
    (
        "nodes: {a: {uses: map, flow: {nodes: {b: {uses: end}}}}}",
        "1:9: error FC204: uses: map needs 'for_each'",
        "nodes.a.for_each",
        None,
    ),
    (
        "nodes: {a: {uses: workflow}}",
        "1:9: error FC204: 'flow' is missing: which flow is to run",
        "nodes.a.flow",
        None,
    ),
    (
        "nodes: {a: {uses: end, flow: other}}",
        "1:24: error FC223: 'flow' means nothing beside uses: end",
        "nodes.a.flow",
        "write uses: workflow",
    ),
    (
        "nodes: {a: {uses: workflow, flow: {nodes: {b: {uses: end, needs: [c]}}}}}",
        "1:67: error FC203: node 'c' is not defined",
        "nodes.a.flow.nodes.b.needs",
        None,
    ),
    (
        "nodes: {a: {uses: workflow, flow: 'not a name'}}",
        "1:35: error FC214: 'not a name' is not a flow's name",
        "nodes.a.flow",
        "write the name of a deployed flow, a file, or a definition",
    ),
    (
        "nodes: {a: {uses: parallel}}",
        "1:9: error FC204: 'branches' is missing: what is to run at once",
        "nodes.a.branches",
        None,
    ),
    (
        "nodes: {a: {uses: parallel, branches: {b: {uses: end, needs: [c]}}}}",
        "1:55: error FC223: branch 'b' runs at once with the others and cannot need anything",
        "nodes.a.branches.b.needs",
        "use uses: workflow",
    ),
    (
        "nodes: {a: {uses: parallel, branches: {}}}",
        "1:39: error FC217: a parallel node needs at least one branch",
        "nodes.a.branches",
        None,
    ),
    (
        "nodes: {a: {uses: end, undo: {uses: end, needs: [b]}}}",
        "1:42: error FC223: 'needs' means nothing in what undoes a node",
        "nodes.a.undo.needs",
        None,
    ),
    (
        "{nodes: {a: {uses: end}}, finally: {z: {uses: nosuch}}}",
        (
            "1:47: error FC210: 'nosuch' is neither a built-in node type nor of the form "
            "'module:callable'"
        ),
        "finally.z.uses",
        None,
    ),
    (
        "{nodes: {finally: {uses: end}}, finally: {z: {uses: end}}}",
        "1:10: error FC214: node id 'finally' is that of what runs at the end",
        "nodes.finally",
        "rename it",
    ),
    (
        "nodes: {a: {uses: end, output: {type: strng}}}",
        (
            "1:39: error FC211: the output of 'a' is not a JSON Schema: \"strng\" is not valid "
            "under any of the schemas listed in the 'anyOf' keyword"
        ),
        "nodes.a.output.type",
        None,
    ),
    (
        "nodes: {a: {uses: end, for_each: {cache: 1h, uses: 'tests.unit.test_feeding:later'}}}",
        "1:35: error FC223: 'cache' means nothing in what gives a 'for_each' its items",
        "nodes.a.for_each.cache",
        None,
    ),
    (
        "nodes: {a: {uses: end, for_each: {uses: wait, with: {for: 1}}}}",
        "1:41: error FC223: 'wait' gives no items one by one",
        "nodes.a.for_each.uses",
        "write module:callable, such as a generator's",
    ),
    (
        "nodes: {a: {uses: wait, with: {four: 1h}}}",
        "1:32: error FC226: wait takes no 'four'",
        "nodes.a.with.four",
        "did you mean 'for'?",
    ),
    (
        "{inputs: {x: {type: integer, default: one}}, nodes: {a: {uses: end}}}",
        "1:39: error FC222: the default of 'x' should be integer, got 'one'",
        "inputs.x.default",
        None,
    ),
    (
        "{inputs: {x: {minimum: 3, default: 2}}, nodes: {a: {uses: end}}}",
        ("1:36: error FC222: the default of 'x' does not fit: 2 is less than the minimum of 3"),
        "inputs.x.default",
        None,
    ),
    (
        "{inputs: {url: {}}, nodes: {a: {uses: end, with: {x: '${{ inputs.ulr }}'}}}}",
        "1:66: error FC227: input 'ulr' is not declared",
        "nodes.a.with.x",
        "did you mean 'url'?",
    ),
    (
        "{inputs: {url: {}}, nodes: {a: {uses: end, if: 'inputs[\"ulr\"] > 1'}}}",
        "1:57: error FC227: input 'ulr' is not declared",
        "nodes.a.if",
        "did you mean 'url'?",
    ),
    (
        (
            "{inputs: {url: {}}, nodes: {a: {uses: end}}, "
            "finally: {z: {uses: end, with: {x: '${{ inputs.ulr }}'}}}}"
        ),
        "1:93: error FC227: input 'ulr' is not declared",
        "finally.z.with.x",
        "did you mean 'url'?",
    ),
    (
        (
            "nodes: {a: {uses: workflow, concurrency: {limit: 2, name: x},\n"
            "  flow: {nodes: {b: {uses: end, concurrency: {limit: 2, name: x}}}}}}"
        ),
        "2:33: error FC223: the node around it holds a place of 'x' and waits for this one",
        "nodes.a.flow.nodes.b.concurrency",
        "give the limits two names",
    ),
    (
        (
            "nodes: {a: {uses: parallel,concurrency: {limit: 2,name: x},"
            "branches: {b: {uses: end,concurrency: {limit: 2,name: x}}}}}"
        ),
        "1:85: error FC223: the node around it holds a place of 'x' and waits for this one",
        "nodes.a.branches.b.concurrency",
        "give the limits two names",
    ),
    (
        "{inputs: {n: {type: integer}}, nodes: {a: {uses: end, if: 'inputs.n + \"1\" > 2'}}}",
        (
            "1:69: error FC228: there is no '+' of int and string; int(…), double(…) and string(…) "
            "convert"
        ),
        "nodes.a.if",
        None,
    ),
    (
        "{inputs: {n: {type: integer}}, nodes: {a: {uses: end, if: inputs.n}}}",
        "1:59: error FC228: a condition is true or false, and this is int",
        "nodes.a.if",
        "compare it with something",
    ),
    (
        "{inputs: {n: {type: string}}, nodes: {a: {uses: end, for_each: '${{ inputs.n }}'}}}",
        "1:69: error FC228: 'for_each' needs a list, and this is string",
        "nodes.a.for_each",
        None,
    ),
    (
        (
            "{nodes: {a: {uses: end, output: {type: array}}, b: {uses: end}},\n"
            "edges: [{from: a, to: b, when: 'a.output.size() > 1 && a.output > 1'}]}"
        ),
        "2:65: error FC228: there is no '>' of list and int",
        "edges[0].when",
        None,
    ),
    (
        "nodes: {a: {uses: wait}}",
        "1:9: error FC204: wait needs 'for' or 'until'",
        "nodes.a.with",
        None,
    ),
    (
        "nodes: {a: {uses: wait, with: {for: 1s, until: '2020-01-01'}}}",
        "1:31: error FC204: wait takes either 'for' or 'until'",
        "nodes.a.with",
        None,
    ),
    (
        "nodes: {a: {uses: signal, with: {timeout: 1h}}}",
        "1:33: error FC204: signal needs 'name'",
        "nodes.a.with",
        None,
    ),
    (
        "nodes: {a: {uses: http, with: {url: 'http://x', jsn: 1}}}",
        "1:49: error FC226: http takes no 'jsn'",
        "nodes.a.with.jsn",
        "did you mean 'json'?",
    ),
    (
        "nodes: {a: {uses: approval, timeout: 1h}}",
        "1:29: error FC223: 'timeout' means nothing on 'approval', which holds no worker",
        "nodes.a.timeout",
        "write with: {timeout: …}",
    ),
    (
        "nodes: {a: {uses: 'tests.unit.test_feeding:later', with: {seconds: 1}}}",
        "1:59: error FC226: tests.unit.test_feeding:later takes no 'seconds'",
        "nodes.a.with.seconds",
        "it takes count",
    ),
    (
        "nodes: {a: {uses: parallel, branches: {b: {uses: end, undo: {uses: end}}}}}",
        "1:55: error FC223: branch 'b' is not a node of the flow that could be undone",
        "nodes.a.branches.b.undo",
        "write it on the node around it",
    ),
    (
        "{nodes: {a: {uses: end}}, finally: {a: {uses: end}}}",
        "1:37: error FC206: 'a' is the id of another node already",
        "finally.a",
        "rename it",
    ),
    (
        "nodes: {a: {uses: end, for_each: '${{ [1] }}', if: 'item > 1'}}",
        "1:53: error FC203: node 'item' is not defined",
        "nodes.a.if",
        "'if' is of the whole map: filter its list, as list.filter(x, x > 1)",
    ),
    (
        "{version: 'a b', nodes: {a: {uses: end}}}",
        "1:11: error FC214: 'a b' is not a valid name for 'version'",
        "version",
        "use letters, digits, '_', '-' and '.', at most 100",
    ),
    (
        "nodes: {a: {uses: end, for_each: {with: {n: 1}}}}",
        "1:24: error FC204: 'uses' is missing",
        "nodes.a.for_each.uses",
        None,
    ),
    (
        (
            "nodes: {a: {uses: end, max_parallel: 2, concurrency: 3, "
            "for_each: {uses: 'tests.unit.test_feeding:later'}}}"
        ),
        (
            "1:24: error FC223: 'max_parallel' is a 'concurrency' where a function gives the "
            "items: keep one"
        ),
        "nodes.a.max_parallel",
        None,
    ),
    (
        "nodes: {a: {uses: workflow, flow: x, branches: {}}}",
        "1:38: error FC223: 'branches' means nothing beside uses: workflow",
        "nodes.a.branches",
        "write uses: parallel",
    ),
    (
        "nodes: {a: {uses: condition}, b: {uses: end, needs: [a]}}",
        "1:9: error FC204: 'cases' is missing: a condition for each node to choose from",
        "nodes.a.with.cases",
        "write cases: {NODE: CONDITION}",
    ),
    (
        "nodes: {a: {uses: condition, with: {cases: {c: 'true'}}}, b: {uses: end, needs: [a]}}",
        "1:45: error FC225: node 'c' does not run after this one",
        "nodes.a.with.cases.c",
        "add needs: [a] to it",
    ),
    (
        "nodes: {a: {uses: condition, with: {cases: {b: 'inputs.'}}}, b: {uses: end, needs: [a]}}",
        "1:56: error FC212: cannot read the expression: the expression ends too early",
        "nodes.a.with.cases.b",
        None,
    ),
    (
        "nodes: {a: {uses: end, wth: {}}}",
        "1:24: error FC202: unknown key 'wth'",
        "nodes.a.wth",
        "did you mean 'with'?",
    ),
    (
        "nodes: {a: {uses: end, with_: {}}}",
        "1:24: error FC202: unknown key 'with_'",
        "nodes.a.with_",
        "did you mean 'with'?",
    ),
    (
        "nodes: {a: {uses: end, with: [x]}}",
        "1:30: error FC205: expected a mapping, got a list of 1",
        "nodes.a.with",
        None,
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end, needs: a}}",
        "1:47: error FC205: expected a list, got text 'a'",
        "nodes.b.needs",
        "write [a]",
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end, needs: [1]}}",
        "1:48: error FC205: expected text, got the number 1",
        "nodes.b.needs",
        'put it in quotes: "1"',
    ),
    (
        "nodes: {a: {uses: end, timeout: soon}}",
        "1:33: error FC211: expected a duration such as '30s', '500ms' or '1h30m', got 'soon'",
        "nodes.a.timeout",
        None,
    ),
    (
        "nodes: {a: {uses: end, queue: 'a b'}}",
        "1:31: error FC214: 'a b' is not a valid name for 'queue'",
        "nodes.a.queue",
        "use letters, digits, '_', '-' and '.', at most 100",
    ),
    (
        "nodes: {a: {uses: end, join: all_succes}}",
        (
            "1:30: error FC222: 'join' must be one of all_success, all_done, any_success, "
            "none_failed, got text 'all_succes'"
        ),
        "nodes.a.join",
        "did you mean 'all_success'?",
    ),
    (
        "nodes: {a: {uses: end, retry: {max_attempts: 0}}}",
        "1:46: error FC205: must be at least 1, got the number 0",
        "nodes.a.retry.max_attempts",
        None,
    ),
    (
        "nodes: {a: {uses: end, retry: {max_attempts: 2.5}}}",
        "1:46: error FC205: expected a whole number, got the number 2.5",
        "nodes.a.retry.max_attempts",
        None,
    ),
    (
        "nodes: {a: {uses: end, retry: {bakoff: fixed}}}",
        "1:32: error FC202: unknown key 'bakoff'",
        "nodes.a.retry.bakoff",
        "did you mean 'backoff'?",
    ),
    (
        "nodes: {a: {uses: end, needs: [a]}}",
        "1:32: error FC207: node 'a' cannot run after itself",
        "nodes.a.needs",
        "remove it",
    ),
    (
        "nodes: {s: {uses: start}, x: {uses: end}}",
        "1:27: error FC209: node 'x' is not reachable from a start node",
        "nodes.x",
        "add needs: [s], or remove the start nodes",
    ),
    (
        "nodes: {a: {uses: end, with: {v: '${{ a.b + }}'}}}",
        "1:44: error FC212: cannot read the expression: the expression ends too early",
        "nodes.a.with.v",
        None,
    ),
    (
        "nodes: {a: {uses: end, with: {v: '${{ inputs.x'}}}",
        "1:35: error FC212: cannot read the expression: '${{' is not closed by '}}'",
        "nodes.a.with.v",
        None,
    ),
    (
        "nodes: {fetch: {uses: end}, b: {uses: end, with: {v: ['x ${{ fetc.output }}']}}}",
        "1:62: error FC203: node 'fetc' is not defined",
        "nodes.b.with.v",
        "did you mean 'fetch'?",
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end, with: {v: '${{ a.output }}'}}}",
        "1:55: error FC213: node 'a' is not upstream of 'b'",
        "nodes.b.with.v",
        "add 'a' to the needs of 'b'",
    ),
    (
        "nodes: {a: {uses: end, with: {v: '${{ a.output }}'}}}",
        "1:39: error FC213: node 'a' cannot read its own output",
        "nodes.a.with.v",
        None,
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end}}\nedges: [{from: a, to: b, when: b.output}]",
        "2:32: error FC213: node 'b' cannot read its own output",
        "edges[0].when",
        None,
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end}}\nedges: [{from: a, to: b, when: '${{ true }}'}]",
        "2:32: error FC212: a condition is one expression already",
        "edges[0].when",
        "write it without ${{ }}",
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end}}\nedges: [[a, bb]]",
        "2:13: error FC203: node 'bb' is not defined",
        "edges[0]",
        "did you mean 'b'?",
    ),
    (
        "nodes: {a: {uses: end}}\nedges: [[a]]",
        "2:9: error FC205: expected an edge such as {from: a, to: b} or [a, b], got a list of 1",
        "edges[0]",
        None,
    ),
    (
        "nodes: {a: {uses: end}, b: {uses: end}}\nedges: [{from: a, source: b, to: b}]",
        (
            "2:19: error FC216: 'edges[0].from' (text 'a') and 'edges[0].source' (text 'b') name "
            "the same thing"
        ),
        "edges[0].source",
        "keep one of them",
    ),
    (
        (
            "nodes: {a: {uses: end}, b: {uses: end}}\n"
            "edges: [{from: a, to: b, when: 'true'}, {from: a, to: b, when: 'false'}]"
        ),
        "2:64: error FC216: a second condition from 'a' to 'b'",
        "edges[1].when",
        "join them with &&",
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {execution: {max_parallel: 10, max_parallel_nodes: 20}}",
        (
            "2:40: error FC216: 'config.execution.max_parallel' (the number 10) and "
            "'config.execution.max_parallel_nodes' (the number 20) name the same thing"
        ),
        "config.execution.max_parallel_nodes",
        "keep one of them",
    ),
    (
        (
            "nodes: {a: {uses: end}}\n"
            "backend_config: {max_parallel: 10}\nexecution: {max_parallel_nodes: 20}"
        ),
        (
            "3:13: error FC216: 'backend_config.max_parallel' (the number 10) and "
            "'execution.max_parallel_nodes' (the number 20) name the same thing"
        ),
        "execution.max_parallel_nodes",
        "keep one of them",
    ),
    (
        "nodes: {a: {uses: end}}\nbackend: native\nconfig: {backend: crewai}",
        (
            "2:1: error FC216: 'config.backend' (text 'crewai') and 'backend' (text 'native') name "
            "the same thing"
        ),
        "backend",
        "keep one of them",
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {execution: {enable_checkpoints: yes}}",
        "2:42: error FC205: expected true or false, got text 'yes'",
        "config.execution.enable_checkpoints",
        "write true",
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {memory: {max_mesages: 3}}",
        "2:19: error FC202: unknown key 'max_mesages'",
        "config.memory.max_mesages",
        "did you mean 'max_messages'?",
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {memory: 3}",
        "2:18: error FC205: expected a mapping, or the name of a type of memory, got the number 3",
        "config.memory",
        None,
    ),
    (
        "nodes: {a: {uses: end}}\nllm: {temperature: hot, model: x}",
        "2:20: error FC205: expected a number, got text 'hot'",
        "llm.temperature",
        None,
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {agents: [{role: x}]}",
        "2:19: error FC204: 'goal' is missing",
        "config.agents[0].goal",
        None,
    ),
    (
        "nodes: {a: {uses: end}}\nconfig: {process: sequental}",
        (
            "2:19: error FC222: 'process' must be one of sequential, hierarchical, got text "
            "'sequental'"
        ),
        "config.process",
        "did you mean 'sequential'?",
    ),
]


@pytest.mark.parametrize(("text", "message", "path", "hint"), WRONG)
def test_a_wrong_definition_gets_one_exact_sentence(
    text: str, message: str, path: str, hint: str | None
) -> None:
    (problem,) = _problems(text).problems
    head, line, caret = problem.split("\n")
    assert head == f"bad.yaml:{message}  [{path}]"
    number, column = map(int, message.split(":")[:2])
    assert line == f"{number:6} | {text.splitlines()[number - 1]}"
    assert caret == f"{'':6} | {'':{column - 1}}^" + (f" {hint}" if hint else "")


def test_the_same_sentence_without_a_file_shows_the_path_only() -> None:
    with pytest.raises(InvalidFlowError) as error:
        check(
            load_tree(
                {"nodes": {"fetch": {"uses": "end"}, "b": {"uses": "end", "needs": ["fech"]}}}
            )
        )
    assert str(error.value) == (
        "definition: error FC203: node 'fech' is not defined (did you mean 'fetch'?)"
        "  [nodes.b.needs]"
    )


def test_a_cycle_is_reported_with_its_path() -> None:
    text = "nodes:\n  a: {uses: end, needs: [c]}\n  b: {uses: end, needs: [a]}\n  c: {uses: end}\n"
    (problem,) = _problems(text + "edges: [[b, c]]\n").problems
    assert problem == (
        "bad.yaml:2:26: error FC208: a cycle of 3 nodes: a -> b -> c -> a  [nodes.a.needs]\n"
        "     2 |   a: {uses: end, needs: [c]}\n"
        "       |                          ^ remove one of these edges"
    )


def test_every_separate_cycle_is_reported_and_what_hangs_on_it_is_not() -> None:
    text = "nodes: {" + ", ".join(f"{key}: {{uses: end}}" for key in "abcdef") + "}\n"
    error = _problems(text + "edges: [[a, b], [b, a], [b, c], [d, e], [e, d], [c, f]]\n")
    assert [found.message for found in error.diagnostics] == [
        "a cycle of 2 nodes: a -> b -> a",
        "a cycle of 2 nodes: d -> e -> d",
    ]


def test_a_long_cycle_is_shortened() -> None:
    nodes = ", ".join(f"n{i}: {{uses: end, needs: [n{(i - 1) % 50}]}}" for i in range(50))
    (found,) = _problems(f"nodes: {{{nodes}}}").diagnostics
    assert found.message == (
        "a cycle of 50 nodes: n0 -> n1 -> n2 -> n3 -> n4 -> n5 -> … -> "
        "n45 -> n46 -> n47 -> n48 -> n49 -> n0"
    )


def test_all_problems_come_in_one_pass_in_source_order() -> None:
    error = _problems(
        "nodes:\n"
        "  a: {uses: end, needs: [zz], timeout: soon}\n"
        "  b: {uses: 'os:system', quue: x}\n"
        "  c: {needs: [c], with: {v: '${{ b.output }} ${{ d.output }}'}}\n"
        "edges: [[a]]\n"
        "config: {process: x}\n"
    )
    assert [found.code for found in error.diagnostics] == [
        "FC203", "FC211", "FC221", "FC202", "FC204", "FC207", "FC213", "FC203", "FC205", "FC222",
    ]  # fmt: skip
    places = [found.position for found in error.diagnostics]
    assert places == sorted(place for place in places if place)


def test_json_files_have_lines_and_columns_too() -> None:
    text = '{\n  "nodes": {\n    "a": {"uses": "end", "needs": ["b"]}\n  }\n}'
    assert _problems(text, "bad.json").problems == (
        (
            "bad.json:3:36: error FC203: node 'b' is not defined  [nodes.a.needs]\n"
            '     3 |     "a": {"uses": "end", "needs": ["b"]}\n'
            "       |                                    ^"
        ),
    )


def test_a_text_in_a_block_is_pointed_at_where_it_begins() -> None:
    text = (
        "nodes:\n  a:\n    uses: end\n    with:\n      v: |\n        1\n        ${{ zz.output }}\n"
    )
    (found,) = _problems(text).diagnostics
    assert found.position is not None
    assert (found.position.line, found.position.column) == (5, 10)


def test_an_invalid_flow_is_a_definition_error_that_travels() -> None:
    error = _problems(EXAMPLE)
    assert isinstance(error, DefinitionError)
    copy = pickle.loads(pickle.dumps(error))
    assert copy.diagnostics == error.diagnostics
    assert copy.problems == error.problems


def test_every_code_is_in_the_reference_with_its_meaning() -> None:
    text = REFERENCE.read_text()
    assert [code for code in CODES if f"| `{code}` | {CODES[code]} |" not in text] == []


def test_every_code_that_rules_use_is_registered() -> None:
    root = Path(__file__).parents[2] / "flowcore"
    used = {
        word[1:6]
        for path in [*root.glob("check/*.py"), *root.glob("graph/*.py")]
        for word in path.read_text().split('"')
        for word in ['"' + word]
        if word.startswith('"FC2') and len(word) == 6
    }
    assert used == set(CODES)
