"""A real engine for tests: a server, a session, and real Celery workers in real processes."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kombu.message import Message

from flowcore import ExecutionResult, Flow, Run, Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.client.flow import start_run

__all__ = ["Engine", "poll", "running_engine"]

MODULES = Path(__file__).parent / "integration" / "modules"

#: How long a test waits for something that takes milliseconds on an idle machine.
PATIENCE = 60.0


def poll(condition: Callable[[], Any], *, what: str, patience: float = PATIENCE) -> Any:
    """Wait until ``condition()`` is true and return what it gave."""
    ends = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"waited {patience:.0f} s for {what}")
        time.sleep(0.01)
    return found


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A session and the means to start workers for it."""

    session: Session
    home: Path
    started: list[LocalWorkers] = field(default_factory=list)

    def workers(
        self,
        *,
        pool: str = "prefork",
        slots: int = 2,
        queues: str | None = None,
        include: str | None = None,
    ) -> LocalWorkers:
        """Start one more worker and wait until it is ready."""
        runtime = self.session.runtime
        name = f"test-{len(self.started)}@%h"
        argv = [
            *(sys.executable, "-m", "celery", "-A", "worker", "worker", "--hostname", name),
            *("--pool", pool, "--concurrency", str(slots), "--loglevel", "INFO"),
            *("--queues", runtime.queue(queues), "--without-gossip", "--without-mingle"),
        ]
        if include:
            argv += ["--include", include]
        env = self.session.worker_env([MODULES])
        log = self.home / f"worker-{len(self.started)}.log"
        workers = LocalWorkers(argv=argv, env=env, log=log, cwd=Path(__file__).parents[1])
        workers.start()
        self.started.append(workers)
        if not workers.wait_ready(timeout=PATIENCE):
            pytest.fail(f"the worker did not start: {workers.failure}\n{log.read_text()}")
        return workers

    def start(self, nodes: Mapping[str, Any], input: Any = None, **more: Any) -> Run:
        """Start a run of these nodes; ``more`` are further keys of the definition."""
        run_id = more.pop("run_id", None)
        plan = Flow.load({"id": "test", "nodes": nodes, **more}).plan()
        return start_run(self.session, plan, input, id=run_id)

    def take_messages(self, queue: str | None = None) -> list[Message]:
        """Take all that waits in a queue, as a worker that never gives it back."""
        name = self.session.runtime.queue(queue)
        with self.session.runtime.app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return list(iter(lambda: channel.basic_get(name, no_ack=True), None))

    def put_messages(self, messages: Iterable[Message], queue: str | None = None) -> None:
        """Put messages that were taken into a queue, as they were."""
        app, name = self.session.runtime.app, self.session.runtime.queue(queue)
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            for message in messages:
                kept = ("content_type", "content_encoding", "headers", "properties")
                about = {key: getattr(message, key) for key in kept}
                own = about.pop("properties")
                producer.publish(
                    message.body,
                    exchange="",
                    routing_key=name,
                    **about,
                    correlation_id=own["correlation_id"],
                    delivery_mode=2,
                )

    def run(self, nodes: Mapping[str, Any], input: Any = None, **more: Any) -> ExecutionResult:
        """Run these nodes to the end."""
        return self.start(nodes, input, **more).wait(timeout=PATIENCE)


@contextmanager
def running_engine(url: str, home: Path, **settings: str) -> Iterator[Engine]:
    """An engine on a server; its workers end with the block.

    Args:
        url: The server.
        home: Where logs go.
        settings: More environment variables, without their prefix, in lower case.
    """
    environ = {f"FLOWCORE_{name.upper()}": value for name, value in settings.items()}
    environ |= {"FLOWCORE_REDIS_URL": url, "FLOWCORE_HOME": str(home)}
    with Session(Settings.from_env(environ), environ=environ) as session:
        engine = Engine(session=session, home=home)
        try:
            yield engine
        finally:
            for workers in engine.started:
                workers.stop()
