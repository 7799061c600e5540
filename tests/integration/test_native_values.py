"""A value that a node gives is the same to all who read it, or is refused where it is given."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowcore import ExecutionResult, Memory, Run
from flowcore.client.sse import encode_event, sse
from flowcore.json_text import json_text, json_value
from flowcore.run.event import Event
from flowcore.run.values import plain_value
from flowcore.testing import Flows
from tests.deep import count
from tests.engine import MODULES, Engine
from tests.integration.modules import value_nodes

pytestmark = pytest.mark.integration

N = "value_nodes:"
#: Values of one run: a list of them goes through every reader.
AT_ONCE = 125
#: A buffer for all that is said: on a busy machine the oldest would make room.
CONFIG = {"memory": {"type": "conversation"}, "streaming": {"buffer_size": 2 * AT_ONCE}}
BODY = {"nodes": {"x": {"uses": N + "seen", "with": {"values": "${{ inputs.all }}"}}}}
GIVEN = "${{ give.output }}"


def _after(*needs: str, **more: Any) -> dict[str, Any]:
    return {"needs": list(needs), **more}


READERS: dict[str, Any] = {
    "give": {
        "uses": N + "give",
        "with": {"seed": "${{ inputs.seed }}", "count": "${{ inputs.count }}"},
    },
    "flows_in": _after("give", uses=N + "seen"),
    "path": _after("give", uses=N + "seen", **{"with": {"values": GIVEN}}),
    "mapped": _after(
        "give", uses=N + "seen", **{"with": {"values": "${{ give.output.map(x, x) }}"}}
    ),
    "chosen": _after(
        "give",
        uses=N + "seen",
        **{
            "if": "give.output.size() == inputs.count && give.output[0] in [give.output[0], 1]"
            " || true",
            "with": {"values": "${{ true ? give.output.filter(x, true) : [] }}"},
        },
    ),
    "each": _after(
        "give",
        uses=N + "seen_one",
        for_each=GIVEN,
        **{"with": {"value": "${{ item }}"}},
    ),
    "each_made": _after(
        "give",
        uses=N + "seen_one",
        for_each="${{ give.output.map(x, [x]) }}",
        **{"with": {"value": "${{ item[0] }}"}},
    ),
    "inside": _after("give", uses="workflow", flow=BODY, **{"with": {"all": GIVEN}}),
    "keep": _after("give", uses=N + "keep", **{"with": {"values": GIVEN}}),
    "recall": _after("keep", uses=N + "recall"),
    "turned": _after(
        "give", uses=N + "again", initial=GIVEN, until="iteration >= 1", max_iterations=3
    ),
    "turned_seen": _after(
        "turned", uses=N + "seen", **{"with": {"values": "${{ turned.output }}"}}
    ),
    "said": _after("give", uses=N + "say", **{"with": {"values": GIVEN}}),
}
FINGERPRINTS = [
    *("flows_in", "path", "mapped", "chosen", "each", "each_made", "inside", "keep", "recall"),
    "turned_seen",
]


def _judge(result: ExecutionResult, events: list[Event], seed: int) -> None:
    assert result.success, result.error
    values = value_nodes.values(seed, AT_ONCE)
    plain = plain_value(values, what="expected")
    expected = [value_nodes.print_of(value) for value in plain]
    for reader in FINGERPRINTS:
        assert result.outputs[reader] == expected, reader
    assert [value_nodes.print_of(one) for one in result.outputs["give"]] == expected
    # The command line and the web have JSON.
    assert json.loads(json_text(result.outputs["give"])) == json_value(plain)
    said = [one for one in events if one.type.value == "node.emitted"]
    assert len(said) == AT_ONCE
    for event, value in zip(said, plain, strict=True):
        line = encode_event(event).decode().split("data: ")[1]
        assert json.loads(line, parse_constant=pytest.fail)["data"]["value"] == json_value(value)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODULES))


def test_every_reader_on_real_workers_reads_the_same(engine: Engine, importable: None) -> None:
    for seed in range(count(AT_ONCE, 5_000) // AT_ONCE):
        run = engine.start(READERS, {"seed": seed, "count": AT_ONCE}, config=CONFIG)
        result = run.wait(timeout=60)
        _judge(result, list(run.events()), seed)


async def _said_to_browsers(run: Run) -> list[Any]:
    """What nodes have emitted, as a browser reads it."""
    text = b"".join([part async for part in sse(run)]).decode()
    told = [
        json.loads(line.removeprefix("data: "), parse_constant=pytest.fail)
        for line in text.split("\n")
        if line.startswith("data: ")
    ]
    return [one["data"]["value"] for one in told if one["type"] == "node.emitted"]


def _command(engine: Engine, *words: str) -> str:
    """What a command writes to stdout, in a process of its own."""
    environ = {
        **os.environ,
        "FLOWCORE_REDIS_URL": engine.session.runtime.redis_url,
        "FLOWCORE_HOME": str(engine.home),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("flowcore")), *words],
        env=environ,
        cwd=MODULES,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_and_browsers_read_the_same(
    engine: Engine, importable: None, tmp_path: Path
) -> None:
    file, seeds = tmp_path / "doors.yaml", range(200, 200 + count(AT_ONCE, 5_000) // AT_ONCE)
    nodes = {
        f"give{seed}": {"uses": N + "give", "with": {"seed": seed, "count": AT_ONCE}}
        for seed in seeds
    } | {
        f"say{seed}": {
            "uses": N + "say",
            "needs": [f"give{seed}"],
            "with": {"values": f"${{{{ give{seed}.output }}}}"},
        }
        for seed in seeds
    }
    file.write_text(json.dumps({"id": "doors", "nodes": nodes, "config": CONFIG}), "utf-8")
    given = {seed: plain_value(value_nodes.values(seed, AT_ONCE), what="it") for seed in seeds}
    told = json.loads(
        _command(engine, "run", str(file), "-q", "-o", "json", "--id", "doors-1"),
        parse_constant=pytest.fail,
    )
    shown = json.loads(_command(engine, "status", "doors-1", "-o", "json"))
    assert shown["state"] == "succeeded"
    emitted = asyncio.run(_said_to_browsers(Run("doors-1", session=engine.session)))
    watched = [
        json.loads(line, parse_constant=pytest.fail)
        for line in _command(engine, "watch", "doors-1", "-o", "jsonl").split("\n")
        if line
    ]
    expected = sorted(json_text(one) for seed in seeds for one in given[seed])
    assert sorted(map(json_text, emitted)) == expected
    logged = [one["data"]["value"] for one in watched if one.get("type") == "node.emitted"]
    assert sorted(map(json_text, logged)) == expected
    for seed in seeds:
        assert told["outputs"][f"give{seed}"] == json_value(given[seed]), seed


def test_memories_that_are_exported_and_imported_are_the_same(
    engine: Engine, importable: None, tmp_path: Path
) -> None:
    file = tmp_path / "memories.jsonl"
    seeds = range(300, 300 + count(AT_ONCE, 5_000) // AT_ONCE)
    for seed in seeds:
        values = value_nodes.values(seed, AT_ONCE)
        memory = Memory("doors", str(seed), session=engine.session, keep=AT_ONCE)
        memory.extend([{"role": "user", "content": one, "more": [one]} for one in values])
        memory.set("values", values)
    _command(engine, "memory", "export", "doors/", "-O", str(file))
    for seed in seeds:
        Memory("doors", str(seed), session=engine.session).clear()
    _command(engine, "memory", "import", str(file))
    for seed in seeds:
        expected = [value_nodes.print_of(one) for one in value_nodes.values(seed, AT_ONCE)]
        memory = Memory("doors", str(seed), session=engine.session)
        messages = memory.messages()
        assert [value_nodes.print_of(one) for one in memory.get("values")] == expected
        assert [value_nodes.print_of(one["content"]) for one in messages] == expected
        assert [value_nodes.print_of(one["more"][0]) for one in messages] == expected


def test_every_reader_in_this_process_reads_the_same(importable: None) -> None:
    for seed in range(100, 100 + count(500, 5_000) // AT_ONCE):
        flows = Flows()
        definition = {"id": "values", "nodes": READERS, "config": CONFIG}
        run = flows.start(definition, {"seed": seed, "count": AT_ONCE})
        _judge(run.result(), run.events, seed)


def test_what_is_given_to_a_run_is_read_back_like_an_output(importable: None) -> None:
    values = value_nodes.values(7, AT_ONCE)
    nodes = {
        "a": {"uses": N + "seen", "with": {"values": "${{ inputs.all }}"}},
        "w": {"uses": "signal", "needs": ["a"], "with": {"name": "go"}},
        "b": {"uses": N + "seen", "needs": ["w"], "with": {"values": "${{ w.output.all }}"}},
    }
    run = Flows().start({"id": "given", "nodes": nodes}, {"all": values})
    run.signal("go", all=values)
    expected = [value_nodes.print_of(value) for value in values]
    outputs = run.result().outputs
    assert (outputs["a"], outputs["b"]) == (expected, expected)


@pytest.fixture(scope="module")
def refusals(request: pytest.FixtureRequest) -> Callable[[Mapping[str, Any]], str]:
    """Run a node in this process; give its error."""

    def run(node: Mapping[str, Any]) -> str:
        result = Flows().run({"id": "bad", "nodes": {"bad": dict(node)}})
        assert not result.success
        return str(result.error)

    return run


@pytest.mark.parametrize("at", range(len(value_nodes.REFUSED)))
def test_what_the_table_refuses_is_refused_at_the_output(
    at: int, importable: None, refusals: Callable[[Mapping[str, Any]], str]
) -> None:
    error = refusals({"uses": N + "refused", "with": {"at": at}})
    assert "UnsupportedValueError: output of node 'bad'" in error
    assert value_nodes.REFUSED[at][1] in error


def test_an_output_that_is_too_deep_is_refused_and_one_level_less_is_read(
    importable: None, refusals: Callable[[Mapping[str, Any]], str]
) -> None:
    assert "nested deeper than 255" in refusals({"uses": N + "deep", "with": {"levels": 256}})
    assert "holds itself" in refusals({"uses": N + "itself"})
    nodes = {
        "d": {"uses": N + "deep", "with": {"levels": 255}},
        "m": {
            "uses": N + "seen_one",
            "needs": ["d"],
            "for_each": "${{ [d.output] }}",
            "with": {"value": "${{ item }}"},
        },
        "same": {"uses": N + "again", "needs": ["d"], "for_each": "${{ [d.output, 1] }}"},
        "s": {
            "uses": "workflow",
            "needs": ["d"],
            "flow": {
                "nodes": {"x": {"uses": N + "seen_one", "with": {"value": "${{ inputs.v }}"}}}
            },
            "with": {"v": "${{ d.output }}"},
        },
    }
    result = Flows().run({"id": "deep", "nodes": nodes})
    assert result.success, result.error
    print_ = value_nodes.print_of(value_nodes.deep(255))
    assert (result.outputs["m"], result.outputs["s"]) == ([print_], print_)
    assert json.loads(json_text(result.outputs))["d"] == value_nodes.deep(255)


LETTERS = {letter: letter.upper() for letter in "hgfedcba"}


def test_a_map_over_a_map_goes_on_where_it_failed(
    engine: Engine, importable: None, tmp_path: Path
) -> None:
    log, mended = tmp_path / "ran.txt", tmp_path / "mended"
    given = {"log": str(log), "mended": str(mended), "fail": "f", "item": "${{ item }}"}
    nodes = {
        "zip": {
            "uses": N + "again",
            "with": {"state": "${{ inputs.s.map(k, [k, inputs.s[k]]) }}"},
        },
        "each": {
            "uses": N + "logged",
            "needs": ["zip"],
            "for_each": "${{ inputs.s.map(k, k) }}",
            "with": given,
        },
    }
    config = {"execution": {"fail_fast": False}}
    run = engine.start(nodes, {"s": LETTERS}, config=config)
    assert not run.wait(timeout=60).success
    mended.touch()
    run.resume()
    result = run.wait(timeout=60)
    assert result.success, result.error
    assert result.outputs["zip"] == [list(pair) for pair in LETTERS.items()]
    assert result.outputs["each"] == list(LETTERS)
    assert sorted(log.read_text().split()) == sorted([*LETTERS, "f"])


def test_a_cache_whose_key_goes_over_a_map_is_hit(
    engine: Engine, importable: None, tmp_path: Path
) -> None:
    log = tmp_path / "called.txt"
    keys = "${{ inputs.s.map(k, k) }}"
    node = {"uses": N + "called", "with": {"keys": keys, "log": str(log)}, "cache": "1h"}
    for _ in range(3):
        assert engine.run({"c": node}, {"s": LETTERS}).output == list(LETTERS)
    assert log.read_text().split() == ["called"]


def test_a_sub_flow_with_defaults_goes_on_where_it_failed(
    engine: Engine, importable: None, tmp_path: Path
) -> None:
    log, mended = tmp_path / "ran.txt", tmp_path / "mended"
    given = {"log": str(log), "mended": str(mended), "fail": "second"}
    sub = {
        "inputs": {
            "who": {"type": "string"},
            "greeting": {"type": "string", "default": "hello"},
            "rate": {"default": [1.0, {"b": None}]},
        },
        "nodes": {
            name: {"uses": N + "logged", "with": {**given, "item": name}, **needs}
            for name, needs in (("first", {}), ("second", {"needs": ["first"]}))
        },
    }
    nodes = {
        "told": {"uses": "workflow", "flow": sub, "with": {"who": "${{ inputs.who }}"}},
        "flows": {"uses": "workflow", "flow": sub, "needs": ["make"]},
        "make": {"uses": "passthrough", "with": {"who": "me", "else": 1}},
    }
    config = {"execution": {"fail_fast": False}}
    run = engine.start(nodes, {"who": "me"}, config=config)
    assert not run.wait(timeout=60).success
    mended.touch()
    run.resume()
    result = run.wait(timeout=60)
    assert result.success, result.error
    assert sorted(log.read_text().split()) == ["first"] * 2 + ["second"] * 4
