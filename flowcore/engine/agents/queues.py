"""Names of the queues of agents.

In: the name of an agent. Out: the name of its queue. Not here: declaring it (celery.agents).
"""

__all__ = ["agent_queue"]


def agent_queue(agent: str, *, namespace: str) -> str:
    """Name the broker's queue of an agent."""
    return f"{namespace}.a2a.{agent}" if namespace else f"a2a.{agent}"
