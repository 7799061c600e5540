"""A look at the modules of a worker, in a process of its own: they are a user's code.

In: names of modules. Out: an error if a worker could not import them, or host the agents in them.
Not here: hosting them (agent_process).

The process that keeps a worker imports none of them: what a module does while it is imported, such
as blocking signals, starting threads or never coming back, would be done to that process.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowcore.celery.agents.services import import_module, load_agents
from flowcore.errors import UsageError

__all__ = ["check_imports", "main"]

_READ = 65536
_GOOD = "good"


def check_imports(nodes: Sequence[str], agents: Sequence[str]) -> None:
    """Try whether these modules can be imported.

    Args:
        nodes: Modules of nodes.
        agents: Modules of agents.

    Raises:
        UsageError: One cannot be imported or has no agents, or two agents have one name.
    """
    modules = [*nodes, *agents]
    if not modules:
        return
    read, write = os.pipe()
    search = [str(Path.cwd()), *filter(None, sys.path)]
    with os.fdopen(read, "rb") as answer:
        child = subprocess.Popen(  # noqa: S603  (this very Python)
            [
                sys.executable,
                "-m",
                "flowcore.assembly.import_check",
                str(write),
                str(len(nodes)),
                *modules,
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(search))},
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[write],
        )
        os.close(write)
        try:
            status = child.wait()
        finally:
            child.kill()
        # What a module has left behind may still hold the pipe: its end is not waited for.
        os.set_blocking(read, False)
        said = (answer.read(_READ) or b"").decode("utf-8", "replace")
    if not said:
        raise UsageError(f"the import of {', '.join(modules)} ends Python: exit status {status}")
    if said != _GOOD:
        raise UsageError(said)


def main(argv: Sequence[str]) -> None:
    """Import modules; write what is wrong with them, if anything, and end."""
    fd = int(argv[0])
    os.set_inheritable(fd, False)  # noqa: FBT003  (it takes no keyword)
    count, *modules = argv[1:]
    nodes, agents = modules[: int(count)], modules[int(count) :]
    said = _GOOD
    try:
        for name in nodes:
            import_module(name, "nodes")
        load_agents(agents)
    except UsageError as error:
        said = str(error)
    with contextlib.suppress(OSError):  # one of them may have closed it
        os.write(fd, said.encode("utf-8", "replace")[:_READ])
    os._exit(0)  # threads of theirs would keep it


if __name__ == "__main__":
    main(sys.argv[1:])
