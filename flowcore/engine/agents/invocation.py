"""One call of an agent's function: with a time limit, and given up when it does not come back.

In: a function and its context. Out: what it raised, or nothing: what it made went to its context.
Used on the host's loop. Not here: what becomes of the task (host).

A coroutine is a task of the loop and is cancelled; a plain function has a thread of its own, which
sees ``ctx.stopping`` and is then interrupted at its next instruction. Neither has to obey: whoever
waits for the call goes on, and ``has_ended`` says when it has come back after all.
"""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

from flowcore.agents.agent import AgentSpec
from flowcore.agents.message import Artifact, Message, Task, parts_of
from flowcore.engine.agents.context import AgentContext, BlockingAgentContext
from flowcore.engine.attempts.invocation import CancelHandle
from flowcore.errors import NodeCancelledError

__all__ = ["STOP_GRACE", "Dropped", "Invocation", "TimedOut"]

#: Seconds that a call has to end by itself when its task has been taken from it.
STOP_GRACE = 2.0
#: The same when its time is up.
_TIMEOUT_GRACE = 0.5
#: Seconds for an interruption to take effect.
_INTERRUPTED = 0.25

#: What a call raised, if anything: it never raises into whoever waits for it.
_End: TypeAlias = "asyncio.Future[Any]"


class TimedOut(Exception):  # noqa: N818  (the end of a call, not an error of this package)
    """The call took longer than it may."""


class Dropped(Exception):  # noqa: N818  (likewise)
    """The call's task has been taken from it."""


class Invocation:
    """A call that is made once."""

    def __init__(self) -> None:
        """Call nothing yet."""
        self.runner: asyncio.Task[None] | None = None
        """What waits for the call."""
        self.dropped = False
        self._gone = asyncio.Event()
        self._end: _End | None = None
        self._stopper = CancelHandle()
        self._task: asyncio.Task[None] | None = None

    @property
    def has_ended(self) -> bool:
        """True if nothing of it runs any more."""
        return self._end is None or self._end.done()

    def when_ended(self, then: Callable[[], object]) -> None:
        """Call back once nothing of it runs any more."""
        if self._end is not None:
            self._end.add_done_callback(lambda _: then())

    def drop(self) -> None:
        """End the wait: the task is somebody else's, or over."""
        self.dropped = True
        self._gone.set()

    async def run(
        self,
        spec: AgentSpec,
        context: AgentContext | BlockingAgentContext,
        begins: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Call the function and wait.

        Args:
            spec: The agent.
            context: What it is given beside its message.
            begins: Told of the thread that a plain function runs in, by the kernel's number of it.

        Raises:
            TimedOut: It took longer than its timeout; it may still run.
            Dropped: Its task was taken from it; it may still run.
            BaseException: Whatever the function raised.
        """
        argument = spec.argument(context.history[0])
        given = (argument, context) if spec.takes_context else (argument,)
        if self.dropped:
            raise Dropped
        if isinstance(context, AgentContext):
            self._begin_task(spec, context, given)
        else:
            self._begin_thread(spec, context, given, begins)
        await self._wait(spec, context)

    async def _wait(self, spec: AgentSpec, context: AgentContext | BlockingAgentContext) -> None:
        end = self._end
        if end is None:
            return
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            first: set[asyncio.Future[Any]] = {end, gone}
            await asyncio.wait(first, timeout=spec.timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not self.dropped and end.done():
            error = end.result()
            if error is not None:
                raise error
            return
        context.stopping.set()
        await self._interrupt(end, STOP_GRACE if self.dropped else _TIMEOUT_GRACE)
        if self.dropped:
            raise Dropped
        raise TimedOut(f"took longer than its timeout of {spec.timeout:g} s")

    async def _interrupt(self, end: _End, grace: float) -> None:
        """Ask the call to end, and after a grace make it."""
        if self._task is not None:
            self._task.cancel()
        await asyncio.wait({end}, timeout=grace)
        if end.done():
            return
        if self._task is not None:
            self._task.cancel()  # it may have caught the first one
        else:
            self._stopper.force(NodeCancelledError("the task of this call is over"))
        await asyncio.wait({end}, timeout=_INTERRUPTED)

    def _begin_task(self, spec: AgentSpec, context: AgentContext, given: Sequence[Any]) -> None:
        loop = asyncio.get_running_loop()
        end: _End = loop.create_future()

        async def guarded() -> None:
            error: BaseException | None = None
            try:
                made = spec.call(*given)
                if inspect.isasyncgen(made):
                    await _gather(context, made)
                else:
                    _result(context, await made)
            except BaseException as raised:  # noqa: BLE001  (none of it may reach the loop)
                error = raised
            if not end.done():
                end.set_result(error)

        self._end = end
        self._task = loop.create_task(guarded())

    def _begin_thread(
        self,
        spec: AgentSpec,
        context: BlockingAgentContext,
        given: Sequence[Any],
        begins: Callable[[int], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        end: _End = loop.create_future()

        def finish(error: BaseException | None) -> None:
            if not end.done():
                end.set_result(error)

        def work() -> None:
            error: BaseException | None = None
            begins(threading.get_native_id())
            try:
                self._stopper.enter_thread()
                try:
                    _plain(spec, context, given)
                finally:
                    self._stopper.leave_thread()
            except BaseException as raised:  # noqa: BLE001  (it ends its own task, and no more)
                error = raised
            loop.call_soon_threadsafe(finish, error)

        self._end = end
        threading.Thread(target=work, name=f"flowcore-agent-{spec.name}", daemon=True).start()


def _plain(spec: AgentSpec, context: BlockingAgentContext, given: Sequence[Any]) -> None:
    made = spec.call(*given)
    if not inspect.isgenerator(made):
        _result(context, made)
        return
    for piece in made:
        context.chunk(piece)


async def _gather(context: AgentContext, pieces: AsyncIterator[Any]) -> None:
    async for piece in pieces:
        context.chunk(piece)


def _result(context: AgentContext | BlockingAgentContext, made: Any) -> None:
    """Hand over what a function returned."""
    if isinstance(made, Task):
        for artifact in made.artifacts:
            context.artifact(artifact)
    elif isinstance(made, Artifact):
        context.artifact(made)
    elif made is not None:
        parts = made.parts if isinstance(made, Message) else parts_of(made)
        context.artifact(list(parts), id="result")
