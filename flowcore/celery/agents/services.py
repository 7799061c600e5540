"""Services for hosting agents, and the loading of their modules.

In: ports, and names of modules. Out: AgentServices, agents by name.
"""

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flowcore.agents.agent import AgentSpec
from flowcore.engine.agents.caller import AgentCaller
from flowcore.errors import UsageError
from flowcore.ports.agents import AgentDirectory, Signer, TaskStore
from flowcore.ports.troubles import TroubleBook

__all__ = [
    "AgentServices",
    "HostedWork",
    "Launch",
    "Launched",
    "Listener",
    "import_module",
    "load_agents",
]


class Listener(Protocol):
    """A task store that tells an instance of news."""

    def listen(
        self, instance: str, hear: Callable[[str, str], None], stop: threading.Event
    ) -> None:
        """Hear until stopped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedWork:
    """Work that a worker's processes host beside its pool."""

    worker: str
    """The worker's name."""
    modules: tuple[str, ...] = ()
    """Modules with agents."""
    queues: tuple[str, ...] = ()
    """The broker's queues of nodes that are run as agents."""
    slots: int = 1
    """Nodes of each queue at a time."""
    note: str = ""
    """The id of the worker's note on the board."""
    log_level: int = 20
    log_file: str | None = None


class Launched(Protocol):
    """A supervisor process of agents, as the worker that started it sees it."""

    def wait_ready(self, timeout: float) -> str | None:
        """Wait until it hosts; return what is wrong if it cannot."""
        ...

    def has_ended(self) -> bool:
        """Say whether it is gone."""
        ...

    def stop(self, *, grace: float) -> None:
        """End it, and all that it hosts, within some seconds."""
        ...


Launch = Callable[[HostedWork], Launched]


class AgentServices:
    """Services that the agents of a process use."""

    def __init__(  # noqa: PLR0913  (assembly names them all)
        self,
        *,
        caller: AgentCaller,
        listener: Listener,
        keys: Signer,
        namespace: str,
        quorum: bool,
        heartbeat: float,
        modules: Sequence[str],
        launch: Launch,
        lease: float,
        announce: Callable[[str], None],
        troubles: TroubleBook | None = None,
    ) -> None:
        """Keep them."""
        self.troubles = troubles
        self.caller = caller
        self.listener = listener
        self.keys = keys
        self.namespace = namespace
        self.quorum = quorum
        self.heartbeat = heartbeat
        self.modules = tuple(modules)
        self.launch = launch
        self.lease = lease
        self.announce = announce
        """Tells the board what this process's modules offer, beside a worker's note."""

    @property
    def store(self) -> TaskStore:
        """The tasks."""
        return self.caller.store

    @property
    def directory(self) -> AgentDirectory:
        """Who is there."""
        return self.caller.directory


def load_agents(modules: Sequence[str]) -> Mapping[str, AgentSpec]:
    """Import modules and return their agents by name.

    Raises:
        UsageError: A module cannot be imported or has no agents, or two have one name.
    """
    found: dict[str, AgentSpec] = {}
    for name in modules:
        specs = [each for each in vars(import_module(name)).values() if isinstance(each, AgentSpec)]
        if not specs:
            raise UsageError(f"module {name!r} has no agents; write '@agent(\"name\")' above one")
        for spec in specs:
            if found.setdefault(spec.name, spec) is not spec:
                raise UsageError(f"two agents are called {spec.name!r}; names are unique")
    return found


def import_module(name: str, what: str = "agents") -> Any:
    """Import a module of a user's.

    Args:
        name: Its name.
        what: What it is to have, for the error.

    Raises:
        UsageError: It cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Whatever a module does while it is imported: a script may even end its process.
        raise UsageError(f"cannot import the {what} of {name!r}: {error}") from error
