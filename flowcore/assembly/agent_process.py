"""The process that keeps those of agents: ``python -m flowcore.assembly.agent_process``.

In: a worker's settings, in the environment, and what to host, as JSON in one argument. Out: the
supervisor of the processes that host it. Not here: who starts this one (agent_launch).
"""

import json
import os
import sys
from typing import Any

from flowcore.assembly.node_processes import node_role
from flowcore.assembly.runtime import build_runtime
from flowcore.assembly.settings import Settings
from flowcore.celery.agents.agent_watch import AgentRole
from flowcore.celery.agents.services import HostedWork
from flowcore.celery.agents.supervisor import Role, Supervisor

__all__ = ["main"]


def main(argument: str) -> int:
    """Be that process; return its exit status."""
    given: dict[str, Any] = json.loads(argument)
    parent_fd, ready_fd = given.pop("parent_fd"), given.pop("ready_fd")
    for fd in (parent_fd, ready_fd):
        os.set_inheritable(fd, False)  # noqa: FBT003  (it takes no keyword)
    work = HostedWork(**given)
    settings = Settings.from_env()
    url = settings.redis_url or ""
    watching = build_runtime(settings, url)
    # Never used in this process: what it forks finds it as it was made.
    inside = build_runtime(settings, url)
    inside.app.log.setup(
        loglevel=work.log_level,
        logfile=work.log_file,
        redirect_stdouts=False,
        colorize=False,
        hostname=work.worker,
    )
    roles: list[Role] = []
    if work.modules:
        roles.append(AgentRole(watching.agents, lambda: (inside.app, inside.agents), work.note))
    roles += [node_role(queue, work, watching=watching, inside=inside) for queue in work.queues]
    return Supervisor(roles, parent_fd=parent_fd, ready_fd=ready_fd).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
