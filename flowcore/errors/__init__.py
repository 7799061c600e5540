"""Every error flowcore raises, as one tree.

    FlowcoreError                    FC000
    ├── DefinitionError              FC200  a definition has problems; carries all of them
    │   ├── InvalidFlowError         FC200  (graph.diagnostic) with the problems as data, FC2xx
    │   ├── WfFormatError            FC240  (importers.wfformat)
    │   └── CanvasError              FC241  (importers.canvas)
    ├── UsageError                   FC100  a call that cannot work as written
    │   ├── BlockingCallError        FC101  a blocking call inside a running event loop
    │   ├── UnsupportedValueError    FC102  a value that JSON/msgpack cannot carry
    │   └── ThingNotFoundError       FC110  (cli.exit_codes) a file, node or flow that is not there
    ├── BackendError                 FC300
    │   ├── UnknownBackendError      FC301
    │   └── PlannedBackendError      FC302  known, but not available in this installation
    ├── RunError                     FC400
    │   ├── RunNotFoundError         FC401
    │   ├── RunFailedError           FC402
    │   │   └── CanvasFailedError    FC402  (celery.canvas.export)
    │   ├── RunCancelledError        FC403
    │   ├── RunTimeoutError          FC404  the run passed its deadline
    │   ├── WaitTimeoutError         FC405  the run goes on; the caller stopped waiting
    │   ├── RunStateError            FC406  where the run stands, this cannot be done
    │   └── OrphanError              FC407  the attempt that starts a run is no longer valid
    ├── NodeError                    FC500
    │   ├── ResolveError             FC501  `uses` names nothing that can be called
    │   │   └── UnresolvedError      FC501  (nodes.resolve) and its kinds
    │   ├── BindingError             FC502  a parameter of the function has no value
    │   │   └── ArgumentError        FC526  or one that its annotation refuses
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
    │   ├── ApprovalRejectedError    FC512  somebody has said no
    │   ├── LoopLimitError           FC513  a loop's condition did not come to hold
    │   ├── HttpStatusError          FC515  a request was answered with a failure
    │   ├── CeleryTaskError          FC516  a task that a node has called has failed
    │   ├── OutputError              FC517  what a node gave is not what it says
    │   ├── RecordingError           FC518  the engine could not record how a node ended
    │   ├── SecretError              FC523  a secret that a node reads is not there
    │   ├── AnswerError              FC524  a server's answer is cut off or damaged
    │   └── ChildRunError            FC514  a run that a node has started was cancelled, or is gone
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
        ├── WrongServerError         FC607  a Redis Cluster, or a Sentinel itself
        ├── VersionMismatchError     FC608  others speak another wire number
        └── UnprotectedServerError   FC609  a Redis elsewhere that has no password

In: nothing. Out: exceptions whose facts are attributes; each sentence names the way out. A class
that only one room raises may live there.
"""

from flowcore.errors.agents import (
    AgentCallLimitError,
    AgentError,
    AgentNegotiationError,
    AgentNotFoundError,
    AgentTaskError,
    AgentTaskStateError,
    AgentWaitError,
)
from flowcore.errors.base import (
    BackendError,
    BlockingCallError,
    DefinitionError,
    FlowcoreError,
    PlannedBackendError,
    UnknownBackendError,
    UnsupportedValueError,
    UsageError,
)
from flowcore.errors.nodes import (
    AnswerError,
    ApprovalRejectedError,
    ArgumentError,
    BindingError,
    BulkheadFullError,
    CeleryTaskError,
    ChildRunError,
    CircuitOpenError,
    ExpressionError,
    HttpStatusError,
    LoopLimitError,
    NodeCancelledError,
    NodeError,
    NodeExitError,
    NodeTimeoutError,
    OutputError,
    PayloadLostError,
    PayloadTooLargeError,
    RecordingError,
    ResolveError,
    SecretError,
    WorkerLostError,
)
from flowcore.errors.runs import (
    OrphanError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunStateError,
    RunTimeoutError,
    WaitTimeoutError,
)
from flowcore.errors.services import (
    BrokerUnreachableError,
    PayloadStoreError,
    ServiceError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UnprotectedServerError,
    VersionMismatchError,
    WrongServerError,
)

__all__ = [
    "AgentCallLimitError",
    "AgentError",
    "AgentNegotiationError",
    "AgentNotFoundError",
    "AgentTaskError",
    "AgentTaskStateError",
    "AgentWaitError",
    "AnswerError",
    "ApprovalRejectedError",
    "ArgumentError",
    "BackendError",
    "BindingError",
    "BlockingCallError",
    "BrokerUnreachableError",
    "BulkheadFullError",
    "CeleryTaskError",
    "ChildRunError",
    "CircuitOpenError",
    "DefinitionError",
    "ExpressionError",
    "FlowcoreError",
    "HttpStatusError",
    "LoopLimitError",
    "NodeCancelledError",
    "NodeError",
    "NodeExitError",
    "NodeTimeoutError",
    "OrphanError",
    "OutputError",
    "PayloadLostError",
    "PayloadStoreError",
    "PayloadTooLargeError",
    "PlannedBackendError",
    "RecordingError",
    "ResolveError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunNotFoundError",
    "RunStateError",
    "RunTimeoutError",
    "SecretError",
    "ServiceError",
    "StoreFullError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "UnknownBackendError",
    "UnprotectedServerError",
    "UnsupportedValueError",
    "UsageError",
    "VersionMismatchError",
    "WaitTimeoutError",
    "WorkerLostError",
    "WrongServerError",
]

# Where a class is written is nobody's business: names of errors are kept, pickled and compared.
for _name in __all__:
    globals()[_name].__module__ = __name__
