"""Functions become nodes, operators become edges.

In: decorated functions and ``>>``. Out: calls to the flow whose ``with`` block is open.
Not here: the flow itself (builder).

``a >> b`` and ``a | b`` mean the same: b runs after a. With groups, all of the right side runs
after all of the left side. A chain knows its first and its last nodes, so it makes no difference
that ``>>`` binds tighter than ``|``: ``a >> b | c`` and ``a | b >> c`` both run a, b, c in order.
``|`` is *not* "side by side": that is ``parallel(a, b)``, or a list between two nodes. Python does
not let ``[a, b] >> [c, d]`` reach us: write ``parallel(a, b) >> [c, d]``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import update_wrapper
from inspect import currentframe, iscoroutinefunction
from typing import Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, Union, overload

from flowcore.errors import UsageError
from flowcore.graph.import_path import refuse_wrapper_of_another
from flowcore.graph.node_spec import BreakerLike, CacheLike, FallbackLike, Items, NodeSpec, Source
from flowcore.graph.policy import Concurrency, Join, RateLimit, Retry
from flowcore.graph.unfit import refuse_options, refuse_undecorable

__all__ = [
    "Group",
    "Linkable",
    "Needs",
    "NodeFunction",
    "OpenFlow",
    "Operand",
    "Step",
    "close_flow",
    "is_innermost",
    "node",
    "open_flow",
    "parallel",
    "span_of",
]

P = ParamSpec("P")
R = TypeVar("R")

#: What may stand beside an operator.
Operand: TypeAlias = Union["Linkable", Sequence["Operand"]]
#: What a node may need: ids too, since here nothing else tells text from a node.
Needs: TypeAlias = Union[str, "Linkable", Iterable["Needs"]]


class Linkable:
    """Whatever ``>>`` and ``|`` can join."""

    def span(self) -> "Group":
        """The first and the last steps of this; adds a bare function to the open flow."""
        raise NotImplementedError

    def __rshift__(self, right: Operand) -> "Group":
        return _link(self, right)

    def __rrshift__(self, left: Operand) -> "Group":
        return _link(left, self)

    def __or__(self, right: Operand) -> "Group":
        return _link(self, right)

    def __ror__(self, left: Operand) -> "Group":
        return _link(left, self)


class NodeFunction(Linkable, Generic[P, R]):
    """A function that is also a node: call it as ever, or join it with ``>>``.

    Attributes:
        __wrapped__: The plain function.
        __flowcore__: What the decorator was told.
    """

    __wrapped__: Callable[P, R]
    __flowcore__: NodeSpec
    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], spec: NodeSpec) -> None:
        """Wrap a function; use ``@node`` rather than this."""
        update_wrapper(self, function)
        self.__flowcore__ = spec

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function."""
        return self.__wrapped__(*args, **kwargs)

    def __set_name__(self, owner: type, name: str) -> None:
        """Refuse to be a method: whoever calls it would give it no ``self``."""
        if self.__qualname__ == f"{owner.__qualname__}.{name}":
            msg = (
                f"{self.__qualname__!r} is a method, and a worker has not its object; write a "
                "function at the top level of a module, or a static method with @staticmethod "
                "above @node"
            )
            raise UsageError(msg)

    def __repr__(self) -> str:
        return f"<node {self.__module__}:{self.__qualname__}>"

    def __reduce__(self) -> str:
        """Pickle by name, as functions do."""
        return self.__qualname__

    def configured(self, *, name: str | None = None, **options: Any) -> "NodeFunction[P, R]":
        """Make a node of the same function with other policies, for use in many flows.

        Args:
            name: Id in a flow; the same as before when left out.
            **options: As for ``@node``; those left out stay as they are.
        """
        refuse_options(options)
        spec = replace(self.__flowcore__, **options)
        return NodeFunction(self.__wrapped__, replace(spec, name=name or spec.name))

    @property
    def is_async(self) -> bool:
        """True if calling it returns an awaitable."""
        return iscoroutinefunction(self.__wrapped__)

    def step(
        self,
        id: str | None = None,
        *,
        needs: Needs = (),
        if_: str | None = None,
        with_: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> "Step":
        """Add the function to the current flow once more, with its own id and arguments.

        Args:
            id: The node's id; the function's name when left out.
            needs: Nodes that must settle first, beside those that ``>>`` names.
            if_: CEL expression; the node is skipped where it is false.
            with_: Arguments, for those that are called ``id``, ``needs`` or ``with_`` here.
            **arguments: Arguments of the function; text may hold ``${{ expression }}``. Other keys
                of a node, such as ``for_each``, ``undo`` or ``retry``, stand beside them.

        Returns:
            The step, ready for ``>>``.

        Raises:
            UsageError: No flow is open, or the id is taken.
        """
        flow = _current(repr(self))
        name = id or self.__flowcore__.name
        return flow.add(name, self, needs=needs, if_=if_, with_=with_, **arguments)

    def source(self, **arguments: Any) -> "Source":
        """Have the function give a map its items, which begin while it still runs.

        ``embed.map(crawl.source(url="${{ inputs.url }}"))`` runs ``embed`` for each page that
        ``crawl`` yields. The decorator's ``retry``, ``timeout`` and ``queue`` hold for it.

        Args:
            **arguments: Arguments of the function; text may hold ``${{ expression }}``.
        """
        return Source(function=self, arguments=arguments)

    def map(self, items: Items = "", *, id: str | None = None, **more: Any) -> "Step":
        """Add the function to the current flow once for each item of a list.

        ``split >> embed.map("chunks")`` runs ``embed`` for each of ``chunks`` in what ``split``
        gives; ``embed.map()`` for each item of what it gives.

        Args:
            items: The key of a list, an expression, a list, or what gives them: see ``source``.
            id: The node's id; the function's name when left out.
            **more: ``max_parallel``, ``chunk_size``, ``tolerated_failures``, arguments.
        """
        return self.step(id, for_each=items, **more)

    def loop(self, until: str | None = None, *, id: str | None = None, **more: Any) -> "Step":
        """Add the function to the current flow, to run again and again.

        Args:
            until: CEL expression over ``output``, ``state`` and ``iteration``.
            id: The node's id; the function's name when left out.
            **more: ``max_iterations``, ``initial``, arguments.
        """
        return self.step(id, until=until, **more)

    def span(self) -> "Group":
        """See ``Linkable``."""
        return _current(repr(self)).bare(self).span()


class Step(Linkable):
    """One node of one flow."""

    def __init__(self, id: str, flow: "OpenFlow") -> None:
        """Name a node that the flow has; use ``flow.add`` rather than this."""
        self.id = id
        self.flow = flow

    def __repr__(self) -> str:
        return f"<step {self.id!r} of {self.flow.id!r}>"

    def span(self) -> "Group":
        """See ``Linkable``."""
        return Group(first=(self,), last=(self,))


class Group(Linkable):
    """A chain or a set of parallel branches: what comes before it, what after."""

    def __init__(self, *, first: tuple[Step, ...], last: tuple[Step, ...]) -> None:
        """Keep both ends; use ``>>`` and ``parallel`` rather than this."""
        self.first = first
        self.last = last

    def __repr__(self) -> str:
        return f"<group {[s.id for s in self.first]} ... {[s.id for s in self.last]}>"

    def span(self) -> "Group":
        """See ``Linkable``."""
        return self


@overload
def node(function: Callable[P, R], /) -> NodeFunction[P, R]: ...
@overload
def node(
    *,
    name: str | None = None,
    retry: Retry | Mapping[str, Any] | None = None,
    timeout: float | str | None = None,
    queue: str | None = None,
    join: Join | None = None,
    concurrency: Concurrency | Mapping[str, Any] | int | None = None,
    rate_limit: RateLimit | Mapping[str, Any] | str | None = None,
    fallback: FallbackLike | Sequence[FallbackLike] | None = None,
    circuit_breaker: BreakerLike | None = None,
    cache: CacheLike | None = None,
    priority: int | None = None,
    tags: str | Sequence[str] | None = None,
) -> Callable[[Callable[P, R]], NodeFunction[P, R]]: ...
def node(
    function: Callable[P, R] | None = None, /, *, name: str | None = None, **options: Any
) -> NodeFunction[P, R] | Callable[[Callable[P, R]], NodeFunction[P, R]]:
    """Make a function a node; it stays callable, with its signature.

    Usable as ``@node`` and as ``@node(retry=Retry(max_attempts=3), timeout="30s")``; on sync and
    async functions.

    Args:
        function: The function.
        name: Id in a flow; the function's own name when left out.
        **options: ``retry`` (Retry or a map), ``timeout`` (seconds or ``"30s"``), ``queue``
            (Celery queue), ``join`` (``all_success``, ``all_done``, ``any_success`` or
            ``none_failed``), ``concurrency`` (attempts at a time on all workers),
            ``rate_limit`` (``"10/s"``), ``fallback`` (``{"value": ...}``, a function, or a list
            of these), ``circuit_breaker`` (failures that open it), ``cache`` (``"10m"``),
            ``priority`` (0 to 9) and ``tags``.

    Returns:
        The node, or a decorator.

    Raises:
        UsageError: It cannot be a node: a method, a lambda, a function inside another, a class, an
            instance, a Celery task, a node already; or there is no such option.
    """
    refuse_options(options)

    def decorate(plain: Callable[P, R]) -> NodeFunction[P, R]:
        refuse_undecorable(plain)
        refuse_wrapper_of_another(plain, by=_module_that_decorates())
        called = name or str(getattr(plain, "__name__", "node"))
        if isinstance(tags := options.get("tags"), str):
            options["tags"] = [tags]
        return NodeFunction(plain, NodeSpec(name=called, **options))

    return decorate if function is None else decorate(function)


def _module_that_decorates() -> str | None:
    frame = currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return None if frame is None else frame.f_globals.get("__name__")


def parallel(*branches: Operand) -> Group:
    """Put branches side by side.

    Args:
        *branches: Nodes, chains, or groups of them.

    Returns:
        A group: what is joined to it is joined to every branch.

    Raises:
        UsageError: There are no branches.
    """
    return _side_by_side(branches, what="parallel()")


def _side_by_side(branches: Iterable[object], *, what: str) -> Group:
    """Join ends without joining branches."""
    spans = [span_of(branch) for branch in branches]
    if not spans:
        msg = f"{what} needs at least one node"
        raise UsageError(msg)
    return Group(
        first=_unique(step for span in spans for step in span.first),
        last=_unique(step for span in spans for step in span.last),
    )


def _unique(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Each step once, in order."""
    return tuple({(id(step.flow), step.id): step for step in steps}.values())


def span_of(operand: object) -> Group:
    """Find the ends of whatever stands beside an operator."""
    if isinstance(operand, Linkable):
        return operand.span()
    if isinstance(operand, list | tuple):
        return _side_by_side(operand, what="a list beside '>>'")
    if callable(operand):
        name = getattr(operand, "__name__", repr(operand))
        msg = f"{name!r} is a plain function; decorate it with @node, or use flow.add(id, {name})"
    else:
        msg = f"'>>' joins nodes, not {type(operand).__name__} ({operand!r})"
    raise UsageError(msg)


def _link(left: object, right: object) -> Group:
    """All of the right runs after all of the left."""
    # Left first: bare functions are added in the order in which they are read.
    before = span_of(left)
    after = span_of(right)
    for source in before.last:
        for target in after.first:
            source.flow.edge(source, target)
    return Group(first=before.first, last=after.last)


class OpenFlow(Protocol):
    """Interface of the flow that operators write into."""

    id: str

    def add(
        self,
        id: str,
        uses: str | Callable[..., Any],
        *,
        needs: Needs = (),
        if_: str | None = None,
        with_: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Step:
        """Add a node."""
        ...

    def bare(self, function: NodeFunction[..., Any]) -> Step:
        """Find the node of a function that is used as it is, or add it."""
        ...

    def edge(self, source: Step, target: Step) -> None:
        """Let ``target`` run after ``source``."""
        ...


_open: ContextVar[tuple[OpenFlow, ...]] = ContextVar("flowcore_open_flows", default=())


def open_flow(flow: OpenFlow) -> None:
    """Let operators write into ``flow``, in this thread or asyncio task, until it is closed."""
    _open.set((*_open.get(), flow))


def close_flow() -> None:
    """Go back to the flow that was open before."""
    _open.set(_open.get()[:-1])


def is_innermost(flow: object) -> bool:
    """Return whether operators write into ``flow`` now."""
    return _open.get()[-1:] == (flow,)


def _current(what: str) -> OpenFlow:
    """The innermost open flow."""
    flows = _open.get()
    if not flows:
        msg = (
            f"{what} was joined outside of a flow; "
            "put the chain inside 'with Flow(\"name\") as flow:'"
        )
        raise UsageError(msg)
    return flows[-1]
