"""Control of a run, as its handle offers it: cancel, pause, resume, run again, signal.

In: a run's id and a session. Out: the run has moved. Not here: what is read of it (run).
"""

import functools
from typing import Any, Self

from flowcore.assembly.session import Session
from flowcore.client.rerun import refuse_elsewhere, rerun_run, resume_run
from flowcore.client.threads import in_thread, refuse_in_import, refuse_in_loop
from flowcore.engine.runs import control
from flowcore.engine.runs import signals as answers
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.plan.plan import Plan
from flowcore.run.record import RunSummary
from flowcore.run.status import RunState
from flowcore.run.wire import pack

__all__ = ["RunControl"]


class RunControl:
    """Operations on a run."""

    def __init__(self, id: str, *, session: Session) -> None:
        """Name a run."""
        self.id = id
        self._session = session

    def cancel(self, reason: str = "cancelled by its owner") -> RunState:
        """Stop the run: queued nodes never start, running ones are told to end.

        Returns:
            The state afterwards: ``stopping`` while nodes still run, else a final one.

        Raises:
            RunNotFoundError: No run has this id.
        """
        runtime = self._session.runtime
        state = runtime.store.stop(self.id, reason=reason)
        if state is None:
            raise RunNotFoundError(self.id)
        if state is RunState.CANCELLED:
            # No worker had a part in it, so one has to be asked to tell Flower.
            namespace = runtime.settings.namespace
            runtime.dispatcher.tell_end(self.id, self._plan(), namespace=namespace)
        return state

    async def acancel(self, reason: str = "cancelled by its owner") -> RunState:
        """Cancel without blocking."""
        return await in_thread(self.cancel, reason)

    def pause(self) -> RunState:
        """Hold the run: no further node starts, what runs goes on and is recorded.

        The run's time limit goes on counting.

        Returns:
            The state afterwards: ``paused``.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It has ended or is being stopped.
        """
        runtime = self._session.runtime
        return control.pause(runtime.store, runtime.reader, self.id)

    async def apause(self) -> RunState:
        """Pause without blocking."""
        return await in_thread(self.pause)

    def resume(self) -> RunState:
        """Let a run go on that is paused, or that has failed or was cancelled.

        Of a run that has ended, nodes that have succeeded and their outputs are kept; what failed,
        what was cancelled and all that comes after these runs again, each with retries of its own
        anew. The run's time limit begins anew, too.

        Returns:
            The state afterwards.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It is running, has succeeded, or its plan is no longer kept.
        """
        refuse_in_loop("handle.resume()", "handle.aresume()")
        return self._resume()

    async def aresume(self) -> RunState:
        """Resume without blocking."""
        return await in_thread(self._resume)

    def requeue(self, node: str | None = None) -> RunState:
        """Resume a run with dead letters: nodes given up because their workers died each time.

        Args:
            node: One that has to be among them; None: there has to be one.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It has no (such) dead letter, or cannot be resumed.
        """
        refuse_in_loop("handle.requeue()", "handle.arequeue()")
        found = self._session.runtime.reader.record(self.id)
        if found is None:
            raise RunNotFoundError(self.id)
        control.require_dead_letter(found, node)
        return self.resume()

    async def arequeue(self, node: str | None = None) -> RunState:
        """Requeue without blocking."""
        return await in_thread(self.requeue, node)

    def rerun(
        self, from_node: str | None = None, with_input: Any = None, *, id: str | None = None
    ) -> Self:
        """Start a new run after the pattern of this one.

        Args:
            from_node: Run this node and all after it; the outputs of what else has succeeded are
                taken over. None: run everything.
            with_input: The new run's input; a map is laid over this run's input, key by key.
                None: the same input. What is taken over was made of the old one.
            id: The new run's id, if it should be idempotent.

        Returns:
            The new run; its ``summary().origin`` names this one.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: The run has not ended, so it is not known yet what can be taken over.
            UsageError: There is no such node, or the input is not what the flow declares.
        """
        refuse_in_loop("handle.rerun()", "handle.arerun()")
        return self._rerun(from_node, with_input, id)

    async def arerun(
        self, from_node: str | None = None, with_input: Any = None, *, id: str | None = None
    ) -> Self:
        """Rerun without blocking."""
        return await in_thread(self._rerun, from_node, with_input, id)

    def _resume(self) -> RunState:
        self._serve()
        return resume_run(self._session, self.id)

    def _rerun(self, from_node: str | None, with_input: Any, id: str | None) -> Self:
        self._serve()
        new = rerun_run(self._session, self.id, from_node, with_input, id=id)
        return type(self)(new, session=self._session)

    def _serve(self) -> None:
        """The embedded server's workers are those of this process."""
        refuse_in_import()
        if self._session.embedded:
            refuse_elsewhere(self._session, self._summary())
            self._session.ensure_workers(self._plan().queues)

    def signal(self, name: str, /, **value: Any) -> None:
        """Give a signal to the nodes that wait for it, or keep it for the first that will.

        Those that are kept are taken in their order. Nodes of the runs inside this one hear of
        signals, too.

        Args:
            name: The signal's name, as the node's ``with`` says it.
            **value: What the node gives on, as a map: plain data.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: The run has ended, no node of it waits for such a signal or will, 1,000 of
                its name are kept already, or the name is empty.
            UnsupportedValueError: The value is not plain data.
        """
        if not name:
            msg = "a signal needs a name, such as review"
            raise UsageError(msg)
        runtime = self._session.runtime
        packed = pack(value, what=f"signal {name!r}")
        answers.signal(runtime.store, runtime.reader, runtime.dispatcher, self.id, name, packed)

    async def asignal(self, name: str, /, **value: Any) -> None:
        """Signal without blocking."""
        await in_thread(functools.partial(self.signal, name, **value))

    def approve(self, node: str | None = None, /, **more: Any) -> str:
        """Say yes to a node that waits for an approval.

        Args:
            node: The node, or the way to one in a run inside, such as ``embed/3/review``; the only
                one that waits when left out. One that does not wait yet finds the answer when it
                does.
            **more: What the node gives on with it, such as ``comment`` or ``by``: plain data.

        Returns:
            The node.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: It is no such node, none or several wait, somebody has answered already,
                or the run has ended.
        """
        return self._answer(node, {**more, "approved": True})

    async def aapprove(self, node: str | None = None, /, **more: Any) -> str:
        """Approve without blocking."""
        return await in_thread(self._answer, node, {**more, "approved": True})

    def reject(self, node: str | None = None, /, **more: Any) -> str:
        """Say no to a node that waits for an approval; see ``approve``."""
        return self._answer(node, {**more, "approved": False})

    async def areject(self, node: str | None = None, /, **more: Any) -> str:
        """Reject without blocking."""
        return await in_thread(self._answer, node, {**more, "approved": False})

    def _answer(self, node: str | None, value: dict[str, Any]) -> str:
        runtime = self._session.runtime
        found = answers.question(runtime.store, runtime.reader, self.id, node)
        packed = pack(value, what=f"the answer to {found.path!r}")
        answers.answer(runtime.store, runtime.reader, runtime.dispatcher, found, packed)
        return found.path

    def _summary(self) -> RunSummary:
        found = self._session.runtime.reader.summary(self.id)
        if found is None:
            raise RunNotFoundError(self.id)
        return found

    def _plan(self) -> Plan:
        return self._session.runtime.store.get_plan(self._summary().plan)
