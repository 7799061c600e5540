"""Result of a run, made of what is recorded.

In: a run's record, its plan, its outputs. Out: an ExecutionResult. Not here: waiting (run).
"""

from typing import Any

from flowcore.client.outputs import Outputs
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.run.record import RunRecord
from flowcore.run.status import RunState

__all__ = ["result_of"]


def result_of(
    record: RunRecord, plan: Plan, outputs: Outputs, *, now: float = 0.0
) -> ExecutionResult:
    """Make the result of a run.

    Args:
        record: The run.
        plan: Its plan.
        outputs: Its outputs, by node.
        now: Unix seconds; the end of a run that has not ended.
    """
    success = record.state is RunState.SUCCEEDED
    return ExecutionResult(
        success=success,
        output=_output(plan, outputs) if success else None,
        outputs=outputs,
        error=_sentence(record),
        duration=max(0.0, (record.finished or now) - (record.started or record.created)),
        run_id=record.id,
        state=record.state,
        nodes=record.nodes,
    )


def _output(plan: Plan, outputs: Outputs) -> Any:
    last = [plan.ids[node] for node in plan.sinks]
    return outputs.get(last[0]) if len(last) == 1 else outputs.only(last)


def _sentence(record: RunRecord) -> str | None:
    if record.state is RunState.CANCELLED:
        return "the run was cancelled"
    if record.state is RunState.SUCCEEDED:
        return None
    if record.error is None:
        over = record.state.is_terminal
        return "the run failed" if over else f"the run has not ended: it is {record.state}"
    where = f"node {record.error.node!r}: " if record.error.node else ""
    return f"{where}{record.error.type}: {record.error.message}"
