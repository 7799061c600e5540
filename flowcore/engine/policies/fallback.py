"""FALLBACK: what a node gives when its last attempt has failed.

In: a failure, and the node's chain of fallbacks. Out: a value of the first that gives one, or the
failure with what each of them met. Not here: when an attempt is the last (worker.executor).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.attempts.binding import bind
from flowcore.engine.attempts.coercion import coerced
from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.engine.attempts.invocation import CancelHandle, Invoker
from flowcore.errors import StoreFullError, StoreUnreachableError
from flowcore.nodes.context import Context
from flowcore.nodes.resolve import resolve
from flowcore.nodes.signature import signature_of
from flowcore.run.record import Failure

__all__ = ["Fallbacks", "FallbacksExhausted"]


class FallbacksExhausted(Exception):  # noqa: N818  (no error of its own: it carries the node's)
    """Every fallback has failed."""

    def __init__(self, failure: Failure) -> None:
        """Carry the node's failure."""
        super().__init__(failure.message)
        self.failure = failure


class Fallbacks:
    """Asks the fallbacks of a node, one after the other."""

    def __init__(
        self,
        invoker: Invoker,
        keeper: Heartbeater,
        *,
        context: Callable[[AttemptContext], Context],
        given: Callable[[AttemptContext], Mapping[str, Any]],
    ) -> None:
        """Call functions with the ``given`` arguments of their node."""
        self._invoker = invoker
        self._keeper = keeper
        self._context = context
        self._given = given

    def value(self, work: AttemptContext, failure: Failure) -> tuple[Any, str | None]:
        """Return the first value there is, and the function that gave it.

        Raises:
            FallbacksExhausted: None of them gave any.
        """
        met: list[str] = []
        for one in work.plan.policy(work.node).fallback:
            if one.uses is None:
                return one.value, None
            try:
                return self._call(one.uses, failure, work), one.uses
            except (StoreUnreachableError, StoreFullError):
                raise
            except Exception as error:  # noqa: BLE001  (whatever it raises, the next one is asked)
                met.append(f"{one.uses} raised {type(error).__name__}: {error}")
        told = f"{failure.message} (its fallbacks failed, too: {'; '.join(met)})"
        raise FallbacksExhausted(replace(failure, message=told))

    def _call(self, uses: str, failure: Failure, work: AttemptContext) -> Any:
        with self._invoker.unlimited():
            function = resolve(uses).function
        signature = signature_of(function)
        function = coerced(function, uses=uses, node=work.name)
        error = {"type": failure.type, "message": failure.message}
        given = {"error": error, **self._given(work)}
        takes = {*signature.required, *signature.optional}
        if not signature.open:
            given = {name: value for name, value in given.items() if name in takes}
        args, kwargs = bind(
            signature,
            given,
            plan=work.plan,
            node=work.node,
            upstream=work.upstream,
            context=self._context(work),
        )
        work.fallen = True
        if self._keeper.record is not None:
            self._keeper.record.fall()
        # The attempt's own may have been used up by its timeout.
        stopper = CancelHandle(stopping=work.stopper.stopping, on_stuck=work.stopper.on_stuck)
        self._keeper.exchange(work.ticket, stopper)
        timeout = work.plan.policy(work.node).timeout
        return self._invoker.call(function, args, kwargs, timeout=timeout, stopper=stopper)
