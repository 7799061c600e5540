"""The embedded server ends by itself when its last user was killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flowcore.assembly.embedded import EmbeddedServer
from tests.engine import poll

pytestmark = pytest.mark.integration

USER = """
import sys
from pathlib import Path
from flowcore.assembly.embedded import EmbeddedServer
server = EmbeddedServer.join(home=Path(sys.argv[1]), timeout=30)
print(server.pid, flush=True)
sys.stdin.read()
"""


def _of(home: Path, word: str) -> list[psutil.Process]:
    """The processes of this home whose command line has a word."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if any(word in part for part in line) and any(str(home) in part for part in line):
            found.append(process)
    return found


def _keepers(home: Path) -> list[psutil.Process]:
    return _of(home, "server_keeper.py")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = (tmp_path / "home").resolve()
    yield home
    left = _of(home, "valkey-server")
    for process in left:
        process.kill()
    assert left == []
    poll(lambda: not _keepers(home), what="the keeper to end")


def _killed_user(home: Path) -> int:
    """Join in another process and kill it; the server's pid."""
    user = subprocess.Popen(
        [sys.executable, "-c", USER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert user.stdout
    pid = int(user.stdout.readline())
    user.send_signal(signal.SIGKILL)
    user.communicate(timeout=30)
    return pid


def test_a_server_whose_last_user_was_killed_ends_by_itself(home: Path) -> None:
    pid = _killed_user(home)
    assert _of(home, "valkey-server"), "it is there for a while: workers may hand back what they do"
    poll(lambda: not _of(home, "valkey-server"), what="the server to end")
    log = (home / "valkey" / "valkey.log").read_text()
    assert "User requested shutdown" in log, "it ended cleanly"
    with EmbeddedServer.join(home=home) as server:
        assert server.pid != pid


def test_who_joins_in_time_keeps_the_server_and_its_one_keeper(home: Path) -> None:
    pid = _killed_user(home)
    with EmbeddedServer.join(home=home) as server:
        assert server.pid == pid
        (keeper,) = _keepers(home)
        keeper.suspend()
    assert not _of(home, "valkey-server"), "whoever leaves last stops the server without it"
    with EmbeddedServer.join(home=home):
        keeper.resume()
        poll(lambda: len(_keepers(home)) == 1, what="one keeper to be left")
        assert _of(home, "valkey-server")
