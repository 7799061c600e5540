"""The short campaign of faults, as ``make faults`` runs it, and a look at its parts."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.schedule import KINDS, schedule

ROOT = Path(__file__).parents[2]

LAST_LINE = re.compile(
    r"(\d+) runs, 20 faults: 0 lost, 0 stuck, 0 wrong, 0 orphan keys; "
    r"recovery p50 [\d.]+ s, p99 [\d.]+ s"
)


def test_a_campaign_of_twenty_faults_has_every_family_of_the_matrix() -> None:
    for seed in range(20):
        kinds = schedule(seed, 20)
        assert {kind.family for kind in kinds} == {f"F{number}" for number in range(1, 13)}
        assert schedule(seed, 20) == kinds
        assert set(schedule(seed, len(KINDS))) == set(KINDS)


@pytest.mark.acceptance
@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_runs_survive_twenty_faults_and_the_control_does_not(tmp_path: Path) -> None:
    campaign = [sys.executable, "-m", "tests.faults", "--runs", "100", "--faults", "20"]
    done = subprocess.run(
        [*campaign, "--freeze", "3", "--report", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    told = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, told
    found = LAST_LINE.fullmatch(done.stdout.strip().splitlines()[-1])
    assert found, told
    assert int(found[1]) >= 100
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert all(fault["proof"] for fault in report["campaign"]["faults"])
    assert report["control"]["stuck"]
