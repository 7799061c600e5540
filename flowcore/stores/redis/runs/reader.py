"""Reading runs from Redis.

In: run ids. Out: records. Not here: any write, events (event_log).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack

from flowcore.errors import FlowcoreError, ServiceError, VersionMismatchError
from flowcore.ports.listing import Listing, text_of
from flowcore.ports.store import RunQuery, RunStore
from flowcore.run.fold import fold_nodes
from flowcore.run.protocol import WIRE_BEFORE, mismatch
from flowcore.run.record import DeadLetter, Failure, Origin, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import script_source
from flowcore.stores.redis.keys import DEAD, RUNS, run_key
from flowcore.stores.redis.runs.codec import read_parent
from flowcore.stores.redis.runs.event_log import RedisEventLog

__all__ = ["RedisReader"]

_PAGE = 1000
_ROW = (
    "flow",
    "version",
    "state",
    "created",
    "started",
    "finished",
    "total",
    "left",
    "tags",
    "plan",
    "cause",
    "ns",
    "prio",
    "origin",
    "up",
    "stop",
    "resumes",
    "wire",
)
_WIRE_AT = _ROW.index("wire")


class RedisReader:
    """Implements ``RunReader``."""

    def __init__(self, client: Client, *, plans: RunStore, events: RedisEventLog) -> None:
        """Read through ``client``; plans give numbers their names."""
        self._client = client
        self._plans = plans
        self._events = events
        self._sizes = client.register_script(script_source("payloads/sizes"))

    def summary(self, run: str) -> RunSummary | None:
        """Return the run's row."""
        found = self._rows([run.encode()], strict=True)
        if why := found.unreadable.get(run):
            raise ServiceError(f"run {run!r} is stored, but damaged: {why}")
        return found[0] if found else None

    def record(self, run: str) -> RunRecord | None:
        """Return the run with its nodes: states from the record, times from the event log."""
        row = self.summary(run)
        if row is None:
            return None
        with _damage_named(run):
            plan = self._plans.get_plan(row.plan)
            with translated():
                letters = (self._client.get(run_key(run, "st")) or b"").decode()
                errors = self._client.hgetall(run_key(run, "err"))
            states = {plan.ids[i]: NodeState.from_letter(each) for i, each in enumerate(letters)}
            failures = {
                plan.ids[int(node)]: _failure(blob)
                for node, blob in errors.items()
                if node.isdigit()
            }
            nodes = fold_nodes(self._events.read_all(run), states=states, failures=failures)
        kept = {name: getattr(row, name) for name in RunSummary.__dataclass_fields__}
        return RunRecord(**kept, nodes=nodes)

    def list_runs(self, query: RunQuery) -> Listing[RunSummary]:
        """Return matching runs, newest first, reading the index page by page."""
        if query.part_of is not None:
            rows = self._rows([run.encode() for run in self.children(query.part_of)])
            rows.sort(key=lambda row: (row.created, row.id), reverse=True)
            matching = [row for row in rows if _matches(row, query)]
            children = Listing(matching[: query.limit], unreadable=rows.unreadable)
            children.left_out = rows.left_out
            return children
        found: Listing[RunSummary] = Listing()
        start = 0
        while len(found) < query.limit:
            with translated():
                page = self._client.zrevrange(RUNS, start, start + _PAGE - 1)
            if not page:
                break
            rows = self._rows(page)
            found += [row for row in rows if _matches(row, query)]
            found.unreadable |= rows.unreadable
            found.left_out += rows.left_out
            start += _PAGE
        del found[query.limit :]
        return found

    def dead_letters(self, *, limit: int = 50) -> Listing[DeadLetter]:
        """Return nodes that were given up, from the index of them, latest first."""
        letters: Listing[DeadLetter] = Listing()
        with translated():
            page = self._client.zrevrange(DEAD, 0, limit - 1, withscores=True)
            pipe = self._client.pipeline(transaction=False)
            for name, _ in page:
                run, _, node = name.rpartition(b"|")
                pipe.hget(_row_key(run, b"err"), node).hmget(_row_key(run), "flow", "plan")
            answers = pipe.execute(raise_on_error=False)
            for (name, at), blob, about in zip(page, answers[::2], answers[1::2], strict=True):
                with letters.reading(name):
                    run, _, node = name.rpartition(b"|")
                    flow, plan = _answered(about)
                    if _answered(blob) is None or plan is None:
                        continue  # its run has just been removed
                    letters.append(
                        DeadLetter(
                            run=run.decode(),
                            flow=flow.decode(),
                            node=self._plans.get_plan(plan.decode()).ids[int(node)],
                            time=at / 1000,
                            failure=_failure(blob),
                        )
                    )
        return letters

    def children(self, run: str) -> Mapping[str, int]:
        """Return the runs that nodes of a run have started."""
        with translated():
            kids = self._client.hgetall(run_key(run, "kids"))
        return {child.decode(): int(node[1:]) for child, node in kids.items()}

    def states(self, run: str, nodes: Sequence[int]) -> Mapping[int, NodeState]:
        """Return where these nodes stand."""
        with translated():
            letters = (self._client.get(run_key(run, "st")) or b"").decode()
        return {node: NodeState.from_letter(letters[node]) for node in nodes if node < len(letters)}

    def input(self, run: str) -> bytes:
        """Return the msgpack of the run's input."""
        with translated():
            blob: bytes | None = self._client.get(run_key(run, "in"))
        if blob is None:
            raise KeyError(run)
        return blob

    def outputs(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, bytes]:
        """Return msgpack of the outputs that exist."""
        key = run_key(run, "out")
        with translated():
            if nodes is None:
                return {int(node): blob for node, blob in self._client.hgetall(key).items()}
            if not nodes:
                return {}
            blobs = self._client.hmget(key, list(nodes))
        return {node: blob for node, blob in zip(nodes, blobs, strict=True) if blob is not None}

    def sizes(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, int]:
        """Return the bytes of the outputs that exist."""
        if nodes is not None and not nodes:
            return {}
        with translated():
            flat = self._sizes(args=(run, *(nodes or ())))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def _rows(self, runs: Sequence[bytes], *, strict: bool = False) -> Listing[RunSummary]:
        """Read rows; those of another wire number are left out, or refused when ``strict``."""
        read: Listing[RunSummary] = Listing()
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for run in runs:
                pipe.hmget(_row_key(run), *_ROW)
            found: dict[bytes, dict[str, bytes]] = {}
            for run, row in zip(runs, pipe.execute(raise_on_error=False), strict=True):
                with read.reading(run):
                    if all(part is None for part in _answered(row)):
                        continue
                    if _is_readable(run, row[_WIRE_AT], strict=strict):
                        found[run] = dict(zip(_ROW, row, strict=True))
                    else:
                        read.left_out += 1
            causes = [(run, row["cause"]) for run, row in found.items() if row["cause"]]
            pipe = self._client.pipeline(transaction=False)
            for run, cause in causes:
                pipe.hget(_row_key(run, b"err"), cause)
            blobs = dict(
                zip((run for run, _ in causes), pipe.execute(raise_on_error=False), strict=True)
            )
            for run, row in found.items():
                with read.reading(run):
                    blob = _answered(blobs.get(run))
                    error = None if blob is None else _failure(blob)
                    if error is not None:
                        error = self._name_node(error, row, row["cause"])
                    read.append(_summary(run.decode(), row, error))
        return read

    def _name_node(self, failure: Failure, row: Mapping[str, Any], cause: bytes) -> Failure:
        if failure.node is not None or not cause.isdigit():
            return failure
        plan = self._plans.get_plan(row["plan"].decode())
        return Failure(**{**failure.as_dict(), "node": plan.ids[int(cause)]})


@contextmanager
def _damage_named(run: str) -> Iterator[None]:
    """Turn what the parts of a damaged run raise into an error that says so."""
    try:
        yield
    except FlowcoreError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ServiceError(f"run {run!r} is stored, but damaged: {why}") from error


def _row_key(run: bytes, part: bytes = b"run") -> bytes:
    """Name a part of a run whose id may be no text."""
    return b"fc:{%b}:%b" % (run, part)


def _answered(answer: Any) -> Any:
    """Return one answer of several, or raise it."""
    if isinstance(answer, Exception):
        with translated():
            raise answer
    return answer


def _is_readable(run: bytes, wire: bytes | None, *, strict: bool) -> bool:
    sentence = mismatch(f"who stored run {text_of(run)!r}", int(wire or WIRE_BEFORE))
    if sentence is not None and strict:
        raise VersionMismatchError(sentence)
    return sentence is None


def _failure(blob: bytes) -> Failure:
    return Failure(**msgpack.unpackb(blob))


def _summary(run: str, row: Mapping[str, bytes], error: Failure | None) -> RunSummary:
    total = int(row["total"])
    return RunSummary(
        id=run,
        flow=row["flow"].decode(),
        version=row["version"].decode(),
        state=RunState(row["state"].decode()),
        created=int(row["created"]) / 1000,
        started=int(row["started"]) / 1000 if row["started"] else None,
        finished=int(row["finished"]) / 1000 if row["finished"] else None,
        total=total,
        settled=total - int(row["left"]),
        tags=tuple(msgpack.unpackb(row["tags"])),
        plan=row["plan"].decode(),
        error=error,
        namespace=(row["ns"] or b"").decode(),
        priority=int(row["prio"]),
        origin=_origin(row["origin"]),
        parent=read_parent(row["up"]),
        stop=row["stop"].decode() if row["stop"] else None,
        resumes=int(row["resumes"] or 0),
    )


def _origin(packed: bytes | None) -> Origin | None:
    if packed is None:
        return None
    run, *node = msgpack.unpackb(packed)
    return Origin(run=run, node=node[0] if node else None)


def _matches(row: RunSummary, query: RunQuery) -> bool:
    return (
        (not query.states or row.state in query.states)
        and (query.flow is None or row.flow == query.flow)
        and (query.tag is None or query.tag in row.tags)
    )
