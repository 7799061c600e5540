"""Agents have processes of their own: calls that do not come back cost others nothing."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from flowcore import TaskState
from flowcore.agents.message import Task
from flowcore.client.agents import AgentClient
from flowcore.errors import AgentTaskError
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration]

SETTINGS = {"lease": "2.0", "heartbeat": "0.25", "dispatch_lease": "1.0", "agents": "hard_agents"}


@pytest.fixture(scope="module")
def hosted(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker with a pool of processes."""
    with make_engine(tmp_path_factory.mktemp("processes"), **SETTINGS) as engine:
        engine.workers(slots=1)
        yield engine


@pytest.fixture
def client(hosted: Engine) -> AgentClient:
    return AgentClient(hosted.session)


def _pid(client: AgentClient) -> int:
    found: int = client.send("where", "?").data["pid"]
    return found


def _health(client: AgentClient, agent: str) -> tuple[int, int]:
    """Calls of an agent that hang, and processes that were replaced."""
    notes = [note for note in client.agents() if note.name == agent and note.alive]
    return sum(note.hung for note in notes), sum(note.replaced for note in notes)


def _runs(log: Path) -> int:
    return log.read_text().count("run") if log.exists() else 0


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _ended(client: AgentClient, task: str) -> Task:
    list(client.follow(task))
    return client.get(task)


def test_agents_run_beside_the_worker_and_its_pool(hosted: Engine, client: AgentClient) -> None:
    (worker,) = hosted.started[0].pids
    command = Path(f"/proc/{_pid(client)}/cmdline").read_bytes()
    assert _pid(client) != worker
    assert b"flowcore.assembly.agent_process" in command


def test_a_call_that_hangs_keeps_its_place_and_is_counted(client: AgentClient) -> None:
    before = _pid(client)
    with pytest.raises(AgentTaskError, match=r"its timeout of 0\.3 s"):
        client.send("hangs-rarely", "hang")
    assert client.send("hangs-rarely", "x").text == "x"
    poll(lambda: _health(client, "hangs-rarely")[0] == 1, what="the card to count it")
    assert _pid(client) == before


@pytest.mark.parametrize("agent", ["hangs", "deaf"])
def test_when_all_places_hang_the_process_is_replaced(
    client: AgentClient, tmp_path: Path, agent: str
) -> None:
    """What others do is handed back, and goes on in the next one."""
    before, replaced, log = _pid(client), _health(client, "hello")[1], tmp_path / "log"
    bystander = client.start("naps-and-tells", {"path": str(log), "seconds": 2})
    poll(lambda: _runs(log), what="the bystander to begin")
    tasks = [client.start(agent, "x") for _ in range(3)]
    for task in tasks:
        assert "its timeout of 0.3 s" in _ended(client, task).reason
    assert client.wait(bystander).text == "rested"
    assert _runs(log) == 2
    assert _pid(client) != before
    poll(lambda: _health(client, "hello")[1] > replaced, what="the card to count it")
    poll(lambda: _health(client, agent)[0] <= 1, what="the hung calls to be gone")


@pytest.mark.parametrize("agent", ["spins", "spins-async", "blocks"])
def test_a_call_that_keeps_the_process_ends_with_its_timeout(
    client: AgentClient, tmp_path: Path, agent: str
) -> None:
    before, log = _pid(client), tmp_path / "log"
    rests = tmp_path / "rests"
    bystander = client.start("naps-and-tells", {"path": str(rests), "seconds": 0.5})
    poll(lambda: _runs(rests), what="the bystander to begin")
    begun = time.monotonic()
    task = client.start(agent, {"path": str(log)})
    found = _ended(client, task)
    took = time.monotonic() - begun
    assert (found.state, "its timeout of" in found.reason) == (TaskState.FAILED, True)
    assert agent == "blocks" or _runs(log) == 1
    assert client.send("hello", "you").text == "hello you"
    assert client.wait(bystander).text == "rested"
    assert _pid(client) != before
    assert took < 30, "a loaded machine is slow, a lease that runs out is slower"


def test_a_call_that_spins_is_ended_by_a_cancel(client: AgentClient, tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = client.start("spins-for-ever", {"path": str(log)})
    poll(lambda: _runs(log), what="it to begin")
    pid = int(log.read_text().split()[1])
    client.cancel(task)
    poll(lambda: not Path(f"/proc/{pid}").exists(), what="its process to end")
    assert client.send("hello", "you").text == "hello you"
    assert (_runs(log), client.get(task).state) == (1, TaskState.CANCELED)


def test_a_call_that_spins_keeps_its_lease_and_others_are_served(
    client: AgentClient, tmp_path: Path
) -> None:
    """Those that it would keep from their turn go on in another process."""
    log, rests = tmp_path / "log", tmp_path / "rests"
    bystander = client.start("naps-and-tells", {"path": str(rests), "seconds": 1})
    poll(lambda: _runs(rests), what="the bystander to begin")
    task = client.start("spins-for-ever", {"path": str(log)})
    poll(lambda: _runs(log), what="it to begin")
    pid = int(log.read_text().split()[1])
    assert client.wait(bystander).text == "rested"
    others = [client.send("where", "?").data["pid"] for _ in range(5)]
    assert pid not in others
    ends = time.monotonic() + 2.5 * float(SETTINGS["lease"])
    poll(lambda: time.monotonic() > ends, what="leases to run out that are not renewed")
    assert (_runs(log), client.get(task).state) == (1, TaskState.WORKING)
    client.cancel(task)
    poll(lambda: not Path(f"/proc/{pid}").exists(), what="its process to end")


def test_a_process_that_is_stopped_loses_what_it_does(client: AgentClient, tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = client.start("naps-and-tells", {"path": str(log), "seconds": 1})
    poll(lambda: _runs(log), what="it to begin")
    pid = int(log.read_text().split()[1])
    os.kill(pid, signal.SIGSTOP)
    assert client.wait(task).text == "rested"
    assert _runs(log) == 2
    poll(lambda: not Path(f"/proc/{pid}").exists(), what="the stopped process to be replaced")


def test_a_stream_whose_process_is_killed_is_one_trys_output(
    client: AgentClient, tmp_path: Path
) -> None:
    given = {"path": str(tmp_path / "log"), "pieces": 5, "dies_after": 2}
    task = client.start("dies-once", given)
    done = client.wait(task)
    assert done.text == "2.0;2.1;2.2;2.3;2.4;"
    pieces = [(each.text, each.append) for each in client.follow(task) if each.artifact]
    assert pieces[-5:] == [(f"2.{number};", number > 0) for number in range(5)]


def test_nothing_outlives_its_worker(make_engine: MakeEngine, tmp_path: Path) -> None:
    """Killed, it leaves no process behind, not even one that spins; nor does a plain end."""
    for number, end in ((signal.SIGKILL, "killed"), (signal.SIGTERM, "told to end")):
        log = tmp_path / f"log-{end}"
        with make_engine(tmp_path / end, **SETTINGS) as engine:
            workers = engine.workers(pool="threads")
            client = AgentClient(engine.session)
            client.start("spins-for-ever", {"path": str(log)})
            poll(partial(_runs, log), what="it to begin")
            pid = int(log.read_text().split()[1])
            os.kill(workers.pids[0], number)
            poll(partial(_is_gone, pid), what=f"it to end: {end}")


def test_a_worker_that_is_told_to_end_hands_back_what_its_agents_do(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    """The next one goes on at once, though no lease has run out."""
    settings = {**SETTINGS, "lease": "60.0"}
    with make_engine(tmp_path, **settings) as engine:
        first = engine.workers(pool="threads")
        client = AgentClient(engine.session)
        log = tmp_path / "naps"
        rests = client.start("naps-and-tells", {"path": str(log), "seconds": 3})
        poll(lambda: _runs(log), what="it to begin")
        first.stop(grace=30.0)
        assert _is_gone(int(log.read_text().split()[1]))
        engine.workers(pool="threads")
        assert client.wait(rests, timeout=50.0).text == "rested"


def test_the_process_that_keeps_those_of_agents_is_started_again(
    client: AgentClient, hosted: Engine
) -> None:
    before = _pid(client)
    keeper = int(Path(f"/proc/{before}/stat").read_text().rpartition(")")[2].split()[1])
    assert keeper not in hosted.started[0].pids
    os.kill(keeper, signal.SIGKILL)
    poll(partial(_is_gone, before), what="its processes to end with it")
    assert client.send("hello", "you", timeout=60).text == "hello you"


def test_an_agent_that_ends_its_process_becomes_a_dead_letter_and_others_answer(
    client: AgentClient,
) -> None:
    task = client.start("leaves", "now")
    found = _ended(client, task)
    assert found.state is TaskState.FAILED
    assert "its workers died again and again" in found.reason
    assert task in {one.id for one in client.dead_letters()}
    assert client.send("hello", "you", timeout=60).text == "hello you"
