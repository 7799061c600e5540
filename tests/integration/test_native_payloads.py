"""Large values: one node gives, another reads, and nothing large goes through a script."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.client.outputs import Outputs
from flowcore.engine.values.output_batches import MOST_BYTES
from flowcore.errors import PayloadLostError, PayloadTooLargeError
from flowcore.run.reference import is_reference, read_reference
from tests.engine import Engine, poll, running_engine
from tests.metering import metered
from tests.services import running_valkey

BLOCK = "engine_nodes:block"
HASH = "engine_nodes:hash_of"
MEGABYTE = 1_000_000


def _block(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def _sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def _give_and_read(size: int = MEGABYTE) -> dict[str, Any]:
    return {
        "give": {"uses": BLOCK, "with": {"size": size}},
        "read": {"uses": HASH, "needs": ["give"]},
    }


@pytest.fixture(params=["files", "redis"])
def storing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine for each place, which forgets runs three seconds after their end."""
    place = {"files": (tmp_path / "payloads").as_uri(), "redis": "redis"}[request.param]
    with (
        running_valkey() as url,
        running_engine(
            url, tmp_path, payloads=place, retention="3", max_output="2000000"
        ) as engine,
    ):
        engine.workers()
        yield engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine with files, that keeps what it did."""
    home = tmp_path_factory.mktemp("payloads")
    with (
        running_valkey() as url,
        running_engine(url, home, payloads=(home / "payloads").as_uri()) as engine,
    ):
        engine.workers()
        yield engine


def _record(engine: Engine, run: str) -> dict[int, bytes]:
    return dict(engine.session.runtime.reader.outputs(run))


def _files(engine: Engine) -> list[Path]:
    return [path for path in (engine.home / "payloads").glob("*/*") if path.is_file()]


def test_a_large_output_is_read_by_another_node_and_goes_with_its_run(storing: Engine) -> None:
    client: Any = storing.session.runtime.store.client
    result = storing.run(_give_and_read())
    assert result.success, result.error
    assert result.output == {"sha256": _sha256(_block(MEGABYTE)), "bytes": MEGABYTE}
    assert result.outputs["give"] == _block(MEGABYTE)

    def left() -> list[Any]:
        return [*client.keys("fc:{*}:pl:*"), *_files(storing), *client.keys("fc:payloads*")]

    assert left()
    poll(lambda: not left(), what="the payload to be removed with its run")
    assert not list(storing.home.glob("payloads/*"))


def test_the_record_holds_a_reference_and_the_store_the_bytes(engine: Engine) -> None:
    handle = engine.start(_give_and_read())
    assert handle.wait(60).success
    blob = _record(engine, handle.id)[0]
    assert is_reference(blob)
    assert len(blob) < 400
    reference = read_reference(blob)
    assert reference is not None
    assert reference.place == (engine.home / "payloads").as_uri()
    file = engine.home / "payloads" / reference.space / reference.digest
    assert _sha256(file.read_bytes()) == reference.digest


def test_a_large_input_takes_the_same_way(engine: Engine) -> None:
    data = {"value": _block(MEGABYTE, seed=1)}
    handle = engine.start({"read": {"uses": HASH}}, data)
    result = handle.wait(60)
    assert result.output == {"sha256": _sha256(data["value"]), "bytes": MEGABYTE}
    assert is_reference(engine.session.runtime.reader.input(handle.id))
    assert handle.input() == data


def test_who_waits_for_a_run_fetches_no_output_but_the_last(engine: Engine) -> None:
    result = engine.run(_give_and_read())
    assert isinstance(result.outputs, Outputs)
    assert "'give': <payload of 1,000,005 bytes>" in repr(result.outputs)


def test_a_run_whose_output_is_lost_says_so_where_it_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    nodes = {
        **_give_and_read(),
        "hold": {"uses": "engine_nodes:wait_for", "with": {"path": str(go)}, "needs": ["give"]},
    }
    nodes["read"]["needs"].append("hold")
    handle = engine.start(nodes)
    reference = read_reference(poll(lambda: _record(engine, handle.id).get(0), what="the output"))
    assert reference is not None
    (engine.home / "payloads" / reference.space / reference.digest).unlink()
    go.write_text("go")
    result = handle.wait(60)
    assert not result.success
    assert result.error is not None
    assert result.error.startswith(
        f"node 'read': PayloadLostError: the output of node 'give' (1,000,005 bytes, sha256 "
        f"{reference.digest[:12]}…) is lost: "
    )
    assert "Run again" in result.error
    assert result.nodes["read"].error is not None
    assert result.nodes["read"].error.code == "FC509"
    with pytest.raises(PayloadLostError):
        result.outputs["give"]


def test_a_damaged_payload_fails_the_node_that_reads_it(engine: Engine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    nodes = {
        **_give_and_read(),
        "hold": {"uses": "engine_nodes:wait_for", "with": {"path": str(go)}, "needs": ["give"]},
    }
    nodes["read"]["needs"].append("hold")
    handle = engine.start(nodes)
    reference = read_reference(poll(lambda: _record(engine, handle.id).get(0), what="the output"))
    assert reference is not None
    file = engine.home / "payloads" / reference.space / reference.digest
    file.write_bytes(bytes([file.read_bytes()[0]]) + bytes(reference.size - 1))
    go.write_text("go")
    error = handle.wait(60).error or ""
    assert "PayloadLostError: the output of node 'give'" in error
    assert "is damaged in file://" in error


def test_above_the_hard_limit_the_error_names_node_and_size(storing: Engine) -> None:
    result = storing.run({"huge": {"uses": BLOCK, "with": {"size": 2_000_001}}})
    assert result.error == (
        "node 'huge': PayloadTooLargeError: the output of node 'huge' is 2,000,006 bytes; the "
        "limit is 2,000,000 (FLOWCORE_MAX_OUTPUT): return a path or a key instead"
    )
    with pytest.raises(PayloadTooLargeError, match="the input is 2,000,"):
        storing.start({"read": {"uses": HASH}}, {"value": _block(2_000_001)})


def test_a_store_that_cannot_be_written_fails_the_node_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, payloads=(tmp_path / "file").as_uri()) as engine,
    ):
        engine.workers()
        error = engine.run(_give_and_read()).error or ""
        assert "the output of node 'give' (1,000,005 bytes) was not kept: cannot write to" in error
        assert "FLOWCORE_PAYLOADS names where payloads go" in error


@pytest.mark.parametrize("threshold", [262_144, 50_000], ids=["in the record", "as payloads"])
def test_a_wide_join_of_large_outputs_passes_through_no_large_message(
    tmp_path: Path, threshold: int
) -> None:
    """20 MB: each output below the threshold and so in the record, or above it and in Redis."""
    width, size = 200, 100_000
    nodes: dict[str, Any] = {
        f"n{i}": {"uses": BLOCK, "with": {"size": size, "seed": i}} for i in range(width)
    }
    nodes["all"] = {"uses": "engine_nodes:hash_of_all", "needs": list(nodes)}
    with (
        running_valkey() as url,
        metered(url) as meter,
        running_engine(meter.url, tmp_path, payload_threshold=str(threshold)) as engine,
    ):
        engine.workers()
        result = engine.run(nodes)
        whole = hashlib.sha256()
        for seed in range(width):
            whole.update(result.outputs[f"n{seed}"])
            assert result.outputs[f"n{seed}"] == _block(size, seed)
    assert result.success, result.error
    assert result.output["sha256"] == whole.hexdigest()
    assert result.output["count"] == width
    assert size < meter.answer < MOST_BYTES + 100_000
    assert size < meter.request < 1_500_000, "a step of a unit takes about 1 MiB"
