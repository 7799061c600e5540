"""A session: one process's way to the place where runs live.

In: settings. Out: a Runtime; on the embedded default also the server and local workers, started
when first needed and stopped with the session.
"""

import atexit
import functools
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

from flowcore.assembly.embedded import EmbeddedServer
from flowcore.assembly.payloads import payload_url
from flowcore.assembly.preflight import check_broker, check_stores
from flowcore.assembly.runtime import Runtime, build_runtime
from flowcore.assembly.settings import Settings, split_urls
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.assembly.worker_options import WorkerOptions
from flowcore.celery.node_names import unique_name
from flowcore.errors import ServiceError, StoreFullError, StoreUnreachableError, UsageError
from flowcore.forks import leave_to_parent, renew_after_fork

__all__ = ["Session", "default_session", "project_namespace"]

_T = TypeVar("_T")

#: Set in workers: there, importing a script must not start runs or workers of its own.
IN_WORKER = "FLOWCORE_WORKER"


class Session:
    """Opens what the settings name and closes what it opened."""

    def __init__(
        self, settings: Settings | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        """Open a session.

        Args:
            settings: Where to go; read from the environment when left out.
            environ: What local workers get on top of this process's environment.

        Without a Redis URL the embedded server is joined, and queues get this project's
        namespace: other projects share the server but not the modules.

        Raises:
            SettingsError: The environment has bad values.
            StoreUnreachableError: Nobody answers at the Redis URL.
            StoreRefusedError: Redis does not let us in.
        """
        settings = settings or Settings.from_env()
        self._environ = dict(environ or {})
        self._server: EmbeddedServer | None = None
        self._workers: list[LocalWorkers] = []
        self._served: set[str] = set()
        self._renew()
        renew_after_fork(self, Session._renew)
        self._closing: list[Callable[[Session], None]] = []
        self._broker_known = False
        url = settings.redis_url
        if url is None:
            self._server = EmbeddedServer.join(home=settings.home)
            url = self._server.url
            settings = replace(settings, namespace=settings.namespace or project_namespace())
        else:
            check_stores(split_urls(url), unprotected=settings.unprotected_redis)
        self.runtime: Runtime = build_runtime(settings, url)

    @property
    def embedded(self) -> bool:
        """True if this session uses the embedded server."""
        return self._server is not None

    @property
    def has_workers(self) -> bool:
        """True if local workers were started, which end with this session."""
        return bool(self._workers)

    @property
    def log(self) -> Path:
        """Directory of the local workers' logs."""
        settings = self.runtime.settings
        return settings.home / "logs" / f"worker-{settings.namespace or 'default'}.log"

    def announced(self) -> frozenset[str]:
        """Return what live workers offer by name, such as ``acme.nodes:fetch``, for ``check``.

        It is what is marked with ``@node`` or ``@agent`` in the modules that they were started
        with: those of ``--include`` and ``--agents``, and what these import.
        """
        return self.runtime.board.callables()

    def unserved(self, queues: Iterable[str | None]) -> frozenset[str]:
        """Return those of a flow's queues that no live worker consumes."""
        wanted = {self.runtime.queue(queue) for queue in queues}
        served = {queue for note in self.runtime.board.workers() for queue in note.queues}
        return frozenset(wanted - served)

    def served(self) -> frozenset[str]:
        """Return the queues that live workers of this project consume, as definitions name them."""
        space = self.runtime.settings.namespace
        prefix = f"{space}." if space else ""
        names = {queue for note in self.runtime.board.workers() for queue in note.queues}
        return frozenset(name[len(prefix) :] for name in names if name.startswith(prefix))

    def ensure_workers(
        self,
        queues: Iterable[str | None],
        *,
        concurrency: int | None = None,
        pool: str = "prefork",
        paths: Iterable[Path] = (),
        include: Sequence[str] = (),
    ) -> frozenset[str]:
        """Start local workers for those queues that need them.

        On the embedded server that is every queue this session does not serve yet; on a real
        server only queues that no live worker consumes.

        Args:
            queues: A flow's queues; None is the default one.
            concurrency: Nodes at once; the number of cores (at least 2) when left out.
            pool: Celery's pool: ``prefork``, ``threads`` or ``solo``.
            paths: Where the flow's modules are, beside the working directory.
            include: Modules that the workers import at once: what they have by name is announced.

        Returns:
            The queues that local workers were started for.
        """
        if os.environ.get(IN_WORKER):
            msg = (
                "this call runs in a worker, while it imports the module that defines a node; "
                'put it under if __name__ == "__main__":'
            )
            raise UsageError(msg)
        with self._lock:
            if self.embedded:
                wanted = {self.runtime.queue(queue) for queue in queues} - self._served
            else:
                wanted = set(self.unserved(queues)) - self._served
            if wanted:
                options = WorkerOptions(concurrency=concurrency, pool=pool, include=tuple(include))
                self._start(sorted(wanted), options, paths)
                self._served |= wanted
        return frozenset(wanted)

    def check_workers(self) -> None:
        """Raise when the local workers have been given up.

        Raises:
            ServiceError: They died again and again; shows the end of their log.
        """
        for workers in self._workers:
            if workers.failure:
                raise ServiceError(workers.failure)

    def check_broker(self) -> None:
        """Make sure once that a broker of its own can be reached.

        Later on, a message that cannot be sent is sent again by the workers' janitors.

        Raises:
            BrokerUnreachableError: It does not answer, or does not let us in.
        """
        runtime = self.runtime
        url = runtime.settings.broker_url
        if not self._broker_known and url is not None and [url] != runtime.redis_urls:
            check_broker(runtime.app, url, unprotected=runtime.settings.unprotected_redis)
        self._broker_known = True

    def check_progress(self) -> None:
        """Raise when there is nothing to wait for: neither workers nor a store that takes writes.

        Raises:
            ServiceError: The local workers died again and again.
            StoreFullError: The store has refused to write for some seconds.
        """
        self.check_workers()
        if why := self.runtime.room.refusal():
            raise StoreFullError(why)

    def persist(self, call: Callable[[], _T]) -> _T:
        """Read something; should the embedded server be gone, start it again and read once more.

        Nothing is lost: the server writes each command to its log before it answers.

        Raises:
            StoreUnreachableError: A server that is not ours to start cannot be reached.
        """
        try:
            return call()
        except StoreUnreachableError:
            if self._server is None:
                raise
            self._server.ensure()
            return call()

    def _renew(self) -> None:
        """Begin anew in a forked child: what its parent has started is its parent's."""
        self._lock = threading.Lock()
        leave_to_parent(self._workers)
        self._workers = []

    def on_close(self, call: Callable[["Session"], None]) -> None:
        """Have something called when the session is closed, once."""
        if call not in self._closing:
            self._closing.append(call)

    def close(self) -> None:
        """Stop local workers, leave the embedded server."""
        while self._closing:
            self._closing.pop()(self)
        for workers in self._workers:
            workers.stop()
        self._workers.clear()
        self.runtime.close()
        if self._server is not None:
            self._server.leave()

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def start_worker(self, queues: Iterable[str | None], options: WorkerOptions) -> None:
        """Start one local worker, whoever else serves its queues; it ends with this session."""
        with self._lock:
            wanted = {self.runtime.queue(queue) for queue in queues}
            self._start(sorted(wanted), options)
            self._served |= wanted

    def _start(self, queues: list[str], options: WorkerOptions, paths: Iterable[Path] = ()) -> None:
        slots = options.concurrency or max(2, os.cpu_count() or 2)
        made = replace(
            options,
            concurrency=None if options.autoscale else slots,
            name=options.name or unique_name("local"),
            log_level=options.log_level or self.runtime.settings.log_level,
        )
        argv = [
            *made.argv(queues),
            *("--without-gossip", "--without-mingle"),
        ]
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        workers = LocalWorkers(argv=argv, env=self.worker_env(paths), log=self.log)
        workers.start()
        self._workers.append(workers)

    def worker_env(self, paths: Iterable[Path]) -> Mapping[str, str]:
        """Return the environment of a local worker that finds modules in ``paths``."""
        settings = self.runtime.settings
        given = os.environ.get("PYTHONPATH")
        search = [str(Path.cwd()), *(str(Path(path).resolve()) for path in paths)]
        if sys.path and sys.path[0]:
            search.append(str(Path(sys.path[0]).resolve()))
        return {
            **os.environ,
            **self._environ,
            IN_WORKER: "1",
            "FLOWCORE_REDIS_URL": self.runtime.redis_url,
            "FLOWCORE_NAMESPACE": settings.namespace,
            **({"FLOWCORE_SECRET": ",".join(settings.secrets)} if settings.secrets else {}),
            # The worker is told a URL, and could not tell the embedded server by it.
            "FLOWCORE_PAYLOADS": payload_url(settings),
            "PYTHONPATH": os.pathsep.join([*dict.fromkeys(search), *([given] if given else [])]),
        }


def project_namespace() -> str:
    """Name the namespace of the project in the working directory."""
    return "p" + hashlib.blake2b(str(Path.cwd()).encode(), digest_size=4).hexdigest()


@functools.cache
def default_session() -> Session:
    """Return this process's session, opened when first asked for, closed at exit."""
    session = Session()
    atexit.register(session.close)
    return session
