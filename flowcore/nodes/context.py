"""Context that a node's function may ask for: ``ctx``.

In: facts about the attempt, given by the engine. Out: Context. Not here: how they are found.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowcore.errors import UsageError
from flowcore.nodes.types.memory import Memory

__all__ = ["Context", "Resumed"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The reason for which a node's wait ended."""

    by: Literal["time", "signal"]
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The attempt a function runs in; given to a parameter named ``ctx`` or annotated so."""

    run_id: str
    flow: str
    node_id: str
    attempt: int
    """1 for the first try."""
    logger: logging.Logger | logging.LoggerAdapter[Any]
    worker: str = ""
    resumed: Resumed | None = None
    """What has ended the node's wait, if it has waited."""
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)
    _inputs: Callable[[], Mapping[str, Any]] = field(default=dict, repr=False)
    _emit: Callable[[Mapping[str, Any]], bool] = field(default=lambda _: True, repr=False)
    _memory: Callable[[], Memory] | None = field(default=None, repr=False)
    _token: Callable[[Any], bool] = field(default=lambda _: True, repr=False)
    _key: Callable[[], str] | None = field(default=None, repr=False)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this node: pass it to what must happen once.

        What the node's ``idempotency_key`` says, else the run and the node.
        """
        return f"{self.run_id}.{self.node_id}" if self._key is None else self._key()

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The run's input by name."""
        return self._inputs()

    @property
    def memory(self) -> Memory:
        """Memory that outlives the run: the conversation and the facts of the run's thread.

        Raises:
            UsageError: The node runs where there is no memory, such as in a Celery canvas.
        """
        if self._memory is None:
            raise UsageError("there is no memory where this node runs; run its flow")
        return self._memory()

    @property
    def cancelled(self) -> bool:
        """True if this attempt should end early: its run is being stopped, or its time is up."""
        return self.stopping.is_set()

    def emit(self, kind: str, /, **data: Any) -> bool:
        """Add an event of your own to the run's log; it is written within milliseconds.

        Args:
            kind: What it is, such as ``progress``.
            data: Plain values.

        Returns:
            False when this attempt is known to be heard no more: it is no longer the valid one,
            or its run has said as much as it may.

        Raises:
            UnsupportedValueError: A value is not plain data.
            PayloadTooLargeError: Together they are above FLOWCORE_MAX_EVENT.
        """
        return self._emit({"kind": kind, **data})

    def token(self, chunk: Any, /) -> bool:
        """Give a piece of the output to whoever follows the run, before the node has ended.

        A generator need not: what it yields is given so.

        Args:
            chunk: Text, or plain data.

        Returns:
            As ``emit`` does; True, without an event, where the flow's streaming is off.

        Raises:
            As ``emit`` does.
        """
        return self._token(chunk)
