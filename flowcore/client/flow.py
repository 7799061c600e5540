"""A flow that runs: the author's builder, or a loaded definition, with the verbs of a run.

In: a definition in any spelling. Out: runs. Not here: authoring (graph.builder), rules (check).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from flowcore.assembly.session import Session, default_session
from flowcore.celery.canvas.export import Canvas, to_canvas
from flowcore.check.check import CheckedFlow, check
from flowcore.client.live import check_here, check_live, whole
from flowcore.client.run import Run
from flowcore.client.threads import in_thread, refuse_in_import, refuse_in_loop
from flowcore.engine.background.callbacks import find_callbacks
from flowcore.engine.runs.deployments import find_flow, pinned
from flowcore.engine.runs.submit import submit
from flowcore.errors import StoreFullError, UsageError
from flowcore.graph.builder import FlowBuilder
from flowcore.graph.document import Document
from flowcore.graph.dump import to_yaml
from flowcore.graph.load import load_file, load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.flows import DeployedFlow
from flowcore.run.record import RunSummary

__all__ = ["Definition", "Flow", "deploy_plan", "document_of", "start_run"]

#: A definition in any spelling.
Definition = Mapping[str, Any] | str | PathLike[str] | FlowBuilder


def document_of(definition: Definition) -> Document:
    """Read a definition: a tree, a path to YAML or JSON, or a builder.

    Raises:
        DefinitionError: It cannot be read.
    """
    if isinstance(definition, Flow):
        return definition.document()
    if isinstance(definition, FlowBuilder):
        return load_tree(definition.definition())
    if isinstance(definition, Mapping):
        return load_tree(definition)
    return load_file(definition)


def start_run(
    session: Session,
    plan: Plan,
    input: Any = None,
    *,
    id: str | None = None,
    tags: Sequence[str] = (),
    priority: int = 5,
) -> Run:
    """Create a run on a session; the same id twice gives the same run.

    Raises:
        UsageError: The id is that of a run of another flow or project, or the plan runs a flow by
            name that is not deployed.
        BrokerUnreachableError: The broker does not answer; nothing was started.
        StoreFullError: Redis has too little room for one more; nothing was started.
        VersionMismatchError: A live worker is of another version; nothing was started.
    """
    runtime = session.runtime
    session.check_broker()
    runtime.peers.check()
    plan = pinned(plan, runtime.flows, runtime.store.get_plan)
    _admit(session, None if id is None else str(id))
    run_id, submitted = submit(
        runtime.store,
        runtime.dispatcher,
        plan,
        input=input,
        # A primary key makes a good id, and a lone tag is one word, not its letters.
        run_id=None if id is None else str(id),
        tags=[tags] if isinstance(tags, str) else [str(tag) for tag in tags],
        priority=priority,
        namespace=runtime.settings.namespace,
        payloads=runtime.payloads,
        slots=runtime.slots.count if runtime.settings.work_first else None,
    )
    if submitted.created:
        runtime.rows.sent(run=run_id, flow=plan.flow, queue=runtime.default_queue)
    run = Run(run_id, session=session)
    if not submitted.created:
        _refuse_other(run.summary(), plan.flow, runtime.settings.namespace)
    return run


def deploy_plan(
    session: Session, plan: Plan, description: str = "", *, paths: Sequence[Path] = ()
) -> DeployedFlow:
    """Keep a plan under its flow's id and version; ``deployed`` of what comes back says when."""
    runtime = session.runtime
    flow = DeployedFlow(
        name=plan.flow,
        version=plan.version,
        plan=plan.hash,
        deployed=runtime.schedules.now(),
        nodes=len(plan),
        description=description,
        paths=tuple(map(str, paths)),
    )
    old = runtime.flows.find(plan.flow, plan.version)
    if old is not None and old.plan == flow.plan:
        flow = replace(flow, deployed=old.deployed)
    for shard in getattr(runtime.store, "shards", ()):
        shard.store.put_plan(plan)
    runtime.store.put_plan(plan)
    runtime.flows.deploy(flow)
    return flow


def _admit(session: Session, run_id: str | None) -> None:
    """Let a new run in; a run that exists already needs no room."""
    try:
        session.runtime.room.admit()
    except StoreFullError:
        if run_id is None or session.runtime.reader.summary(run_id) is None:
            raise


def _refuse_other(found: RunSummary, flow: str, namespace: str) -> None:
    """Nobody is given the result of another flow, or waits for workers of another project."""
    if found.flow != flow:
        msg = f"run {found.id!r} exists already, of flow {found.flow!r}; give this run another id"
        raise UsageError(msg)
    if found.namespace != namespace:
        msg = f"run {found.id!r} exists already, in another project; give this run another id"
        raise UsageError(msg)


class Flow(FlowBuilder):
    """A flow: build it with operators or load it, then run or enqueue it.

    ::

        with Flow("rag") as flow:
            fetch >> split >> parallel(index, report)
        result = flow.run({"url": "…"})
    """

    _document: Document | None = None
    _paths: tuple[Path, ...] = ()
    _plan: Plan | None = None

    @classmethod
    def load(cls, definition: str | PathLike[str] | Mapping[str, Any]) -> "Flow":
        """Read a flow from a YAML or JSON file, or from a tree.

        Raises:
            DefinitionError: It cannot be read or has problems; shows all of them.
        """
        document = document_of(definition)
        flow = cls(check(document, resolve=False).definition.id)
        flow._document = document
        if not isinstance(definition, Mapping):
            flow._paths = (Path(definition).resolve().parent,)
        return flow

    @classmethod
    def deployed(cls, address: str, *, session: Session | None = None) -> "Flow":
        """Return a flow that was deployed, by ``name`` or ``name@version``.

        It runs as it is now; its definition is not kept, so it can be neither changed nor drawn.

        Raises:
            UsageError: None of that name is deployed.
        """
        refuse_in_loop("Flow.deployed()", "Flow.adeployed()")
        runtime = (session or default_session()).runtime
        found = find_flow(runtime.flows, address)
        flow = cls(found.name, version=found.version, description=found.description)
        flow._plan = runtime.store.get_plan(found.plan)
        flow._paths = tuple(map(Path, found.paths))
        return flow

    @classmethod
    async def adeployed(cls, address: str, *, session: Session | None = None) -> "Flow":
        """Return a flow that was deployed, without blocking."""
        return await in_thread(lambda: cls.deployed(address, session=session))

    def deploy(self, *, session: Session | None = None) -> DeployedFlow:
        """Keep the flow under its id and version, to be run by name.

        ``Flow.deployed``, schedules, sub-flows and ``flowcore run NAME`` find it there. Another
        flow of the same id and version is replaced; its runs go on as they began.

        Raises:
            DefinitionError: The flow has problems.
            StoreUnreachableError: Redis cannot be reached.
        """
        refuse_in_loop("flow.deploy()", "flow.adeploy()")
        return self._deploy(session)

    async def adeploy(self, *, session: Session | None = None) -> DeployedFlow:
        """Deploy without blocking."""
        return await in_thread(self._deploy, session)

    def _deploy(self, session: Session | None) -> DeployedFlow:
        session = session or default_session()
        return deploy_plan(session, self.plan(), self.description, paths=self._paths)

    def definition(self) -> dict[str, Any]:
        """The flow as a tree in the schema of the YAML form, whatever spelling it came in."""
        if self._document is None:
            return super().definition()
        tree = self._document.tree
        return deepcopy(dict(tree)) if isinstance(tree, Mapping) else {}

    def to_yaml(self) -> str:
        """The flow as a YAML text, from which ``Flow.load`` makes the same flow."""
        return to_yaml(self.document().tree)

    def document(self) -> Document:
        """Return the definition as a document, for ``check``."""
        if self._plan is not None:
            msg = f"flow {self.id!r} was deployed elsewhere: its definition is not kept"
            raise UsageError(msg)
        return self._document or load_tree(self.definition())

    def check(
        self, *, resolve: bool = False, live: bool = False, session: Session | None = None
    ) -> CheckedFlow:
        """Check every rule.

        Args:
            resolve: Also import what nodes use.
            live: Import nothing, and ask live workers: what none of them announces may not be
                named, and a queue that none serves is a problem. For definitions that come over
                the network.
            session: Whose workers; the process's default session when left out.

        Raises:
            DefinitionError: There are problems; shows all of them.
            ServiceError: No live worker could be asked.
        """
        if live:
            return check_live(self.document(), session or default_session())
        return check(self.document(), resolve=resolve)

    def plan(self) -> Plan:
        """Compile the flow.

        What a flow that was loaded from a file uses is imported for that, as ``flowcore run`` does,
        where it can be found here: its decorators are policies of the nodes.

        Raises:
            DefinitionError: There are problems; shows all of them.
        """
        if self._plan is not None:
            return self._plan
        return compile_plan(check_here(self.document()) if self._paths else self.check())

    def to_canvas(self, input: Any = None, *, session: Session | None = None) -> Canvas:
        """Return the same plan as a genuine Celery canvas, to embed in a canvas of your own."""
        session = session or default_session()
        return to_canvas(
            self.plan(),
            app=session.runtime.app,
            input=input,
            keys=session.runtime.keys,
            queue=session.runtime.queue,
        )

    def enqueue(
        self,
        input: Any = None,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 5,
        session: Session | None = None,
    ) -> Run:
        """Start a run and return its handle at once.

        Args:
            input: Plain data for the run.
            id: The run's id, if it should be idempotent: the same id twice gives the same run.
            tags: Words to find it by.
            priority: 0 to 9; above 5 its nodes go before those of other runs, below 5 after.
            session: Where; the process's default session when left out.

        Raises:
            DefinitionError: The flow has problems.
            UsageError: The id is that of a run of another flow or project, or is no id.
            StoreUnreachableError: Redis cannot be reached; nothing was started.
            StoreRefusedError: Redis does not let us in; nothing was started.
            StoreFullError: Redis has too little room for one more; nothing was started.
            BrokerUnreachableError: The broker does not answer; nothing was started.
        """
        refuse_in_loop("flow.enqueue()", "flow.aenqueue()")
        return self._enqueue(input, id, tags, priority, session)

    async def aenqueue(
        self,
        input: Any = None,
        *,
        id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 5,
        session: Session | None = None,
    ) -> Run:
        """Start a run without blocking."""
        return await in_thread(self._enqueue, input, id, tags, priority, session)

    def run(
        self,
        input: Any = None,
        *,
        timeout: float | None = None,
        callbacks: Sequence[Any] = (),
        **options: Any,
    ) -> ExecutionResult:
        """Run and wait for the end.

        Args:
            input: Plain data for the run.
            timeout: Seconds to wait; None: as long as it takes.
            callbacks: What hears of each event meanwhile, here: see ``Run.follow``.
            options: As for ``enqueue``.
        """
        refuse_in_loop("flow.run()", "flow.arun()")
        heard = list(map(find_callbacks, callbacks))
        run = self.enqueue(input, **options)
        if heard:
            run.follow(*heard, timeout=timeout)
        return run.wait(timeout)

    async def arun(
        self,
        input: Any = None,
        *,
        timeout: float | None = None,
        callbacks: Sequence[Any] = (),
        **options: Any,
    ) -> ExecutionResult:
        """Run and wait for the end without blocking."""
        heard = list(map(find_callbacks, callbacks))
        run = await self.aenqueue(input, **options)
        if heard:
            await run.afollow(*heard, timeout=timeout)
        return await run.await_end(timeout)

    def _enqueue(
        self,
        input: Any,
        id: str | None,
        tags: Sequence[str],
        priority: int,
        session: Session | None,
    ) -> Run:
        refuse_in_import()
        plan = self.plan()
        session = session or default_session()
        if session.embedded:
            session.ensure_workers(whole(plan, session).queues, paths=self._paths)
        run = start_run(session, plan, input, id=id, tags=tags, priority=priority)
        if not session.embedded and not session.has_workers:
            queue = session.runtime.queue
            session.runtime.peers.warn(
                plan, lambda: [queue(name) for name in whole(plan, session).queues]
            )
        return run
