"""``flowcore doctor`` says whether the data directory can be written, by trying it."""

import errno
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.settings import Settings
from flowcore.cli.commands.doctor_home import check_home
from flowcore.cli.main import main


def _judged(home: str | Path) -> str:
    return check_home(Settings.from_env({"FLOWCORE_HOME": str(home), "HOME": "/"})).status


def test_a_home_that_can_be_written_is_ok_and_stays_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "not" / "made"
    assert _judged(home) == "ok"
    assert list(tmp_path.iterdir()) == []
    home.mkdir(parents=True, mode=0o700)
    (home / "valkey").mkdir()
    assert _judged(home) == "ok"
    assert list((home / "valkey").iterdir()) == []
    home.chmod(0o755)
    assert _judged(home) == "warn"


def test_a_home_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "valkey").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for home in ("/proc/flowcore", "/dev/null/x", tmp_path / "file" / "x", tmp_path / "home"):
        assert _judged(home) == "fail", home
    assert _judged(tmp_path / "loop" / "x") == "fail"


@pytest.mark.parametrize("why", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
def test_a_file_system_that_takes_nothing_fails_with_its_reason(
    why: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(why, "it takes nothing")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    found = check_home(Settings.from_env({"FLOWCORE_HOME": str(tmp_path)}))
    assert (found.status, "it takes nothing" in found.found) == ("fail", True)
    assert "FLOWCORE_HOME" in found.fix


def test_doctor_fails_of_it_though_a_server_of_ones_own_answers(
    valkey_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWCORE_HOME", "/proc/flowcore")
    monkeypatch.setenv("FLOWCORE_REDIS_URL", valkey_server)
    assert main(["doctor", "-o", "json"]) == 1
    rows = {row["check"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["data directory"]["status"] == "fail"
