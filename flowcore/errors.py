"""Every error flowcore raises, as one tree.

    FlowcoreError                    FC000
    ├── DefinitionError              FC200  a definition has problems; carries all of them
    │   ├── InvalidFlowError         FC200  (graph.diagnostic) with the problems as data, FC2xx
    │   └── WfFormatError            FC240  (importers.wfformat)
    ├── UsageError                   FC100  a call that cannot work as written
    │   ├── BlockingCallError        FC101  a blocking call inside a running event loop
    │   ├── UnsupportedValueError    FC102  a value that JSON/msgpack cannot carry
    │   └── ThingNotFoundError       FC110  (cli.outcome) a file, node or flow that is not there
    ├── BackendError                 FC300
    │   ├── UnknownBackendError      FC301
    │   └── PlannedBackendError      FC302  known, but not available in this installation
    ├── RunError                     FC400
    │   ├── RunNotFoundError         FC401
    │   ├── RunFailedError           FC402
    │   │   └── CanvasFailedError    FC402  (backends.native.canvas)
    │   ├── RunCancelledError        FC403
    │   ├── RunTimeoutError          FC404  the run passed its deadline
    │   ├── WaitTimeoutError         FC405  the run goes on; the caller stopped waiting
    │   └── RunStateError            FC406  where the run stands, this cannot be done
    ├── NodeError                    FC500
    │   ├── ResolveError             FC501  `uses` names nothing that can be called
    │   │   └── UnresolvedError      FC501  (nodes.resolve) and its kinds
    │   ├── BindingError             FC502  a parameter of the function has no value
    │   ├── NodeTimeoutError         FC503
    │   ├── NodeCancelledError       FC504
    │   ├── WorkerLostError          FC505  its worker died too often
    │   ├── PayloadTooLargeError     FC506
    │   ├── ExpressionError          FC507
    │   │   └── ExpressionSyntaxError FC507 (expr.scan) with its place in the text
    │   ├── NodeExitError            FC508
    │   ├── PayloadLostError         FC509  a large value is not where it was put, or damaged
    │   ├── CircuitOpenError         FC510  nothing is tried for a while, after many failures
    │   ├── BulkheadFullError        FC511  no place within max_wait
    │   └── ApprovalRejectedError    FC512  somebody has said no
    ├── AgentError                   FC700  something about an agent or its task
    │   ├── AgentNotFoundError       FC701
    │   ├── AgentNegotiationError    FC702  the two sides do not understand each other
    │   ├── AgentCallLimitError      FC703  too deep, or a cycle
    │   ├── AgentTaskError           FC704  a task failed, was canceled or rejected
    │   ├── AgentTaskStateError      FC705  where the task stands, this cannot be done
    │   └── AgentWaitError           FC706  the task goes on; the caller stopped waiting
    └── ServiceError                 FC600  something outside is missing or unwell
        ├── StoreUnreachableError    FC601
        │   └── EmbeddedServerError  FC601  (assembly.embedded)
        ├── SettingsError            FC602  (assembly.settings)
        ├── BrokerUnreachableError   FC603
        ├── StoreRefusedError        FC604  a wrong password, or a user without the right
        ├── StoreFullError           FC605  no memory or disk for what has to be written
        ├── PayloadStoreError        FC606  large values cannot be written or read now
        └── WrongServerError         FC607  a Redis Cluster, or a Sentinel itself

In: nothing. Out: exceptions whose facts are attributes; each sentence names the way out. A class
that only one room raises may live there.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "AgentCallLimitError",
    "AgentError",
    "AgentNegotiationError",
    "AgentNotFoundError",
    "AgentTaskError",
    "AgentTaskStateError",
    "AgentWaitError",
    "ApprovalRejectedError",
    "BackendError",
    "BindingError",
    "BlockingCallError",
    "BrokerUnreachableError",
    "BulkheadFullError",
    "CircuitOpenError",
    "DefinitionError",
    "ExpressionError",
    "FlowcoreError",
    "NodeCancelledError",
    "NodeError",
    "NodeExitError",
    "NodeTimeoutError",
    "PayloadLostError",
    "PayloadStoreError",
    "PayloadTooLargeError",
    "PlannedBackendError",
    "ResolveError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunNotFoundError",
    "RunStateError",
    "RunTimeoutError",
    "ServiceError",
    "StoreFullError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "UnknownBackendError",
    "UnsupportedValueError",
    "UsageError",
    "WaitTimeoutError",
    "WorkerLostError",
    "WrongServerError",
]


class FlowcoreError(Exception):
    """Base of all flowcore errors; ``code`` is stable across releases."""

    code: ClassVar[str] = "FC000"


class DefinitionError(FlowcoreError):
    """A definition has problems.

    Attributes:
        problems: Every problem found, already rendered for people, in source order.
            ``flowcore.check`` raises a subclass that also carries them as data.
    """

    code = "FC200"

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the rendered problems and show them all."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UsageError(FlowcoreError):
    """A call that cannot work as written."""

    code = "FC100"


class BlockingCallError(UsageError):
    """A blocking call was made inside a running event loop."""

    code = "FC101"

    def __init__(self, call: str, twin: str) -> None:
        """Name the call and its async twin."""
        self.call, self.twin = call, twin
        super().__init__(f"{call} would block the running event loop; use 'await {twin}' instead")


class UnsupportedValueError(UsageError):
    """A value that the wire format cannot carry."""

    code = "FC102"


class BackendError(FlowcoreError):
    """A backend cannot do what was asked."""

    code = "FC300"


class UnknownBackendError(BackendError):
    """No backend has this name."""

    code = "FC301"


class PlannedBackendError(BackendError):
    """The backend is known but not available in this installation."""

    code = "FC302"


class RunError(FlowcoreError):
    """Something about one run.

    Attributes:
        run_id: The run.
    """

    code = "FC400"

    def __init__(self, message: str, *, run_id: str) -> None:
        """Keep the run's id beside the sentence."""
        self.run_id = run_id
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way to another process, which makes exceptions again from their args."""
        return _revive, (type(self), str(self), self.run_id)


def _revive(kind: type[RunError], message: str, run_id: str) -> RunError:
    error = kind.__new__(kind, message)
    RunError.__init__(error, message, run_id=run_id)
    return error


class RunNotFoundError(RunError):
    """No run has this id."""

    code = "FC401"

    def __init__(self, run_id: str) -> None:
        """Name the id and where to look."""
        super().__init__(
            f"no run has the id {run_id!r}; 'flowcore list' shows those that are kept",
            run_id=run_id,
        )


class RunFailedError(RunError):
    """The run ended as failed."""

    code = "FC402"


class RunCancelledError(RunError):
    """The run was cancelled."""

    code = "FC403"


class RunTimeoutError(RunError):
    """The run passed its deadline."""

    code = "FC404"


class WaitTimeoutError(RunError):
    """The caller stopped waiting; the run goes on."""

    code = "FC405"


class RunStateError(RunError):
    """What was asked of the run cannot be done in the state it is in."""

    code = "FC406"


class NodeError(FlowcoreError):
    """Something about one node."""

    code = "FC500"

    is_final: ClassVar[bool] = False
    """Whether another attempt would make no sense."""


class ResolveError(NodeError):
    """``uses`` names nothing that can be called here."""

    code = "FC501"


class BindingError(NodeError):
    """A parameter of the node's function has no value."""

    code = "FC502"


class NodeTimeoutError(NodeError):
    """One attempt of a node took longer than its timeout."""

    code = "FC503"


class NodeCancelledError(NodeError):
    """The node was stopped because its run was."""

    code = "FC504"


class WorkerLostError(NodeError):
    """The node's worker died more often than allowed: a dead letter."""

    code = "FC505"


class PayloadTooLargeError(NodeError):
    """An output, or an event that a node emits, is larger than the limit."""

    code = "FC506"


class ExpressionError(NodeError):
    """An expression is wrong, or failed on its data."""

    code = "FC507"


class NodeExitError(NodeError):
    """A node's function raised what would end its worker: ``sys.exit``, ``GeneratorExit``."""

    code = "FC508"


class PayloadLostError(NodeError):
    """A large output or input is not where it was put, or not what was put there."""

    code = "FC509"


class CircuitOpenError(NodeError):
    """A circuit breaker is open: after many failures nothing is tried for a while."""

    code = "FC510"


class BulkheadFullError(NodeError):
    """No place of a limit came free within ``max_wait``."""

    code = "FC511"


class ApprovalRejectedError(NodeError):
    """Somebody has rejected what an ``approval`` node asked; asking again would be rude."""

    code, is_final = "FC512", True


class ServiceError(FlowcoreError):
    """Something outside flowcore is missing or unwell."""

    code = "FC600"


class WrongServerError(ServiceError):
    """There is a server, but not one that could hold runs: a Cluster or a Sentinel."""

    code = "FC607"


class PayloadStoreError(ServiceError):
    """The store of large values refused, or cannot be reached."""

    code = "FC606"


class StoreUnreachableError(ServiceError):
    """The store cannot be reached."""

    code = "FC601"


class BrokerUnreachableError(ServiceError):
    """Celery's broker cannot be reached, or does not let us in."""

    code = "FC603"


class StoreRefusedError(ServiceError):
    """The store does not let this client in, or not do what it has to do."""

    code = "FC604"


class StoreFullError(ServiceError):
    """The store has no room for new runs, or for anything at all."""

    code = "FC605"


class AgentError(FlowcoreError):
    """Something about an agent, or one of its tasks."""

    code = "FC700"


class AgentNotFoundError(AgentError):
    """No live agent has this name or skill, or no task this id."""

    code = "FC701"


class AgentNegotiationError(AgentError):
    """The two sides have no protocol version or media type in common."""

    code = "FC702"


class AgentCallLimitError(AgentError):
    """Agents call agents too deep, or in a circle."""

    code = "FC703"


class AgentTaskError(AgentError):
    """A task that was waited for did not complete."""

    code = "FC704"


class AgentTaskStateError(AgentError):
    """Where the task stands, this cannot be done."""

    code = "FC705"


class AgentWaitError(AgentError):
    """The caller stopped waiting; the task goes on."""

    code = "FC706"
