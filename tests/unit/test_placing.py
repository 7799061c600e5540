"""Which server a run goes to: evenly, and the same one whoever asks."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.errors import ServiceError, StoreUnreachableError
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.connection.health import Health
from flowcore.stores.redis.connection.placement import Placement, home_of, server_name
from tests.engine import poll

NAMES = [f"redis-{at}:6379/0" for at in range(8)]
RUNS = [f"orders-{number}" for number in range(10_000)]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_runs_are_shared_out_evenly(count: int) -> None:
    shares = Counter(home_of(run, NAMES[:count]) for run in RUNS)
    assert set(shares) == set(range(count))
    # Five standard deviations of a fair draw.
    fair = len(RUNS) / count
    assert all(abs(share - fair) < 5 * fair**0.5 for share in shares.values())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_server_that_is_added_moves_only_its_own_share(count: int) -> None:
    before, after = NAMES[:count], NAMES[: count + 1]
    moved = [run for run in RUNS if home_of(run, before) != home_of(run, after)]
    assert {home_of(run, after) for run in moved} == {count}
    assert len(moved) < 1.2 * len(RUNS) / (count + 1)


@given(st.text(min_size=1), st.permutations(range(4)))
def test_the_order_of_the_list_does_not_matter(run: str, order: list[int]) -> None:
    shuffled = [NAMES[at] for at in order]
    assert shuffled[home_of(run, shuffled)] == NAMES[home_of(run, NAMES[:4])]


def test_homes_are_the_same_in_every_release() -> None:
    assert [home_of(f"run-{number}", NAMES[:3]) for number in range(12)] == HOMES


HOMES = [2, 1, 2, 2, 1, 2, 1, 1, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://Cache", "cache:6379/0"),
        ("redis://ann:secret@cache:6380/2", "cache:6380/2"),
        ("rediss://cache/", "cache:6379/0"),
        ("unix:///run/a.sock", "/run/a.sock"),
        ("unix://:secret@/run/a.sock?db=1", "/run/a.sock?db=1"),
    ],
)
def test_a_server_is_named_by_its_place_and_not_by_its_password(url: str, name: str) -> None:
    assert server_name(url) == name


class Servers:
    """Sets of runs, some of them out of reach."""

    def __init__(self, *runs: set[str]) -> None:
        self.runs = runs
        self.down: set[int] = set()
        self.asked: list[int] = []
        self.health = Health([f"server-{at}" for at in range(len(runs))])
        self.placement = Placement(self.health, [self._holder(at) for at in range(len(runs))])

    def _holder(self, at: int) -> Callable[[str], bool]:
        def holds(run: str) -> bool:
            self.asked.append(at)
            if at in self.down:
                msg = "gone"
                raise StoreUnreachableError(msg)
            return run in self.runs[at]

        return holds

    def find(self, run: str) -> int | None:
        """Ask for the run; say where it was found."""

        def look(at: int) -> int | None:
            return at if self._holder(at)(run) else None

        return self.placement.ask(run, look, lambda found: found is None)


def _stray(count: int, home: int) -> str:
    names = [f"server-{at}" for at in range(count)]
    return next(run for run in RUNS if home_of(run, names) == home)


def test_a_run_that_is_not_at_home_is_found_and_remembered() -> None:
    run = _stray(3, home=0)
    servers = Servers(set(), set(), {run})
    assert servers.find(run) == 2
    servers.asked.clear()
    assert servers.find(run) == 2
    assert servers.asked == [2]
    assert servers.placement.locate(run) == 2


def test_a_run_that_went_away_and_came_back_elsewhere_is_found_again() -> None:
    run = _stray(2, home=0)
    servers = Servers(set(), {run})
    assert servers.find(run) == 1
    servers.runs[1].clear()
    servers.runs[0].add(run)
    assert servers.find(run) == 0


def test_a_run_that_nobody_has_is_looked_for_everywhere_and_not_remembered() -> None:
    servers = Servers(set(), set())
    run = _stray(2, home=1)
    assert servers.find(run) is None
    assert set(servers.asked) == {0, 1}
    servers.runs[0].add(run)
    assert servers.find(run) == 0


def test_a_run_of_an_old_list_is_found_though_its_new_home_is_down() -> None:
    run = _stray(2, home=0)
    servers = Servers(set(), {run})
    servers.down.add(0)
    assert servers.find(run) == 1
    assert servers.placement.locate(run) == 1


def test_a_run_whose_server_is_down_is_not_said_to_be_unknown() -> None:
    run = _stray(2, home=0)
    servers = Servers({run}, set())
    servers.down.add(0)
    for _ in range(2):
        with pytest.raises(StoreUnreachableError):
            servers.find(run)
    with pytest.raises(StoreUnreachableError):
        servers.placement.locate(run)


def test_trouble_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(["a", "b"])
    for _ in range(5):
        health.failed(1, "no answer")
    health.answered(0)
    health.answered(1)
    health.answered(1)
    assert [record.message for record in caplog.records] == [
        "b: no answer; runs on the other servers continue",
        "b answers again",
    ]
    assert not health.is_down(1)


def test_a_round_goes_on_without_a_server_that_hangs_and_hears_it_later() -> None:
    health = Health(["a", "b"])
    fanout: Fanout[str] = Fanout(health, patience=0.2)
    open_again = threading.Event()

    def hang() -> str:
        open_again.wait(30)
        return "late"

    assert fanout.ask({0: lambda: "first", 1: hang}) == {0: "first"}
    assert health.is_down(1)
    assert fanout.ask({0: lambda: "second", 1: lambda: "not asked"}) == {0: "second"}
    open_again.set()
    answers = poll(lambda: fanout.ask({0: lambda: "third"}).get(1), what="the late answer")
    assert answers == "late"
    assert not health.is_down(1)


def test_a_round_fails_only_when_every_server_does() -> None:
    def refuse() -> str:
        msg = "OOM"
        raise ServiceError(msg)

    fanout: Fanout[str] = Fanout(Health(["a", "b"]), patience=30)
    assert fanout.ask({0: refuse, 1: lambda: "here"}) == {1: "here"}
    with pytest.raises(ServiceError, match="OOM"):
        fanout.ask({0: refuse, 1: refuse})


def test_a_failure_of_an_earlier_round_is_none_of_now() -> None:
    """A server that is back would be spared for its failure of long ago."""
    health = Health(["a", "b"])
    fanout: Fanout[str] = Fanout(health, patience=0.05)
    go_on = threading.Event()

    def fail() -> str:
        go_on.wait(30)
        raise StoreUnreachableError("gone")

    assert fanout.ask({0: lambda: "a", 1: fail}) == {0: "a"}
    failed = fanout._lanes[1].pending
    assert failed is not None
    go_on.set()
    with pytest.raises(StoreUnreachableError):
        failed.result(30)
    health.answered(1)
    patient: Fanout[str] = fanout
    patient._patience = 30
    assert patient.ask({0: lambda: "a", 1: lambda: "b"}) == {0: "a", 1: "b"}
    assert not health.is_down(1)
