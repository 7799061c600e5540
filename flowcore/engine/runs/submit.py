"""DISPATCH: create a run and ring for its starts.

In: a plan, an input, an id. Out: the run exists and its first group is on its way.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from flowcore.engine.runs.granularity import DurationEstimates
from flowcore.engine.runs.inputs import accept_input
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import UsageError
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import NewRun, RunStore, SubmitResult
from flowcore.run.record import Origin, Parent
from flowcore.run.values import DEEPEST, plain_value
from flowcore.run.wire import COMBINED

__all__ = ["new_run_id", "submit"]

#: The largest priority of a run.
MOST_URGENT = 9

#: So many starts travel one in a message: nothing is known of how long they take.
_FEW = 16

_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,119}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_run_id(flow: str) -> str:
    """Make an id that people can read out: the flow's name and 50 random bits."""
    return f"{flow[:60]}-{''.join(secrets.choice(_ALPHABET) for _ in range(10))}"


def submit(  # noqa: PLR0913  (what a run is made of)
    store: RunStore,
    dispatcher: Dispatcher,
    plan: Plan,
    *,
    input: Any = None,
    run_id: str | None = None,
    tags: Sequence[str] = (),
    namespace: str = "",
    priority: int = 5,
    payloads: Payloads | None = None,
    slots: Callable[[], int] | None = None,
    origin: Origin | None = None,
    parent: Parent | None = None,
) -> tuple[str, SubmitResult]:
    """Create a run, or find the one that has this id already.

    Args:
        store: The run store.
        dispatcher: Rings for the starts.
        plan: What to run.
        input: Plain data.
        run_id: The id to give it; None makes one.
        tags: For finding it again, beside those of its flow.
        namespace: Prefix of its queues.
        priority: 0 to 9, 5 being normal.
        slots: How many nodes the workers can run at a time; None: no start may travel together
            with others.
        payloads: Keeps a large input elsewhere.
        origin: A run of the same plan to take over from what need not run again.
        parent: The attempt of a node that starts it, and gives it its id.

    Raises:
        UsageError: The id has characters that a run id cannot have, or the input is not what the
            flow declares.
        UnsupportedValueError: The input is not plain data.
        KeyError: There is no run of that origin.
        OrphanError: The attempt of the parent is not running any longer.
        PayloadTooLargeError: The input is larger than an output may be.
    """
    fresh = run_id is None
    run_id = new_run_id(plan.flow) if run_id is None else run_id
    if parent is None and not _RUN_ID.fullmatch(run_id):
        msg = (
            f"a run id is 1 to 120 letters, digits and any of _ . : - and starts with a letter, "
            f"a digit or _, got {run_id!r}"
        )
        raise UsageError(msg)
    if type(priority) is not int or not 0 <= priority <= MOST_URGENT:
        msg = (
            f"a priority is a whole number from 0 to {MOST_URGENT}, 5 being normal, "
            f"got {priority!r}"
        )
        raise UsageError(msg)
    if plan.inputs:
        # What is declared of an input is said of what it becomes: of the text of a date.
        input = plain_value(input, what="input", deepest=COMBINED)
    input = accept_input(plan.inputs, input)
    payloads = payloads or Payloads()
    # What the engine gives to a run inside holds values of nodes, in lists and maps of its own.
    deepest = COMBINED if parent is not None else DEEPEST
    run = NewRun(
        id=run_id,
        plan=plan.hash,
        input=payloads.pack(
            {} if input is None else input, run=run_id, what="input", deepest=deepest
        ),
        namespace=namespace,
        priority=priority,
        tags=tuple(dict.fromkeys((*plan.tags, *tags))),
        origin=origin,
        parent=parent,
        fresh=fresh,
    )
    store.put_plan(plan)
    grain = None
    if slots is not None and len(plan.starts) > _FEW:
        grain = DurationEstimates().grain(plan, queue=None, slots=slots())
    submitted = store.submit(run, plan, grain=grain)
    payloads.created(run_id, run.input)
    if submitted.dispatch is not None:
        dispatcher.publish(submitted.dispatch, plan)
    return run_id, submitted
