"""Deployed flows; one suite for both implementations."""

import pytest
import redis

from flowcore.ports.flows import DeployedFlow, FlowRegistry
from flowcore.ports.store import RunStore
from flowcore.stores.inmemory.flows import InMemoryFlows
from flowcore.stores.inmemory.runs.store import InMemoryStore
from flowcore.stores.redis.flows import RedisFlows
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore
from tests.contract.harness import make_plan

ONE, TWO = make_plan([[]]), make_plan([[], [0]])


@pytest.fixture(params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)])
def both(request: pytest.FixtureRequest) -> tuple[FlowRegistry, RunStore]:
    if request.param == "redis":
        client = request.getfixturevalue("redis_client")
        return RedisFlows(client, namespace="here"), RedisStore(client, leases=Leases())
    store = InMemoryStore()
    return InMemoryFlows(store), store


def _flow(version: str = "1", plan: str = ONE.hash, at: float = 1.0) -> DeployedFlow:
    return DeployedFlow(
        name="etl", version=version, plan=plan, deployed=at, nodes=1, paths=("/a", "/b")
    )


def test_what_was_deployed_is_found_by_its_name_and_version(
    both: tuple[FlowRegistry, RunStore],
) -> None:
    flows, store = both
    store.put_plan(ONE)
    assert flows.find("etl") is None
    assert flows.deploy(_flow())
    assert flows.find("etl") == flows.find("etl", "1") == _flow()
    assert flows.find("etl", "2") is None
    assert flows.find("other") is None


def test_without_a_version_the_one_deployed_last_is_found(
    both: tuple[FlowRegistry, RunStore],
) -> None:
    flows, store = both
    store.put_plan(ONE)
    for version, at in (("1", 5.0), ("2", 9.0), ("3", 7.0)):
        flows.deploy(_flow(version, at=at))
    assert [flow.version for flow in flows.flows()] == ["2", "3", "1"]
    found = flows.find("etl")
    assert found is not None
    assert found.version == "2"


def test_the_same_plan_once_more_is_no_news_and_another_one_is(
    both: tuple[FlowRegistry, RunStore],
) -> None:
    flows, store = both
    store.put_plan(ONE)
    store.put_plan(TWO)
    assert flows.deploy(_flow())
    assert not flows.deploy(_flow())
    assert flows.deploy(_flow(plan=TWO.hash))
    found = flows.find("etl", "1")
    assert found is not None
    assert found.plan == TWO.hash


def test_a_flow_whose_plan_is_nowhere_is_refused(both: tuple[FlowRegistry, RunStore]) -> None:
    with pytest.raises(KeyError):
        both[0].deploy(_flow())


def test_what_is_removed_is_gone(both: tuple[FlowRegistry, RunStore]) -> None:
    flows, store = both
    store.put_plan(ONE)
    flows.deploy(_flow())
    assert flows.remove("etl", "1")
    assert not flows.remove("etl", "1")
    assert flows.find("etl") is None


@pytest.mark.integration
def test_a_plan_is_kept_for_as_long_as_it_is_deployed_and_an_hour_more(
    redis_client: "redis.Redis",
) -> None:
    flows, store = RedisFlows(redis_client), RedisStore(redis_client, leases=Leases())
    store.put_plan(ONE)
    store.put_plan(TWO)
    flows.deploy(_flow())
    flows.deploy(_flow("2"))
    assert redis_client.pttl(f"fc:plan:{ONE.hash}") == -1
    flows.deploy(_flow("2", plan=TWO.hash))
    assert redis_client.pttl(f"fc:plan:{ONE.hash}") == -1
    flows.remove("etl", "1")
    assert 0 < redis_client.pttl(f"fc:plan:{ONE.hash}") <= 3_600_000
    assert redis_client.pttl(f"fc:plan:{TWO.hash}") == -1
