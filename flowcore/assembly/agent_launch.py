"""Starting the process that keeps those of agents.

In: a worker's settings, and what to host. Out: a process beside the worker's pool, which ends with
the worker. Not here: what that process does (agent_process).

It is a new interpreter, not a fork of the worker: it has none of the worker's threads, locks and
connections, so what it forks in its turn starts clean.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from flowcore.assembly.payloads import payload_url
from flowcore.assembly.process_lifetime import Pipe
from flowcore.assembly.settings import Settings
from flowcore.celery.agents.services import HostedWork

__all__ = ["AgentSupervisorProcess", "launcher"]

_MODULE = "flowcore.assembly.agent_process"
#: Seconds in which a process that cannot go on has ended.
_LOOK = 0.05


class AgentSupervisorProcess:
    """Implements ``Launched``."""

    def __init__(self, work: HostedWork, env: Mapping[str, str]) -> None:
        """Start it."""
        self._lifeline, self._ready = Pipe(), Pipe()
        fds = {"parent_fd": self._lifeline.read.fileno(), "ready_fd": self._ready.write.fileno()}
        self._process = subprocess.Popen(  # noqa: S603  (this very Python)
            [sys.executable, "-m", _MODULE, json.dumps({**asdict(work), **fds})],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(fds.values()),
        )
        self._ready.write.close()

    def wait_ready(self, timeout: float) -> str | None:
        """Wait until it hosts; return what is wrong if it cannot."""
        readable, _, _ = select.select([self._ready.read.fileno()], [], [], timeout)
        if not readable:
            return f"the processes of agents were not ready after {timeout:g} s"
        found = os.read(self._ready.read.fileno(), 65536).decode("utf-8", "replace").strip()
        self._ready.read.close()
        return found or self._early_end()

    def has_ended(self) -> bool:
        """Say whether it is gone."""
        return self._process.poll() is not None

    def stop(self, *, grace: float) -> None:
        """End it, and all that it hosts, within some seconds."""
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()  # whatever the grace was: nobody survives that
        self._lifeline.close()

    def _early_end(self) -> str | None:
        """Say how it ended, if it did as soon as it was ready."""
        ends = time.monotonic() + _LOOK
        while time.monotonic() < ends and not self.has_ended():
            time.sleep(_LOOK / 5)
        code = self._process.poll()
        return None if code is None else f"the processes of agents ended with exit status {code}"


def launcher(settings: Settings, redis_url: str) -> Callable[[HostedWork], AgentSupervisorProcess]:
    """Return what starts such a process, with this process's settings."""

    def launch(work: HostedWork) -> AgentSupervisorProcess:
        return AgentSupervisorProcess(work, _environment(settings, redis_url))

    return launch


def _environment(settings: Settings, redis_url: str) -> Mapping[str, str]:
    search = [path or str(Path.cwd()) for path in sys.path]
    return {
        **os.environ,
        "FLOWCORE_WORKER": "1",
        # It is told the URL of an embedded server, too, and could not tell that by it.
        "FLOWCORE_REDIS_URL": redis_url,
        "FLOWCORE_NAMESPACE": settings.namespace,
        "FLOWCORE_PAYLOADS": payload_url(settings),
        "FLOWCORE_AGENTS": ",".join(settings.agents),
        **({"FLOWCORE_SECRET": ",".join(settings.secrets)} if settings.secrets else {}),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(search)),
    }
