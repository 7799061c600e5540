"""What Flower shows of flowcore's runs, asked of the real Flower over HTTP."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Run
from flowcore.assembly.runtime import place
from flowcore.ports.store import Dispatch
from tests.canary import CANARY as SECRET
from tests.canary import leaks_in
from tests.engine import Engine, poll, running_engine
from tests.flower_services import ROOT, FlowerSite, running_flower

pytestmark = [pytest.mark.integration, pytest.mark.flower, pytest.mark.timeout(300)]

CANARY = "canary-7f3a9"
NODES = "engine_nodes"
RETRY = {"max_attempts": 2, "delay": "300ms"}


@dataclass(frozen=True)
class Scene:
    """Workers, Flower, and runs that both have seen."""

    engine: Engine
    flower: FlowerSite

    def run(self, flow: str, nodes: Mapping[str, Any], **more: Any) -> str:
        """Run to the end; the id."""
        run = self.start(flow, nodes, **more)
        run.wait(timeout=60)
        return run.id

    def start(self, flow: str, nodes: Mapping[str, Any], **more: Any) -> Run:
        data = {"text": CANARY}
        return self.engine.start(nodes, data, id=flow, inputs={"text": {"type": "string"}}, **more)

    def rows(self, run: str) -> dict[str, dict[str, Any]]:
        """The rows of a run by the node's name, the run's own under ''."""
        found = self.flower.tasks(search=f"kwargs:run={run}")
        return {row["uuid"].removeprefix(run).removeprefix("."): row for row in found.values()}

    def settled(self, run: str, **states: str) -> dict[str, dict[str, Any]]:
        """Wait for the rows of a run to be these, and no others; ``run`` is the run's own row."""
        wanted = {"" if name == "run_" else name: state for name, state in states.items()}

        def reached() -> bool:
            return {name: row["state"] for name, row in self.rows(run).items()} == wanted

        try:
            poll(reached, what="rows in Flower", patience=30)
        except pytest.fail.Exception:
            seen = {name: row["state"] for name, row in self.rows(run).items()}
            pytest.fail(f"wanted {wanted}, Flower shows {seen}")
        return self.rows(run)

    def worker(self) -> str:
        (note,) = self.engine.session.runtime.board.workers()
        name: str = note.name
        return name


@pytest.fixture(scope="module")
def scene(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("flower")
    conf = ROOT / "compose" / "flowerconfig.py"
    with (
        running_flower(place(valkey_server).url, home, f"--conf={conf}") as flower,
        running_engine(valkey_server, home, secret_token=SECRET) as engine,
    ):
        engine.workers()
        poll(flower.hears_events, what="a worker's heartbeat in Flower")
        yield Scene(engine, flower)


@pytest.fixture(scope="module")
def fan(scene: Scene) -> str:
    """A run that succeeds: four nodes side by side, and a join."""
    words = {f"w{k}": {"uses": f"{NODES}:echo", "with": {"value": k}} for k in range(4)}
    first = {"uses": f"{NODES}:echo", "with": {"value": "${{ inputs.text }}"}}
    last = {"uses": f"{NODES}:echo", "with": {"value": CANARY}, "needs": list(words)}
    for node in words.values():
        node["needs"] = ["first"]
    run = scene.run("fan", {"first": first, **words, "last": last})
    scene.settled(run, run_="SUCCESS", **dict.fromkeys(["first", *words, "last"], "SUCCESS"))
    return run


def test_every_node_is_a_row_named_after_flow_and_node(scene: Scene, fan: str) -> None:
    rows = scene.rows(fan)
    assert {row["name"] for row in rows.values()} == {
        *("fan", "fan.first", "fan.w0", "fan.w1", "fan.w2", "fan.w3", "fan.last")
    }
    assert rows["w0"]["uuid"] == f"{fan}.w0"
    found = scene.flower.tasks(taskname="fan.w2", search=f"kwargs:run={fan}")
    assert list(found) == [f"{fan}.w2"]


def test_rows_say_which_run_flow_node_and_attempt_they_are(scene: Scene, fan: str) -> None:
    rows = scene.rows(fan)
    facts = {"run": fan, "flow": "fan", "node": "w1", "item": None, "attempt": 1}
    assert rows["w1"]["kwargs"] == repr(facts)
    assert rows["w1"]["args"] == "()"
    assert rows["w1"]["result"] == "'recorded'"
    assert rows[""]["kwargs"] == repr({"run": fan, "flow": "fan"})


def test_rows_form_a_tree_under_the_run(scene: Scene, fan: str) -> None:
    rows = scene.rows(fan)
    assert {row["root_id"] for row in rows.values()} == {fan}
    assert rows["first"]["parent_id"] == fan
    assert rows["w0"]["parent_id"] == f"{fan}.first"
    assert rows["last"]["parent_id"] == f"{fan}.w3"


def test_rows_have_the_times_and_the_worker_of_their_node(scene: Scene, fan: str) -> None:
    for row in scene.rows(fan).values():
        assert row["sent"] <= row["started"] <= row["succeeded"] <= row["timestamp"]
        assert row["worker"] == scene.worker()
        assert row["runtime"] >= 0
        assert row["routing_key"] == "flowcore" or row["uuid"] != fan


def test_the_search_box_finds_exactly_one_run(scene: Scene, fan: str) -> None:
    other = scene.run("fan", {"w0": {"uses": "passthrough"}}, run_id=f"{fan}-b")
    scene.settled(other, run_="SUCCESS", w0="SUCCESS")
    assert len(scene.flower.search(f"kwargs:run={fan}")) == 7
    assert len(scene.flower.search(f"kwargs:run={other}")) == 2
    assert [row["name"] for row in scene.flower.search(f"kwargs:run={fan} kwargs:node=last")] == [
        "fan.last"
    ]
    assert scene.flower.search(f"kwargs:run={fan} state:FAILURE") == []


def test_the_search_box_finds_nodes_by_their_tags(scene: Scene) -> None:
    nodes = {"a": {"uses": "passthrough", "tags": ["slow", "gpu"]}, "b": {"uses": "passthrough"}}
    run = scene.run("tagged", nodes)
    scene.settled(run, run_="SUCCESS", a="SUCCESS", b="SUCCESS")
    found = scene.flower.search(f"kwargs:run={run} kwargs:tags=slow,gpu")
    assert [row["name"] for row in found] == ["tagged.a"]


def test_payloads_never_reach_flower(scene: Scene, fan: str) -> None:
    answers = [
        json.dumps(scene.flower.search(f"kwargs:run={fan}")),
        *(scene.flower.get(path) for path in ("/api/tasks", "/tasks", "/api/workers")),
        *(scene.flower.get(f"/api/task/info/{fan}.{node}") for node in ("first", "last")),
        scene.flower.get(f"/task/{fan}.last"),
    ]
    assert all(answers)
    assert not any(CANARY in answer for answer in answers)
    # The control: the run did carry it.
    assert CANARY in str(Run(fan, session=scene.engine.session).outputs())


def test_a_retried_node_keeps_its_row_and_its_name(scene: Scene) -> None:
    node = {"uses": f"{NODES}:fail_until", "with": {"attempt": 2}, "retry": RETRY}
    retry = {**RETRY, "delay": "4s"}
    slow = {"uses": f"{NODES}:fail_until", "with": {"attempt": 2}, "retry": retry}
    run = scene.start("again", {"quick": node, "slow": slow})
    seen = scene.settled(run.id, run_="STARTED", quick="SUCCESS", slow="RETRY")
    assert "ConnectionError: attempt 1 fails" in seen["slow"]["exception"]
    assert "fail_until" in seen["slow"]["traceback"]
    rows = scene.settled(run.id, run_="SUCCESS", quick="SUCCESS", slow="SUCCESS")
    assert rows["slow"]["name"] == "again.slow"
    assert rows["slow"]["retries"] == 1
    assert "'attempt': 2" in rows["slow"]["kwargs"]
    assert scene.flower.json(f"/api/task/info/{run.id}.slow")["name"] == "again.slow"


def test_a_failed_node_shows_its_exception_and_ends_the_row_of_its_run(scene: Scene) -> None:
    nodes: dict[str, Any] = {
        "bad": {"uses": f"{NODES}:fail", "with": {"message": "no luck today"}},
        "next": {"uses": "passthrough", "needs": ["bad"]},
    }
    run = scene.run("broken", nodes)
    rows = scene.settled(run, run_="FAILURE", bad="FAILURE")  # 'next' was never sent
    assert "ValueError: no luck today" in rows["bad"]["exception"]
    assert "raise ValueError(message)" in rows["bad"]["traceback"]
    assert rows[""]["exception"] == "node 'bad': ValueError: no luck today"
    assert rows[""]["worker"] == scene.worker()


def test_a_node_whose_process_died_ends_well_on_the_same_row(scene: Scene, tmp_path: Path) -> None:
    node = {"uses": f"{NODES}:die_once", "with": {"mark": str(tmp_path / "mark")}}
    run = scene.run("phoenix", {"bird": node})
    rows = scene.settled(run, run_="SUCCESS", bird="SUCCESS")
    assert rows["bird"]["name"] == "phoenix.bird"
    assert "'attempt': 2" in rows["bird"]["kwargs"]


def test_a_skipped_node_has_no_row(scene: Scene) -> None:
    nodes = {
        "a": {"uses": f"{NODES}:echo", "with": {"value": 1}},
        "b": {"uses": "passthrough"},
    }
    edges = [{"from": "a", "to": "b", "when": "a.output > 1"}]
    run = scene.run("skip", nodes, edges=edges)
    scene.settled(run, run_="SUCCESS", a="SUCCESS")


def test_the_row_of_a_run_starts_with_its_first_node(scene: Scene) -> None:
    run = scene.start("nap", {"long": {"uses": f"{NODES}:nap", "with": {"seconds": 3}}})
    rows = scene.settled(run.id, run_="STARTED", long="STARTED")
    assert rows[""]["worker"] == scene.worker()
    rows = scene.settled(run.id, run_="SUCCESS", long="SUCCESS")
    assert rows[""]["runtime"] >= 3


def test_a_duplicate_message_leaves_the_row_of_a_settled_node(scene: Scene, fan: str) -> None:
    runtime = scene.engine.session.runtime
    summary = Run(fan, session=scene.engine.session).summary()
    plan = runtime.store.get_plan(summary.plan)
    before = scene.rows(fan)["w0"]
    again = Dispatch(
        run=fan,
        plan=plan.hash,
        flow="fan",
        namespace="",
        priority=5,
        nodes=((plan.ids.index("w0"), 1), (plan.ids.index("w1"), 1)),
    )
    runtime.dispatcher.publish(again, plan)

    def received_again() -> bool:
        rows = scene.rows(fan)
        return all(rows[name]["started"] > before["succeeded"] for name in ("w0", "w1"))

    poll(received_again, what="the duplicates in Flower")
    marker = scene.run("marker", {"m": {"uses": "passthrough"}})
    scene.settled(marker, run_="SUCCESS", m="SUCCESS")
    after = scene.rows(fan)
    assert {row["state"] for row in after.values()} == {"SUCCESS"}
    assert after["w0"]["name"] == "fan.w0"
    assert after["w0"]["runtime"] == before["runtime"]


def test_a_run_cancelled_while_a_node_runs_is_revoked(scene: Scene) -> None:
    nodes = {
        "work": {"uses": "sleep", "with": {"seconds": 60}},
        "then": {"uses": "passthrough", "needs": ["work"]},
    }
    run = scene.start("stopped", nodes)
    scene.settled(run.id, run_="STARTED", work="STARTED")
    run.cancel()
    rows = scene.settled(run.id, run_="REVOKED", work="REVOKED")
    assert rows[""]["worker"] == scene.worker()


def test_a_run_cancelled_while_it_waits_for_a_retry_is_revoked(scene: Scene) -> None:
    retry = {"max_attempts": 3, "delay": "1h"}
    run = scene.start("later", {"bad": {"uses": f"{NODES}:fail", "retry": retry}})
    scene.settled(run.id, run_="STARTED", bad="RETRY")
    run.cancel()
    rows = scene.settled(run.id, run_="REVOKED", bad="REVOKED")
    # Told by a worker: else Flower would list this process as one.
    assert rows[""]["worker"] == rows["bad"]["worker"] == scene.worker()
    assert set(scene.flower.json("/api/workers", refresh=True)) == {scene.worker()}


def test_a_run_cancelled_before_a_worker_saw_it_is_revoked(scene: Scene) -> None:
    busy = [
        scene.start("busy", {"nap": {"uses": f"{NODES}:nap", "with": {"seconds": 3}}})
        for _ in range(2)
    ]
    for run in busy:
        scene.settled(run.id, run_="STARTED", nap="STARTED")
    queued = scene.start("queued", {"a": {"uses": "passthrough"}})
    scene.settled(queued.id, run_="PENDING", a="PENDING")
    queued.cancel()
    scene.settled(queued.id, run_="REVOKED", a="REVOKED")


def test_a_run_that_passes_its_deadline_is_shown_as_failed(scene: Scene) -> None:
    retry = {"max_attempts": 3, "delay": "1h"}
    nodes = {"bad": {"uses": f"{NODES}:fail", "retry": retry}}
    run = scene.run("late", nodes, config={"execution": {"timeout_seconds": 1}})
    rows = scene.settled(run, run_="FAILURE", bad="REVOKED")  # the janitor ended it
    assert "RunTimeoutError" in rows[""]["exception"]
    assert rows[""]["worker"] == scene.worker()


def test_terminating_a_node_in_flower_cancels_its_run(scene: Scene) -> None:
    run = scene.start("killed", {"long": {"uses": f"{NODES}:nap", "with": {"seconds": 300}}})
    scene.settled(run.id, run_="STARTED", long="STARTED")
    # No message has the run's own id: revoking that does nothing.
    scene.flower.get(f"/api/task/revoke/{run.id}", method="POST", terminate="true")
    marker = scene.run("marker", {"m": {"uses": "passthrough"}})
    scene.settled(marker, run_="SUCCESS", m="SUCCESS")
    scene.settled(run.id, run_="STARTED", long="STARTED")
    scene.flower.get(f"/api/task/revoke/{run.id}.long", method="POST", terminate="true")
    scene.settled(run.id, run_="REVOKED", long="REVOKED")
    assert run.wait(timeout=60).state == "cancelled"


def test_the_stamp_of_a_run_revokes_all_its_messages(scene: Scene) -> None:
    nodes = {f"n{k}": {"uses": f"{NODES}:nap", "with": {"seconds": 300}} for k in range(4)}
    run = scene.start("stamped", nodes)
    poll(
        lambda: [row["state"] for row in scene.rows(run.id).values()].count("STARTED") == 3,
        what="two of four nodes to run",
    )
    control = scene.engine.session.runtime.app.control
    control.revoke_by_stamped_headers({"flow_run": run.id}, terminate=True)
    assert run.wait(timeout=60).state == "cancelled"
    names = dict.fromkeys(nodes, "REVOKED")
    scene.settled(run.id, run_="REVOKED", **names)


def test_the_task_page_shows_the_columns_of_flowerconfig(scene: Scene) -> None:
    page = scene.flower.get("/tasks")
    for column in ("name", "state", "retries", "kwargs", "exception", "worker"):
        assert f'data-column="{column}"' in page
    assert 'data-column="args"' not in page


def test_a_group_is_announced_in_one_broker_message(scene: Scene) -> None:
    runtime = scene.engine.session.runtime
    nodes = {f"n{k}": {"uses": "passthrough"} for k in range(15)}
    heard: list[list[dict[str, Any]]] = []
    with redis.Redis.from_url(runtime.redis_url) as client, client.pubsub() as ears:
        ears.psubscribe("*celeryev*")
        ears.get_message(timeout=10)
        run = scene.start("group", nodes)
        run.wait(timeout=60)

        def announced() -> bool:
            while message := ears.get_message(timeout=0.1):
                if message["type"] == "pmessage":
                    heard.append(_events(message["data"]))
            return any(_sent_of(events, run.id) for events in heard)

        poll(announced, what="task-sent events")
    sent = [_sent_of(events, run.id) for events in heard if _sent_of(events, run.id)]
    assert [len(events) for events in sent] == [15]


def _events(data: bytes) -> list[dict[str, Any]]:
    found = json.loads(base64.b64decode(json.loads(data)["body"]))
    return found if isinstance(found, list) else [found]


def _sent_of(events: list[dict[str, Any]], run: str) -> list[dict[str, Any]]:
    return [e for e in events if e["type"] == "task-sent" and e["uuid"].startswith(f"{run}.")]


def test_no_secret_of_a_node_is_shown_whatever_becomes_of_it(scene: Scene) -> None:
    reads = {"token": "${{ secrets.TOKEN }}"}
    nodes = {
        name: {"uses": f"secret_nodes:{name}", "with": reads}
        for name in ("leak", "fail", "fail_once")
    }
    nodes["fail_once"] |= {"retry": RETRY}
    run = scene.run("secretive", nodes, config={"execution": {"fail_fast": False}})
    rows = scene.settled(run, run_="FAILURE", leak="SUCCESS", fail="FAILURE", fail_once="SUCCESS")
    assert "refused ***" in rows["fail"]["traceback"]
    assert leaks_in(json.dumps(scene.flower.tasks())) == []
    assert leaks_in(json.dumps(rows)) == []
