"""Memory on real workers: across nodes, attempts, runs; and in a shell."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest

from flowcore import Memory
from flowcore.cli.main import main
from flowcore.client.memory import export_threads, import_threads
from flowcore.run.event import EventType
from tests.engine import Engine
from tests.integration.modules.engine_nodes import embed

pytestmark = pytest.mark.integration

CHAT = {
    "ask": {"uses": "memory", "with": {"op": "append", "content": "${{ inputs.text }}"}},
    "answer": {
        "uses": "memory",
        "needs": ["ask"],
        "with": {"op": "append", "role": "assistant", "content": "re: ${{ inputs.text }}"},
    },
    "all": {"uses": "memory", "needs": ["answer"]},
}


def _chat(engine: Engine, text: str, of: str | None, **memory: Any) -> list[Any]:
    given = {"text": text} | ({"thread": of} if of else {})
    run = engine.start(CHAT, given, config={"memory": {"type": "conversation", **memory}})
    result = run.wait(timeout=60)
    assert result.success, result.error
    return [message["content"] for message in result.output]


def test_runs_of_a_thread_share_a_conversation_and_others_do_not(engine: Engine) -> None:
    assert _chat(engine, "a", "t1") == ["a", "re: a"]
    assert _chat(engine, "b", "t1") == ["a", "re: a", "b", "re: b"]
    assert _chat(engine, "c", "t2") == ["c", "re: c"]
    assert _chat(engine, "d", None) == ["d", "re: d"], "a run without a thread has its own"
    assert _chat(engine, "e", "t1", max_messages=3) == ["re: b", "e", "re: e"]
    assert _chat(engine, "f", "t1", name="apart") == ["f", "re: f"]
    assert _chat(engine, "g", "x", thread="user-${{ inputs.thread }}") == ["g", "re: g"]
    names = [row.name for row in Memory.threads("test/", session=engine.session)]
    assert "test/user-x" in names, names


def test_an_attempt_that_is_made_again_adds_nothing_twice(engine: Engine) -> None:
    retry = {"max_attempts": 2, "delay": "10ms"}
    given = {"text": "hello"}
    node = {"uses": "engine_nodes:remember", "with": given, "retry": retry}
    run = engine.start({"a": node}, {"thread": "retried"})
    assert run.wait(timeout=60).output == ["hello"]
    memory = Memory("test", "retried", session=engine.session)
    assert memory.facts() == {"last": "hello"}
    assert len(memory.messages()) == 1


def test_a_program_uses_the_memory_that_nodes_use(engine: Engine) -> None:
    memory = Memory("test", "shared", session=engine.session)
    memory.add("system", "be brief")

    async def talk() -> list[dict[str, Any]]:
        await memory.aadd("user", "hi", name="alice")
        await memory.aset("tier", "gold")
        return await memory.amessages()

    said = asyncio.run(talk())
    assert [message["role"] for message in said] == ["system", "user"]
    assert _chat(engine, "x", "shared") == ["be brief", "hi", "x", "re: x"]
    assert memory.thread("other").messages() == []
    assert "test/shared" in [row.name for row in Memory.threads("test/", session=engine.session)]


def test_threads_are_shown_moved_and_cleared_in_a_shell(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    memory = Memory("shell", "one", session=engine.session)
    memory.extend([{"role": "user", "content": "a"}, {"role": "assistant", "content": ["b", 1]}])
    memory.set("tier", "gold")

    def run(*words: str, code: int = 0) -> str:
        assert main(["memory", *words]) == code
        return capsys.readouterr().out

    (row,) = json.loads(run("list", "shell/", "-o", "json"))
    assert (row["thread"], row["messages"], row["facts"]) == ("shell/one", 2, 1)
    assert run("show", "shell/one").splitlines() == [
        "1  user: a",
        '2  assistant: ["b", 1]',
        'tier = "gold"',
    ]
    assert json.loads(run("show", "shell/one", "--last", "1", "-o", "jsonl"))["id"] == 2
    file = tmp_path / "shell.jsonl"
    run("export", "shell/", "-O", str(file))
    run("clear", "shell/one")
    assert json.loads(run("list", "shell/", "-o", "json")) == []
    run("import", str(file))
    run("import", str(file), "--replace")
    assert [one["content"] for one in memory.messages()] == ["a", ["b", 1]]
    assert memory.facts() == {"tier": "gold"}
    monkeypatch.setattr("sys.stdin", io.StringIO("no json\n"))
    run("import", "-", code=2)
    file.write_text("[1]\n")
    run("import", str(file), code=2)
    run("import", str(tmp_path / "gone"), code=3)
    run("show", "shell/nobody", code=3)
    run("clear", "shell", code=2)


def test_a_run_recalls_what_another_has_said_and_a_shell_does_too(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"memory": {"type": "vector", "embed": "engine_nodes:embed", "max_messages": 50}}
    tell = {"uses": "memory", "with": {"op": "append", "content": "${{ inputs.text }}"}}
    for text in ("the cat sleeps", "a ship at sea", "dogs bark"):
        given = {"thread": "meaning", "text": text}
        assert engine.start({"tell": tell}, given, config=config).wait(60).success
    ask = {"uses": "memory", "with": {"op": "recall", "query": "where is my cat", "k": 1}}
    (found,) = engine.start({"ask": ask}, {"thread": "meaning"}, config=config).wait(60).output
    assert found["content"] == "the cat sleeps"
    memory = Memory("test", "meaning", embed=embed, session=engine.session)
    assert asyncio.run(memory.arecall("ship", 1))[0]["content"] == "a ship at sea"
    assert [message["content"] for message in memory.recall(embed("dog"), 1)] == ["dogs bark"]

    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    by = ("--embed", f"{embed.__module__}:embed")
    assert main(["memory", "recall", "test/meaning", "cat", *by, "--k", "1"]) == 0
    assert capsys.readouterr().out == "1.000  1  user: the cat sleeps\n"
    assert main(["memory", "recall", "test/meaning", "cat", *by, "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["memory", "recall", "test/nobody", "cat", *by]) == 3
    assert main(["memory", "recall", "test/meaning", "cat", "--embed", "nowhere:at_all"]) == 2
    capsys.readouterr()

    lines = list(export_threads("test/meaning", session=engine.session))
    memory.clear()
    assert import_threads(iter(lines), session=engine.session) == 1
    assert memory.recall("cat", 1)[0]["content"] == "the cat sleeps", "vectors travel, too"


def test_a_conversation_goes_on_while_its_summariser_is_down(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "memory": {"type": "summary", "summarise_after": 2, "summariser": "engine_nodes:down"}
    }
    say = {"uses": "memory", "with": {"op": "append", "content": "${{ inputs.text }}"}}
    told = []
    for number in range(5):
        run = engine.start({"a": say}, {"thread": "late", "text": f"{number}"}, config=config)
        assert run.wait(60).output == number + 1
        told += [e.data["message"] for e in run.events() if e.type is EventType.NODE_LOG]
    memory = Memory("test", "late", session=engine.session)
    assert [message["content"] for message in memory.messages()] == ["0", "1", "2", "3", "4"]
    first, second = told
    assert "not summarised yet, and nothing of it is lost (try 1): RuntimeError: the m" in first
    assert "(try 2)" in second

    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    assert main(["memory", "list", "test/late", "-o", "json"]) == 0
    err = capsys.readouterr().err
    assert "thread 'test/late' (5 messages)" in err
    assert "3 tries: RuntimeError: the model is down" in err
    assert memory.clear()
    assert main(["memory", "list", "test/late", "-o", "json"]) == 0
    assert "summary" not in capsys.readouterr().err
