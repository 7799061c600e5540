"""Behaviours of policies, of errors, and of what nodes say while they run."""

from collections.abc import Iterator
from typing import Any

from tests.behaviours.core import B, Behaviour, uses

__all__ = ["policies"]

ONE = uses("one")
AGAIN = {"max_attempts": 3, "delay": 0}


def policies() -> Iterator[Behaviour]:
    """All of them."""
    yield from _errors()
    yield from _retries()
    yield from _timeouts()
    yield from _fallbacks()
    yield from _shared()
    yield from _saying()
    yield from _memory()


def _errors() -> Iterator[Behaviour]:
    for kind in (
        *("exit", "interrupt", "odd", "noted", "group", "half", "long", "cause"),
        *("KeyError", "StopIteration", "TimeoutError", "MemoryError", "RecursionError"),
        *("AssertionError", "OSError", "GeneratorExit"),
    ):
        yield B(f"error: {kind}", {"a": uses("fail_with", kind=kind)}, state="failed",
                attempts={"a": 1})  # fmt: skip
    yield B("an error of a coroutine", {"a": uses("fail_later")}, state="failed",
            error="node 'a': LookupError: later")  # fmt: skip
    for name, function in {
        "no such function": "nosuch", "no such module": "behaviour_nosuch:f",
        "what may not be named": "os:system",
    }.items():  # fmt: skip
        yield B(name, {"a": uses(function)}, state="failed", attempts={"a": 1})
    yield B("an error in the middle of a chain", {
        "a": ONE, "b": uses("fail", message="mid", needs=["a"]), "c": {**ONE, "needs": ["b"]},
    }, state="failed", error="node 'b': ValueError: mid")  # fmt: skip


def _retries() -> Iterator[Behaviour]:
    for attempt, state in ((1, "succeeded"), (2, "succeeded"), (3, "succeeded"), (4, "failed")):
        yield B(f"success at attempt {attempt}",
                {"a": uses("fail_until", attempt=attempt, retry=AGAIN)},
                state=state, attempts={"a": min(attempt, 3)})  # fmt: skip
    for names, attempts in {"ConnectionError": 3, "OSError": 3, "KeyError": 1}.items():
        yield B(f"retry_on {names}",
                {"a": uses("fail_until", attempt=9, retry={**AGAIN, "retry_on": [names]})},
                state="failed", attempts={"a": attempts})  # fmt: skip
    yield B("a delay that grows", {"a": uses("fail_until", attempt=3, retry={
        "max_attempts": 3, "delay": 0.01, "backoff": "exponential", "jitter": False})},
        attempts={"a": 3})  # fmt: skip
    yield B("a decorator's retries", {"a": uses("tried", attempt=3)}, output=3, attempts={"a": 3})
    yield B("a definition's retries win", {"a": uses("tried", attempt=3, retry={"max_attempts": 2})},
            state="failed", attempts={"a": 2})  # fmt: skip
    yield B("a decorator's fallback", {"a": uses("spared")}, output="from the decorator")
    yield B("all nodes are tried again", {"a": uses("fail_until", attempt=2)},
            config={"execution": {"retry_failed_nodes": True}})  # fmt: skip


def _timeouts() -> Iterator[Behaviour]:
    for function in ("nap_later", "nap"):
        yield B(f"{function} takes too long", {"a": uses(function, seconds=20, timeout="100ms")},
                state="failed", attempts={"a": 1},
                error="node 'a': NodeTimeoutError: timed out after 100 ms")  # fmt: skip
    yield B("a timeout is tried again", {
        "a": uses("nap_later", seconds=9, timeout="50ms", retry={"max_attempts": 2, "delay": 0}),
    }, state="failed", attempts={"a": 2})  # fmt: skip
    yield B("a timeout and its fallback", {
        "a": uses("nap_later", seconds=9, timeout="50ms", fallback=[{"value": "late"}]),
    }, output="late")  # fmt: skip
    yield B("time enough", {"a": uses("nap_later", seconds=0.01, timeout="60s")}, output="slept")
    yield B("the deadline of a run", {"w": uses("wait", **{"for": "1h"})}, state="failed",
            error="RunTimeoutError", config={"execution": {"timeout_seconds": 1}})  # fmt: skip
    yield B(
        "a wait", {"w": uses("wait", **{"for": "100ms"}), "b": {**ONE, "needs": ["w"]}}, output=1
    )
    yield B(
        "a wait until the past", {"w": {"uses": "wait", "with": {"until": "2020-01-01T00:00:00Z"}}}
    )


def _fallbacks() -> Iterator[Behaviour]:
    yield B("a fallback's value", {"a": uses("fail", fallback=[{"value": {"x": 1}}])},
            output={"x": 1}, states={"a": "succeeded"})  # fmt: skip
    call = {"uses": "behaviour_nodes:guess"}
    yield B("a fallback's function", {"a": uses("fail", fallback=[call])},
            output="instead of ValueError")  # fmt: skip
    bad = {"uses": "behaviour_nodes:fail"}
    yield B("a fallback after another", {"a": uses("fail", fallback=[bad, call])},
            output="instead of ValueError")  # fmt: skip
    yield B("fallbacks that fail", {"a": uses("fail", fallback=[bad])}, state="failed",
            error="node 'a': ValueError: no luck (its fallbacks failed, too")  # fmt: skip
    yield B("a fallback after retries",
            {"a": uses("fail_until", attempt=9, retry=AGAIN, fallback=[{"value": 0}])},
            output=0, attempts={"a": 3})  # fmt: skip


def _shared() -> Iterator[Behaviour]:
    cache = {"ttl": "1h", "name": "behaviours"}
    yield B("a cache", {
        "a": uses("echo", value="kept", cache=cache),
        "b": uses("echo", value="kept", cache=cache, needs=["a"]),
    }, said={"b": [("cached", "{}")]}, outputs={"b": "kept"})  # fmt: skip
    key = {"ttl": "1h", "name": "keyed", "key": "${{ inputs.k }}"}
    yield B("a cache by a key", {
        "a": uses("echo", value=1, cache=key), "b": uses("echo", value=2, cache=key, needs=["a"]),
    }, input={"k": "x"}, outputs={"b": 1})  # fmt: skip
    yield B("a failure is not cached", {
        "a": uses("fail_until", attempt=2, retry=AGAIN, cache={"ttl": "1h", "name": "failing"}),
    }, output=2)  # fmt: skip
    circuit = {"failures": 1, "reset_after": "1h", "name": "behaviours"}
    yield B("a circuit that opens", {
        "a": uses("fail", circuit_breaker=circuit),
        "b": uses("one", circuit_breaker=circuit, needs=["a"], join="all_done"),
    }, state="failed", states={"b": "failed"},
        config={"execution": {"fail_fast": False}}, own_words=True)  # fmt: skip
    rate = {"limit": 1, "per": 0.1, "name": "behaviours"}
    yield B("a rate", {name: uses("one", rate_limit=rate) for name in "abc"}, loose=True)
    places = {"limit": 1, "name": "behaviours"}
    yield B("places", {name: uses("nap_later", seconds=0.01, concurrency=places) for name in "abc"},
            loose=True)  # fmt: skip


def _saying() -> Iterator[Behaviour]:
    def tokens(*texts: str) -> list[Any]:
        return [("token", repr({"text": text})) for text in texts]

    yield B("words", {"a": uses("words")}, output="a b c", said={"a": tokens("a ", "b ", "c")})
    yield B("words of an async generator", {"a": uses("words_later")}, output="de",
            said={"a": tokens("d", "e")})  # fmt: skip
    yield B("chunks of several kinds", {"a": uses("chunks")}, output=[{"n": 1}, "two"])
    yield B("no chunks", {"a": uses("no_chunks")}, output=None)
    yield B("chunks and an output", {"a": uses("chunks_and_more")}, output={"at last": 1},
            said={"a": tokens("x")})  # fmt: skip
    yield B("words, then an error", {"a": uses("words_then_fail")}, state="failed",
            said={"a": tokens("said")})  # fmt: skip
    yield B("words of two attempts", {"a": uses("words_twice", retry=AGAIN)},
            said={"a": tokens("try 1", "try 2")})  # fmt: skip
    yield B("words without streaming", {"a": uses("words")}, output="a b c",
            config={"streaming": {"enabled": False}})  # fmt: skip
    yield B("whatever a node says", {"a": uses("speak")}, output="spoke")
    yield B("a number that is none, emitted", {"a": uses("emit_nan")})


def _memory() -> Iterator[Behaviour]:
    yield B("a conversation", {
        "a": uses("remember", text="first"),
        "b": uses("remember", text="second", needs=["a"]),
    }, outputs={"b": ["first", "second"]})  # fmt: skip
    yield B("a conversation of two messages", {
        "a": uses("remember", text="1"), "b": uses("remember", text="2", needs=["a"]),
        "c": uses("remember", text="3", needs=["b"]),
    }, outputs={"c": ["2", "3"]},
        config={"memory": {"type": "conversation", "max_messages": 2}})  # fmt: skip
    yield B("a thread of another name", {"a": uses("remember", text="t")},
            input={"thread": "behaviours"}, output=["t"])  # fmt: skip
    yield B("a task of somebody else", {
        "a": {"uses": "celery:behaviours.add", "with": {"x": 1, "y": 2}, "queue": "flowcore"},
    }, output=3, loose=True)  # fmt: skip
