"""One mechanism renews what a fork copies."""

import re
from pathlib import Path

import flowcore

PACKAGE = Path(flowcore.__file__).parent

#: Who has to do something before a fork, too: descriptors that are being opened, signals.
HOOKS = {"forks.py", "assembly/process_lifetime.py", "celery/fork_safety.py"}

#: Whose process it is that owns something outside, which a child must not end; or leads a group.
OWNERS = {
    "assembly/embedded.py",
    "assembly/process_lifetime.py",
    "assembly/worker_names.py",
    "celery/monitoring/worker_info.py",
}


def _that_say(pattern: str) -> set[str]:
    found = re.compile(pattern)
    files = (path for path in PACKAGE.rglob("*.py") if found.search(path.read_text("utf-8")))
    return {path.relative_to(PACKAGE).as_posix() for path in files}


def test_only_the_one_mechanism_hears_of_forks() -> None:
    assert _that_say(r"register_at_fork|worker_process_init\.connect\(bridge\.forget") == HOOKS


def test_nothing_else_tells_processes_apart_to_renew_itself() -> None:
    assert _that_say(r"(!=|==) os\.getpid\(\)|os\.getpid\(\) (!=|==)") == OWNERS
