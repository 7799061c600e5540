"""Cases about time and trouble: parallel nodes, failures, control of runs, lost processes."""

import asyncio
from pathlib import Path

from flowcore.ports.capability import Capability
from flowcore.testing.conformance.case import NODES, Case, Mismatch, Subject, expect, uses

__all__ = ["BEHAVIOUR"]

_QUICK = {"max_attempts": 3, "delay": "10ms", "jitter": False}


async def _fan_out(it: Subject) -> None:
    nodes = {f"n{at:02}": uses("add", by=at) for at in range(60)}
    nodes["join"] = uses("seen", *nodes)
    result = await it.run(nodes)
    expect(result.output, {f"n{at:02}": at for at in range(60)}, "what the join sees")
    expect(list(result.output), sorted(result.output), "its order")


async def _overlap(it: Subject) -> None:
    nodes = {name: uses("stamp", seconds=0.5) for name in ("a", "b")}
    spans = (await it.run(nodes)).outputs
    if max(span[0] for span in spans.values()) >= min(span[1] for span in spans.values()):
        raise Mismatch("two nodes that may run at the same time ran one after the other")


async def _many_runs(it: Subject) -> None:
    nodes = {"a": uses("inputs"), "b": uses("seen", "a")}
    results = await asyncio.gather(*(it.run(nodes, {"run": at}) for at in range(20)))
    expect([one.output for one in results], [{"run": at} for at in range(20)], "outputs")


async def _retry(it: Subject) -> None:
    result = await it.run({"a": uses("fail_until", attempt=3, retry=_QUICK), "b": uses("add", "a")})
    expect(result.output, 4, "output behind a node that succeeded in its third attempt")
    expect(result.nodes["a"].attempts, 3, "attempts")


async def _exhausted(it: Subject) -> None:
    retry = {**_QUICK, "max_attempts": 2}
    result = await it.run({"a": uses("fail_until", attempt=9, retry=retry)})
    expect(result.success, False, "success")
    error = result.nodes["a"].error
    found = (error.type, error.message, result.nodes["a"].attempts) if error else None
    expect(found, ("ConnectionError", "attempt 2 fails", 2), "error of the node")
    expect("'a'" in str(result.error), True, "whether the run's error names the node")


async def _timeout(it: Subject) -> None:
    result = await it.run({"a": uses("nap", seconds=4, timeout="200ms")})
    error = result.nodes["a"].error
    expect(error.type if error else None, "NodeTimeoutError", "error of a node that takes too long")


async def _fallback(it: Subject) -> None:
    bad = uses("fail", fallback={"value": {"text": "instead"}})
    result = await it.run({"bad": bad, "after": uses("seen", "bad")})
    expect(result.success, True, "success of a run whose failed node has a fallback")
    expect(result.output, {"text": "instead"}, "output behind it")
    expect(result.nodes["bad"].state.value, "succeeded", "state of the node")


async def _late(it: Subject) -> None:
    slow = uses("nap", seconds=4, timeout="200ms", fallback={"value": 7})
    result = await it.run({"slow": slow, "after": uses("add", "slow")})
    expect(result.output, 8, "output behind a fallback that stands in for a timeout")


async def _chain(it: Subject) -> None:
    chain = [{"uses": f"{NODES}:fail"}, {"uses": f"{NODES}:told"}, {"value": "not reached"}]
    result = await it.run({"bad": uses("fail", fallback=chain)})
    expect(result.output, {"type": "ValueError", "message": "as it must"}, "output")


async def _circuit(it: Subject) -> None:
    rule = {"failures": 2, "reset_after": "1h", "name": it.token}
    for _ in range(2):
        await it.run({"bad": uses("fail", circuit_breaker=rule)})
    error = (await it.run({"fine": uses("add", circuit_breaker=rule)})).nodes["fine"].error
    expect(error.type if error else None, "CircuitOpenError", "error behind an open circuit")


async def _cached(it: Subject) -> None:
    node = uses("stamp", cache={"ttl": "1h", "name": it.token})
    first, second = [(await it.run({"a": node})).output for _ in range(2)]
    expect(len(first or ()), 2, "length of the first run's output")
    expect(second, first, "output of a second run within the cache's time")


async def _siblings(it: Subject) -> None:
    held = str(it.folder / f"{it.token}-sibling")
    nodes = {
        "bad": uses("fail"),
        "beside": uses("hold", path=held),
        "after": uses("add", "beside"),
    }
    result = await asyncio.wait_for(it.run(nodes), 30)
    states = {name: record.state.value for name, record in result.nodes.items()}
    expect(result.success, False, "success")
    expect((states["bad"], states["after"]), ("failed", "cancelled"), "states")
    expect(states["beside"] in {"cancelled", "succeeded"}, True, "whether the sibling has ended")


async def _tolerated(it: Subject) -> None:
    nodes = {"bad": uses("fail"), "clean": uses("add", "bad", join="all_done")}
    result = await it.run(nodes)
    expect(result.success, True, "success of a run whose failure is tolerated")
    expect(result.nodes["clean"].state.value, "succeeded", "state of what tolerates it")


async def _appears(path: Path) -> None:
    for _ in range(1500):
        if path.exists():
            return
        await asyncio.sleep(0.02)
    raise Mismatch("a node did not begin, or did not end, within 30 s")


async def _cancel(it: Subject) -> None:
    held = it.folder / f"{it.token}-cancel"
    run = await it.start({"a": uses("hold", path=str(held)), "b": uses("add", "a")})
    await _appears(held)
    await run.acancel("by the suite")
    result = await asyncio.wait_for(run.await_end(), 30)
    expect(result.state.value, "cancelled", "state of the run")
    expect(result.nodes["b"].state.value, "cancelled", "state of what had not begun")
    await _appears(Path(f"{held}.stopped"))


async def _pause(it: Subject) -> None:
    held = it.folder / f"{it.token}-pause"
    run = await it.start({"a": uses("hold", path=str(held)), "b": uses("seen", "a")})
    await _appears(held)
    await run.apause()
    Path(f"{held}.go").touch()
    events = run.stream(types=["node.succeeded"])
    await asyncio.wait_for(anext(events), 30)
    await events.aclose()
    expect(run.status().value, "paused", "state of the run")
    await run.aresume()
    result = await asyncio.wait_for(run.await_end(), 30)
    expect(result.output, "went on", "output after pause and resume")
    expect(result.nodes["a"].attempts, 1, "attempts of what had run before")


async def _approval(it: Subject) -> None:
    nodes = {"ask": {"uses": "approval"}, "after": uses("seen", "ask")}
    run = await it.start(nodes)
    await run.asignal("ask", approved=True, by="the suite")
    result = await asyncio.wait_for(run.await_end(), 30)
    expect(result.output, {"approved": True, "by": "the suite"}, "output behind an approval")
    run = await it.start(nodes)
    await run.asignal("ask", approved=False)
    error = (await asyncio.wait_for(run.await_end(), 30)).nodes["ask"].error
    expect(error.type if error else None, "ApprovalRejectedError", "error of a rejected node")


async def _killed(it: Subject) -> None:
    mark = str(it.folder / f"{it.token}-killed")
    nodes = {"a": uses("add"), "b": uses("kill_once", "a", path=mark), "c": uses("seen", "b")}
    result = await asyncio.wait_for(it.run(nodes), 60)
    expect(result.success, True, "success of a run whose worker was killed")
    expect(result.nodes["b"].attempts, 2, "attempts of the node that was lost")
    expect(result.nodes["a"].attempts, 1, "attempts of what was done before")


BEHAVIOUR = [
    Case(name=name, capability=capability, check=check)
    for name, capability, check in (
        ("60-fan-out", Capability.PARALLEL, _fan_out),
        ("nodes overlap", Capability.PARALLEL, _overlap),
        ("20 concurrent runs", Capability.PARALLEL, _many_runs),
        ("retry then success, attempts counted", Capability.RESILIENCE, _retry),
        ("retry exhausted: error node and type", Capability.RESILIENCE, _exhausted),
        ("timeout", Capability.RESILIENCE, _timeout),
        ("fallback continues downstream", Capability.RESILIENCE, _fallback),
        ("timeout with a fallback", Capability.RESILIENCE, _late),
        ("a chain of fallbacks", Capability.RESILIENCE, _chain),
        ("an open circuit refuses", Capability.RESILIENCE, _circuit),
        ("an output is cached for other runs", Capability.RESILIENCE, _cached),
        ("failing branch cancels siblings", Capability.RESILIENCE, _siblings),
        ("failure tolerated by all_done", Capability.RESILIENCE, _tolerated),
        ("a cancelled run stops its nodes", Capability.CONTROL, _cancel),
        ("pause and resume", Capability.CONTROL, _pause),
        ("human approval", Capability.CONTROL, _approval),
        ("worker killed in mid-node", Capability.DURABILITY, _killed),
    )
]
