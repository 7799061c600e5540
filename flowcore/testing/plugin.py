"""The pytest plugin: fixtures, found by every pytest that has flowcore installed.

In: a test that asks. Out: ``flows``, a runner in this process; ``flow_session``, real workers.
Nothing is imported before a test asks.
"""

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

__all__ = ["flow_session", "flows", "pytest_runtest_makereport"]

_FLOWS: pytest.StashKey[Any] = pytest.StashKey()


@pytest.fixture
def flows(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Run flows in this process, in virtual time: a ``flowcore.testing.Flows``."""
    from flowcore.testing.flows import Flows  # noqa: PLC0415  (see the module's docstring)

    with Flows() as found:
        request.node.stash[_FLOWS] = found
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the runs of a test that fails, with the tracebacks of their nodes."""
    report = yield
    found = item.stash.get(_FLOWS, None)
    if found is not None and report.failed and call.when == "call" and (told := found.report()):
        report.sections.append(("flowcore runs", told))
    return report


@pytest.fixture(scope="session")
def flow_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Open a ``Session`` on a server of its own; local workers start with the first run."""
    from flowcore import Session  # noqa: PLC0415
    from flowcore.assembly.settings import Settings  # noqa: PLC0415

    home = tmp_path_factory.mktemp("flowcore")
    environ = {"FLOWCORE_HOME": str(home)}
    settings = Settings.from_env({**_own(), **environ})
    with Session(settings, environ=environ) as session:
        yield session


def _own() -> dict[str, str]:
    """The settings of this process, but for where runs live: a test writes nowhere else."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("FLOWCORE_")}
    return {name: value for name, value in ours.items() if not name.endswith("_URL")}
