"""``${{ secrets.NAME }}``: where it may stand, and what becomes of its value in a run."""

import logging
from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.secrets import WorkerSecrets
from flowcore.assembly.settings import Settings, SettingsError
from flowcore.check.check import InvalidFlowError, check
from flowcore.engine.attempts.secrets import read_secrets
from flowcore.errors import SecretError, UsageError
from flowcore.graph.load import load_text, load_tree
from flowcore.testing.flows import Flows
from tests.canary import CANARY, leaks_in, texts_in
from tests.engine import MODULES

READS = "${{ secrets.TOKEN }}"


def _run(flows: Flows, nodes: dict[str, Any], **more: Any) -> Any:
    flows.secret("TOKEN", CANARY)
    return flows.run({"id": "f", "nodes": nodes, **more})


def _everything(flows: Flows) -> str:
    """All that the stores of a test hold, as text."""
    executor = flows._executor
    return "\n".join(texts_in([flows.store, executor._speaker._memory, executor._guard._shared]))


def _uses(name: str) -> str:
    return f"secret_nodes:{name}"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODULES))


# ── in a run ────────────────────────────────────────────────────────────────────────────────────


def test_the_function_gets_the_value_and_nobody_else_does(
    flows: Flows, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    cache = {"ttl": "1h"}
    result = _run(
        flows,
        {
            "size": {"uses": _uses("length"), "with": {"token": READS}},
            "leak": {"uses": _uses("leak"), "with": {"token": READS}, "cache": cache},
            "words": {"uses": _uses("words"), "with": {"token": "${{ secrets['TOKEN'] }}"}},
            "joined": {"uses": "passthrough", "with": {"auth": f"Bearer {READS}"}},
        },
    )
    assert result.success, result.error
    outputs = result.output
    assert outputs["size"] == len(CANARY)
    assert outputs["leak"]["token"] == "***"
    assert outputs["leak"]["raw"] == b"***"
    assert outputs["words"] == "it is ***"
    assert outputs["joined"] == {"auth": "Bearer ***"}
    told = capsys.readouterr()
    for text in (_everything(flows), caplog.text, told.out, told.err):
        assert leaks_in(text) == []
    assert "printed ***" in told.out
    assert "the token is ***" in caplog.text


def test_an_error_is_told_without_the_secret(flows: Flows) -> None:
    retry = {"max_attempts": 2, "delay": 0}
    result = _run(
        flows,
        {
            "bad": {
                "uses": _uses("fail"),
                "with": {"token": READS},
                "retry": retry,
                "fallback": [{"uses": _uses("fail")}, {"value": "instead"}],
            }
        },
    )
    assert result.success, result.error
    assert leaks_in(_everything(flows)) == []


def test_an_error_that_no_fallback_mends_is_told_without_the_secret(flows: Flows) -> None:
    chain = [{"uses": _uses("fail")}]
    result = _run(
        flows, {"bad": {"uses": _uses("fail"), "with": {"token": READS}, "fallback": chain}}
    )
    assert not result.success
    assert leaks_in(_everything(flows)) == []


def test_items_loops_branches_and_sub_flows_read_it_where_they_need_it(flows: Flows) -> None:
    reads = {"token": READS}
    result = _run(
        flows,
        {
            "items": {
                "uses": _uses("length"),
                "for_each": "${{ [1, 2] }}",
                "with": reads,
            },
            "loop": {"uses": _uses("length"), "max_iterations": 2, "with": reads},
            "branches": {
                "uses": "parallel",
                "branches": {"left": {"uses": _uses("length"), "with": reads}},
            },
            "sub": {
                "uses": "workflow",
                "flow": {"nodes": {"inner": {"uses": _uses("length"), "with": reads}}},
            },
            "source": {
                "uses": "passthrough",
                "for_each": {"uses": _uses("items"), "with": reads},
                "with": {"got": "${{ item.token }}"},
            },
        },
    )
    assert result.success, result.error
    size = len(CANARY)
    assert result.output["items"] == [size, size]
    assert result.output["loop"] == size
    assert result.output["branches"] == {"left": size}
    assert result.output["sub"] == size
    assert result.output["source"] == [{"got": "***"}]
    assert leaks_in(_everything(flows)) == []


def test_what_undoes_a_node_and_what_runs_at_the_end_may_read_it(flows: Flows) -> None:
    reads = {"token": READS}
    undo = {"uses": _uses("leak"), "with": reads}
    result = _run(
        flows,
        {
            "done": {"uses": "passthrough", "undo": undo},
            "bad": {"uses": _uses("fail"), "with": reads, "needs": ["done"]},
        },
        **{"finally": {"last": {"uses": _uses("leak"), "with": reads}}},
    )
    assert not result.success
    assert leaks_in(_everything(flows)) == []


def test_two_values_of_one_secret_have_two_places_in_a_cache(flows: Flows) -> None:
    nodes = {"size": {"uses": _uses("length"), "with": {"token": READS}, "cache": {"ttl": "1h"}}}
    assert _run(flows, nodes).output == len(CANARY)
    assert flows.calls("size") == 1
    assert _run(flows, nodes).output == len(CANARY)
    assert flows.calls("size") == 1
    flows.secret("TOKEN", "another value")
    assert flows.run({"id": "f", "nodes": nodes}).output == len("another value")


def test_a_secret_that_no_test_has_given_is_told_of(flows: Flows) -> None:
    result = flows.run({"nodes": {"a": {"uses": "passthrough", "with": {"t": READS}}}})
    assert "no test has said what secret 'TOKEN' is" in (result.error or "")


def test_a_secret_of_three_characters_is_refused_for_it_cannot_be_hidden(flows: Flows) -> None:
    flows.secret("TOKEN", "abc")
    result = flows.run({"nodes": {"a": {"uses": "passthrough", "with": {"t": READS}}}})
    assert "fewer than 4 characters" in (result.error or "")
    assert "FC523" in repr(flows.record(result.run_id).nodes["a"].error)


def test_a_canvas_refuses_it_by_name(flows: Flows) -> None:
    from flowcore.celery.canvas.unsupported import refuse_unkept
    from flowcore.client.flow import Flow

    plan = Flow.load({"nodes": {"a": {"uses": "end", "with": {"t": READS}}}}).plan()
    with pytest.raises(UsageError, match="node 'a' has secrets, which a Celery canvas cannot"):
        refuse_unkept(plan)


# ── in a definition ─────────────────────────────────────────────────────────────────────────────


def _codes(nodes: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    try:
        check(load_tree({"nodes": nodes, **more}), resolve=False)
    except InvalidFlowError as error:
        return [(found.code, ".".join(map(str, found.path))) for found in error.diagnostics]
    return []


@pytest.mark.parametrize(
    "text",
    [
        READS,
        "Bearer ${{ secrets.TOKEN }}",
        "${{ secrets.A }}:${{ secrets['my-key'] }}",
        "${{ 'Bearer ' + secrets.TOKEN }}",
        "${{ inputs.live ? secrets.LIVE : secrets.TEST }}",
        "${{ inputs.secrets }}",
        "${{ {'secrets': 1} }}",
    ],
)
def test_a_secret_may_be_read_by_what_a_node_gives_its_function(text: str) -> None:
    with_ = {"url": "https://example.org", "headers": {"X": text}, "json": [{"deep": text}]}
    assert _codes({"a": {"uses": "http", "with": with_}}) == []


@pytest.mark.parametrize(
    "text",
    [
        "${{ secrets }}",
        "${{ secrets[inputs.name] }}",
        "${{ secrets['../../etc/passwd'] }}",
        "${{ secrets['a/b'] }}",
        "${{ secrets['..'] }}",
        "${{ size(secrets) }}",
        "${{ [secrets].map(s, s.TOKEN) }}",
        "${{ secrets[0] }}",
        "${{ secrets[''] }}",
    ],
)
def test_a_name_that_is_not_written_out_is_refused(text: str) -> None:
    assert _codes({"a": {"uses": "end", "with": {"x": text}}}) == [("FC260", "nodes.a.with.x")]


_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"if": "secrets.A == 'x'"}, "if"),
    ({"for_each": "${{ [secrets.A] }}"}, "for_each"),
    ({"until": "output == secrets.A", "max_iterations": 3}, "until"),
    ({"initial": READS, "max_iterations": 3}, "initial"),
    ({"idempotency_key": READS}, "idempotency_key"),
    ({"cache": {"ttl": 3, "key": READS}}, "cache.key"),
    ({"concurrency": {"limit": 3, "key": READS}}, "concurrency.key"),
    ({"rate_limit": {"limit": 3, "per": "1s", "key": READS}}, "rate_limit.key"),
    ({"circuit_breaker": {"failures": 3, "key": READS}}, "circuit_breaker.key"),
    ({"fallback": {"value": READS}}, "fallback.value"),
]


@pytest.mark.parametrize(("fields", "place"), _FIELDS)
def test_where_the_value_would_be_recorded_it_is_refused(
    fields: dict[str, Any], place: str
) -> None:
    assert ("FC261", f"nodes.a.{place}") in _codes({"a": {"uses": "end", **fields}})


@pytest.mark.parametrize(
    "node",
    [
        {"uses": "celery:shop.tasks.charge", "with": {"x": READS}},
        {"uses": "memory", "with": {"x": READS}},
        {"uses": "approval", "with": {"message": READS}},
        {"uses": "signal", "with": {"name": READS}},
        {"uses": "workflow", "flow": {"nodes": {"b": {"uses": "end"}}}, "with": {"x": READS}},
        {"uses": "map", "for_each": [1], "flow": {"nodes": {"b": {"uses": "end"}}},
         "with": {"x": READS}},
    ],
)  # fmt: skip
def test_types_that_keep_what_they_are_given_refuse_it(node: dict[str, Any]) -> None:
    assert "FC261" in [code for code, _ in _codes({"a": node})]


def test_edges_threads_and_the_rest_of_a_definition_refuse_it() -> None:
    nodes = {"a": {"uses": "end"}, "b": {"uses": "end"}}
    edges = [{"from": "a", "to": "b", "when": "secrets.A == 'x'"}]
    assert _codes(nodes, edges=edges) == [("FC261", "edges.0.when")]
    assert ("FC261", "config.memory.thread") in _codes(nodes, config={"memory": {"thread": READS}})
    assert ("FC261", "memory.thread") in _codes(nodes, memory={"thread": READS})
    assert _codes(nodes, config={"llm": {"model": "m", "api_key": READS}}) == []


def test_what_is_inside_is_checked_where_it_stands() -> None:
    bad = {"uses": "end", "if": "secrets.A == 'x'", "with": {"ok": READS}}
    flow = {"nodes": {"b": bad}}
    assert _codes({"a": {"uses": "workflow", "flow": flow}}) == [
        ("FC261", "nodes.a.flow.nodes.b.if")
    ]
    assert _codes({"a": {"uses": "parallel", "branches": {"b": bad}}}) == [
        ("FC261", "nodes.a.branches.b.if")
    ]
    assert _codes(
        {"a": {"uses": "end", "undo": {"uses": "memory", "with": {"thread": READS}}}}
    ) == [("FC261", "nodes.a.undo.with.thread")]


def test_no_node_is_called_secrets() -> None:
    assert _codes({"secrets": {"uses": "end"}}) == [("FC214", "nodes.secrets")]


def test_the_sentence_says_why_and_the_way_out() -> None:
    text = "nodes: {a: {uses: 'celery:x.y', with: {t: '${{ secrets.B }}'}}}"
    with pytest.raises(InvalidFlowError) as error:
        check(load_text(text, name="x.yaml"))
    (shown,) = error.value.problems
    assert "secret 'B' cannot be read here: the arguments of a Celery task are sent" in shown
    assert "^ read it in the 'with' of the node that needs it" in shown


# ── on a worker ─────────────────────────────────────────────────────────────────────────────────


def test_only_what_was_put_there_for_definitions_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "db-password").write_text("from a file\n")
    environ = {
        "FLOWCORE_SECRET_TOKEN": "prefixed",
        "STRIPE_KEY": "listed",
        "STRIPE_LIVE": "by pattern",
        "AWS_SECRET_ACCESS_KEY": "not for definitions",
        "FLOWCORE_SECRET": "the key that signs messages",
    }
    source = WorkerSecrets(tmp_path, ["STRIPE_*"], environ=environ)
    assert source.value("TOKEN") == "prefixed"
    assert source.value("STRIPE_KEY") == "listed"
    assert source.value("db-password") == "from a file"
    assert source.names() == ["STRIPE_KEY", "STRIPE_LIVE", "TOKEN", "db-password"]
    for name in ("AWS_SECRET_ACCESS_KEY", "FLOWCORE_SECRET", "PATH", "SECRET", "", "nothing"):
        with pytest.raises(SecretError, match=f"has no secret '{name}'"):
            source.value(name)


def test_the_error_names_the_ways_and_no_value(tmp_path: Path) -> None:
    environ = {"FLOWCORE_SECRET_TOKEN": CANARY, "PLAIN": CANARY}
    source = WorkerSecrets(tmp_path, environ=environ)
    with pytest.raises(SecretError) as error:
        source.value("TOKKEN")
    assert str(error.value) == (
        "this worker has no secret 'TOKKEN'; did you mean 'TOKEN'? set FLOWCORE_SECRET_TOKKEN in "
        f"its environment, or put a file 'TOKKEN' into {tmp_path}"
    )
    with pytest.raises(SecretError, match="list 'PLAIN', which is a variable there, in FLOWCORE"):
        source.value("PLAIN")


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    source = WorkerSecrets(tmp_path, environ={})
    (tmp_path / "TOKEN").write_text("first")
    assert source.value("TOKEN") == "first"
    (tmp_path / "TOKEN").write_text("second")
    assert source.value("TOKEN") == "second"
    (tmp_path / "TOKEN").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="not UTF-8 text"):
        source.value("TOKEN")
    (tmp_path / "TOKEN").write_text("x" * 70_000)
    with pytest.raises(SecretError, match="longer than"):
        source.value("TOKEN")


def test_where_nobody_has_secrets_there_are_none() -> None:
    with pytest.raises(SecretError, match="cannot be read where this node runs"):
        read_secrets({"x": READS}, None)


@pytest.mark.parametrize("value", ["*", "FLOWCORE_*", "FLOWCORE_SECRET", "F*", "a b", "A-B", "A**"])
def test_a_list_that_would_give_away_the_signing_key_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="FLOWCORE_SECRETS"):
        Settings.from_env({"FLOWCORE_SECRETS": value})
