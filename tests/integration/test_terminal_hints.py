"""Every hint is a command that runs, and moves the run on."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import pytest

from flowcore import Run
from flowcore.cli.main import main
from flowcore.run.event import Event, EventType
from flowcore.run.status import NodeState
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine

_HINT = re.compile(r"^(?:next|  or): flowcore (.+?)(?:  \(.*)?$", re.MULTILINE)
FAIL = {"uses": "engine_nodes:fail"}
ASK = {"uses": "approval", "with": {"message": "may I?"}}
GO = {"uses": "signal", "with": {"name": "go"}}


@pytest.fixture(scope="module")
def hinting(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = tmp_path_factory.mktemp("hints")
    with make_engine(home, heartbeat="0.25", lease="1.0", max_lost="1") as engine:
        engine.workers()
        yield engine


def _ended(engine: Engine, id: str, nodes: Mapping[str, object], **more: object) -> Run:
    run = engine.start(nodes, run_id=id, **more)
    assert not run.wait(60).success
    return run


def _waiting(engine: Engine, id: str, nodes: Mapping[str, object], path: str) -> Run:
    """A run one of whose nodes, ``path`` leads to it, waits for an answer."""
    run = engine.start(nodes, run_id=id)
    way, _, node = path.rpartition("/")

    def is_waiting() -> bool:
        reader = engine.session.runtime.reader
        record = reader.record("/".join(filter(None, (id, way))))
        return record is not None and record.nodes[node].state is NodeState.WAITING

    poll(is_waiting, what="somebody to be asked")
    return run


def _cancelled(engine: Engine, id: str) -> Run:
    run = _waiting(engine, id, {"ask": ASK}, "ask")
    run.cancel()
    run.wait(60)
    return run


def _paused(engine: Engine, id: str) -> Run:
    run = _waiting(engine, id, {"ask": ASK}, "ask")
    run.pause()
    return run


def _succeeded(engine: Engine, id: str) -> Run:
    run = engine.start({"a": {"uses": "start"}}, run_id=id)
    assert run.wait(60).success
    return run


DEADLINE = {"execution": {"timeout_seconds": 0.3}}
MAP = {"m": {**FAIL, "for_each": [1, 2], "with": {"message": "no luck"}}}
BRANCHES = {"p": {"uses": "parallel", "branches": {"x": FAIL, "y": {"uses": "passthrough"}}}}

Make: TypeAlias = Callable[[Engine, str], Run]
SITUATIONS: dict[str, tuple[Make, set[str]]] = {
    "failed": (
        lambda e, id: _ended(e, id, {"bad": FAIL}),
        {"inspect", "logs", "resume", "rerun"},
    ),
    "an item failed": (
        lambda e, id: _ended(e, id, MAP),
        {"inspect", "logs", "resume", "rerun"},
    ),
    "a branch failed": (
        lambda e, id: _ended(e, id, BRANCHES),
        {"inspect", "logs", "resume", "rerun"},
    ),
    "a worker died": (
        lambda e, id: _ended(e, id, {"bad": {"uses": "engine_nodes:die"}}),
        {"inspect", "logs", "requeue", "rerun"},
    ),
    "past its deadline": (
        lambda e, id: _ended(e, id, {"ask": ASK}, config=DEADLINE),
        {"inspect", "resume", "rerun"},
    ),
    "cancelled": (_cancelled, {"resume", "rerun"}),
    "paused": (_paused, {"resume"}),
    "asking": (lambda e, id: _waiting(e, id, {"ask": ASK}, "ask"), {"approve", "watch"}),
    "waiting for a signal": (lambda e, id: _waiting(e, id, {"s": GO}, "s"), {"signal", "watch"}),
    "an item asks": (
        lambda e, id: _waiting(e, id, {"m": {**ASK, "for_each": [1]}}, "m/m[0]"),
        {"approve", "watch"},
    ),
    "succeeded": (_succeeded, {"inspect"}),
}


def _hints(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    capsys.readouterr()
    main(words)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return [shlex.split(found) for found in _HINT.findall(shown.err)]


def _moved(run: Run, verb: str, said: str) -> bool:
    """Whether a hint's command has done what it is for."""
    if verb in {"resume", "requeue"}:
        return any(event.type is EventType.RUN_RESUMED for event in _events(run))
    if verb == "rerun":
        new = said.split(maxsplit=1)[0]
        return new != run.id and Run.get(new, session=run._session).summary().origin is not None
    if verb in {"approve", "signal"}:
        return bool(run.wait(60).success)
    return True


def _events(run: Run) -> list[Event]:
    return list(run._session.runtime.events.read_all(run.id))


@pytest.mark.parametrize("situation", list(SITUATIONS))
def test_every_hint_runs_and_moves_the_run_on(
    hinting: Engine,
    situation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", hinting.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(hinting.home))
    monkeypatch.chdir(tmp_path)
    make, expected = SITUATIONS[situation]
    slug = situation.replace(" ", "-")
    first = make(hinting, slug)
    view = ["watch", slug] if first.status().is_terminal else ["status", slug]
    hints = _hints(capsys, *view)
    if view[0] == "watch" and first.status().value == "succeeded":
        hints = _hints(capsys, "status", slug)
    assert {words[0] for words in hints} == expected, hints
    for number, words in enumerate(hints):
        id = f"{slug}-{number}"
        run = make(hinting, id)
        again = [word.replace(slug, id) for word in words]
        if words[0] == "watch":
            again += ["--timeout", "100ms"]
        capsys.readouterr()
        code = main(again)
        shown = capsys.readouterr()
        assert code == (124 if words[0] == "watch" else 0), (again, shown.err)
        assert shown.out or shown.err, again
        if words[0] == "inspect" and "failed" in situation:
            assert "Traceback" in shown.out, "what failed is what is shown"
        assert _moved(run, words[0], shown.out), again


def test_an_empty_list_does_not_say_that_there_are_no_runs(
    hinting: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", hinting.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(hinting.home))
    assert main(["list", "--flow", "nobody"]) == 0
    assert capsys.readouterr().err == "no such runs; all there are: flowcore list\n"
    _succeeded(hinting, "listed")
    (hint,) = _hints(capsys, "list", "--state", "succeeded", "--limit", "1")
    assert main(hint) == 0
