"""A store that refuses writes for a while must not be taken for a node that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, lease="1.0", heartbeat="0.25", dispatch_lease="1.0") as made,
    ):
        yield made


def test_an_emit_while_the_server_is_full_does_not_fail_the_node(
    engine: Engine, tmp_path: Path
) -> None:
    engine.workers()
    go, mark = tmp_path / "go", tmp_path / "mark"
    given = {"path": str(go), "mark": str(mark)}
    handle = engine.start({"told": {"uses": "engine_nodes:tell_after", "with": given}})
    poll(mark.exists, what="the node to run")
    redis = engine.session.runtime.store.client
    redis.config_set("maxmemory", 2**20)
    go.touch()
    refusals = "errorstat_OOM"
    poll(lambda: refusals in redis.info("errorstats"), what="the server to refuse a write")
    redis.config_set("maxmemory", 0)
    result = handle.wait(60)
    assert result.success, result.error
