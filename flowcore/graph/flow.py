"""The definition of a flow: one frozen value, whatever spelling it came in.

In: validated fields. Out: FlowDefinition and its parts, and the content hash.
Not here: reading YAML or Python (load, builder), rules (check), order (plan).
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgpack
from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema, model_validator

from flowcore.graph.policy import (
    Backoff,
    Cache,
    CircuitBreaker,
    Concurrency,
    Count,
    Fallbacks,
    Join,
    Model,
    RateLimit,
    Retry,
    TimeLimit,
)

__all__ = [
    "MOST_ITEMS",
    "AgentConfig",
    "BackendConfig",
    "Config",
    "Edge",
    "ExecutionConfig",
    "FlowDefinition",
    "LlmConfig",
    "MemoryConfig",
    "NodeDefaults",
    "NodeDefinition",
    "StreamingConfig",
]

#: Items of one map.
MOST_ITEMS = 100_000

Priority = Annotated[int, Field(ge=0, le=9, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,100}$")]

Tags = tuple[Name, ...]
Words = Annotated[str, Field(min_length=1)]


def _tolerance(value: Any) -> Any:
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", value)):
        value = float(found[1]) / 100
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and value >= 0 and (isinstance(value, int) or value <= 1):
        return value
    msg = "write a number of items, such as 3, or a part of them, such as 10%"
    raise ValueError(msg)


#: A whole number of items, or the fraction of them that ``10%`` stands for.
Tolerance = Annotated[
    int | float,
    BeforeValidator(_tolerance),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\d{1,3}(\.\d+)?\s*%$"},
            ],
            "description": "a number of items, or a part of them such as 10%",
        }
    ),
]


class NodeDefinition(Model):
    """One step of a flow."""

    uses: Annotated[str, Field(min_length=1)]
    """``module:callable``, or the name of a built-in node type."""
    with_: Annotated[Mapping[str, Any], Field(alias="with", default_factory=dict)]
    """Arguments by name; text may hold ``${{ expression }}``."""
    needs: tuple[str, ...] = ()
    """Ids of the nodes that must settle first."""
    if_: Annotated[str | None, Field(alias="if")] = None
    """CEL expression over what is upstream; the node is skipped where it is false."""
    retry: Retry | None = None
    fallback: Fallbacks = ()
    """Where the node's output comes from when its last attempt has failed, the first first."""
    timeout: TimeLimit | None = None
    """Seconds one attempt may take."""
    queue: Name | None = None
    """Celery queue whose workers run the node."""
    join: Join = "all_success"
    priority: Priority | None = None
    """0 to 9, before or after the nodes of others on its queue; else that of the run."""
    tags: Tags = ()
    """Words to find by what it has said, and its task in monitors."""
    idempotency_key: Words | None = None
    """``ctx.idempotency_key``, the same for every attempt; may hold ``${{ expression }}``."""
    concurrency: Concurrency | None = None
    """Attempts at a time, on all workers together."""
    rate_limit: RateLimit | None = None
    """Attempts in a time, on all workers together."""
    circuit_breaker: CircuitBreaker | None = None
    """Failures after which attempts fail at once for a while, on all workers together."""
    cache: Cache | None = None
    """How long an output counts for other runs, too."""
    output: Mapping[str, Any] | None = None
    """JSON Schema of what the node gives; of each item or iteration, should there be several."""
    for_each: Any = None
    """A list, one ``${{ expression }}`` that gives one, or the ``uses`` and ``with`` of a function
    that gives items one by one: the node runs once for each ``item``."""
    max_parallel: Count | None = None
    """Of a ``for_each``: items under way at once."""
    chunk_size: Count | None = None
    """Of a ``for_each``: the node gets so many items at once, as a list."""
    tolerated_failures: Tolerance = 0
    """Of a ``for_each``: how many items may fail, or which part of them, as ``10%``."""
    until: str | None = None
    """CEL expression over ``output``, ``state`` and ``iteration``: the node runs until it holds."""
    max_iterations: Count | None = None
    """Of an ``until``: it fails if it has run so often. Alone: it runs so often."""
    initial: Any = None
    """Of a loop: ``state`` in the first iteration; after that it is the output so far."""
    flow: str | Mapping[str, Any] | None = None
    """Of a ``workflow``: the sub-flow; a deployed one's name, a file, or a definition."""
    undo: Mapping[str, Any] | None = None
    """What undoes the node, should the run fail after it has succeeded: a node without needs."""
    branches: Mapping[str, Mapping[str, Any]] | None = None
    """Of a ``parallel``: nodes by name, which run at once."""


class NodeDefaults(Model):
    """Defaults of a flow's nodes; a node's own ``null`` overrides them."""

    retry: Retry | None = None
    timeout: TimeLimit | None = None
    queue: Name | None = None
    priority: Priority | None = None
    tags: Tags = ()


class Edge(Model):
    """``target`` runs after ``source``; with ``when``, only if it holds."""

    source: Annotated[str, Field(validation_alias=AliasChoices("from", "source"))]
    target: Annotated[str, Field(validation_alias=AliasChoices("to", "target"))]
    when: str | None = None
    """CEL expression over inputs, the source and the source's ancestors."""


class BackendConfig(Model):
    """Options handed to ``BackendRegistry.create``."""

    max_parallel: Annotated[
        Count | None, Field(validation_alias=AliasChoices("max_parallel", "max_parallel_nodes"))
    ] = None
    timeout: Annotated[
        TimeLimit | None, Field(validation_alias=AliasChoices("timeout", "timeout_seconds"))
    ] = None
    retry_strategy: Backoff | None = None


class ExecutionConfig(Model):
    """Settings for executing a run."""

    max_parallel_nodes: Annotated[
        Count | None, Field(validation_alias=AliasChoices("max_parallel_nodes", "max_parallel"))
    ] = None
    timeout_seconds: Annotated[
        TimeLimit | None, Field(validation_alias=AliasChoices("timeout_seconds", "timeout"))
    ] = None
    retry_failed_nodes: Annotated[bool, Field(strict=True)] = False
    """Nodes without their own ``retry`` get the default one."""
    enable_checkpoints: Annotated[bool, Field(strict=True)] = True
    """Runs are always recorded on the native backend; other backends read this."""
    fail_fast: Annotated[bool, Field(strict=True)] = True
    """The first failure that no join tolerates cancels what has not finished."""


class MemoryConfig(Model):
    """Memory that outlives a run, shared by all runs of a thread."""

    type: Literal[
        "conversation", "conversation_buffer", "window", "tokens", "summary", "vector"
    ] = "conversation"
    """What is kept and shown: all, up to ``max_messages``; the last ``max_messages``; the last that
    fit in ``max_tokens``; the newer half, and a summary of what came before; all, with vectors."""
    max_messages: Count | None = None
    max_tokens: Count | None = None
    counter: str | None = None
    """``module:callable`` that counts the tokens of a message."""
    tokenizer: Words | None = None
    """A tokenizer of tiktoken's that counts them, such as ``o200k_base``: ``flowcore[tokens]``."""
    summarise_after: Annotated[
        Count | None, Field(validation_alias=AliasChoices("summarise_after", "summarize_after"))
    ] = None
    """Messages above which the older half is summarised."""
    summariser: Annotated[
        str | None, Field(validation_alias=AliasChoices("summariser", "summarizer"))
    ] = None
    """``module:callable`` that makes text of ``messages`` and the ``summary`` so far."""
    embed: str | None = None
    """``module:callable`` that makes a vector, a list of numbers, of a text."""
    ttl: TimeLimit | None = None
    """Seconds without a new message after which a thread is forgotten; None: never."""
    thread: Words | None = None
    """The thread; may hold ``${{ expression }}`` over inputs. Else the input ``thread``, else each
    run has its own."""
    name: Name | None = None
    """Flows that give the same name share threads; otherwise a flow has its own."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """``conversation_buffer`` is short for ``{type: conversation_buffer}``."""
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {
            "window": ("max_messages",),
            "tokens": ("max_tokens",),
            "summary": ("summarise_after", "summariser"),
            "vector": ("embed",),
        }.get(self.type, ())
        missing = [name for name in needs if getattr(self, name) is None]
        if missing:
            msg = f"memory of type {self.type!r} needs {' and '.join(map(repr, missing))}"
            raise ValueError(msg)
        return self


class StreamingConfig(Model):
    """Settings for delivering events to readers."""

    enabled: Annotated[bool, Field(strict=True)] = True
    buffer_size: Count = 100


class LlmConfig(Model):
    """The language model for nodes that use one."""

    model: Words
    temperature: float | None = None
    base_url: str | None = None
    api_key: str | None = None
    """A reference to a secret, such as ``${{ secrets.OPENAI_API_KEY }}``."""


class AgentConfig(Model):
    """One agent of a crew."""

    role: Words
    goal: Words
    backstory: str | None = None


class Config(Model):
    """The seed page's keys, exactly."""

    backend: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]{0,99}$")] = "native"
    backend_config: BackendConfig = BackendConfig()
    execution: ExecutionConfig = ExecutionConfig()
    memory: MemoryConfig | None = None
    streaming: StreamingConfig = StreamingConfig()
    defaults: NodeDefaults = NodeDefaults()
    llm: LlmConfig | None = None
    tools: tuple[Words, ...] = ()
    agents: tuple[AgentConfig, ...] = ()
    process: Literal["sequential", "hierarchical"] | None = None

    @property
    def max_parallel(self) -> int | None:
        """Nodes of one run that may be under way at once; None: no limit."""
        return self.backend_config.max_parallel or self.execution.max_parallel_nodes

    @property
    def timeout(self) -> float | None:
        """Seconds a whole run may take; None: no limit."""
        given = self.backend_config.timeout
        return self.execution.timeout_seconds if given is None else given

    @property
    def default_retry(self) -> Retry | None:
        """The retry of nodes that have none of their own."""
        if "retry" in self.defaults.model_fields_set:
            return self.defaults.retry
        strategy = self.backend_config.retry_strategy
        if not (self.execution.retry_failed_nodes or strategy):
            return None
        return Retry(backoff=strategy or "exponential")


class FlowDefinition(Model):
    """A workflow definition: nodes, edges, config, input schema."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}$")] = "workflow"
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+\-]{1,100}$")] = "1"
    description: str = ""
    tags: Tags = ()
    """Words to find its runs by, beside those that a run is given."""
    inputs: Mapping[str, Any] = Field(default_factory=dict)
    """JSON Schema of each input, by name."""
    nodes: Mapping[str, NodeDefinition]
    """By id, in the author's order: the tie-break of the canonical order."""
    edges: tuple[Edge, ...] = ()
    on_failure: Mapping[str, Any] | None = None
    """Nodes that run when the run has failed, before it ends."""
    finally_: Annotated[Mapping[str, Any] | None, Field(alias="finally")] = None
    """Nodes that run in any case, last."""
    config: Config = Config()

    @property
    def hash(self) -> str:
        """Hex digest (128 bit) of the canonical form; equal for equal flows."""
        data = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data["edges"] = sorted(
            ([e.source, e.target, e.when or ""] for e in self.edges),
        )
        packed = msgpack.packb(data, use_bin_type=True)
        return hashlib.blake2b(packed, digest_size=16).hexdigest()
