"""Every payload store keeps payloads whole and apart, and removes a space and nothing else."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore.errors import PayloadStoreError, StoreUnreachableError
from flowcore.ports.payloads import PayloadStore
from flowcore.run.reference import Reference
from flowcore.stores.files import FilePayloads
from flowcore.stores.objects import ObjectPayloads
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.payloads import CHUNK, RedisPayloads

SPACE = "order-42.0123456789abcdef"
OTHER = "order-42.fedcba9876543210"
LARGE = os.urandom(10 * CHUNK + 7)


def _files(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    return FilePayloads(tmp_path / "payloads")


def _memory(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    return ObjectPayloads(f"memory://{tmp_path.name}/payloads/")


def _local(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    return ObjectPayloads((tmp_path / "payloads").as_uri())


def _redis(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    return RedisPayloads(request.getfixturevalue("redis_client"))


@pytest.fixture(
    params=[
        pytest.param(_files, id="files"),
        pytest.param(_memory, id="fsspec-memory"),
        pytest.param(_local, id="fsspec-file"),
        pytest.param(_redis, id="redis", marks=pytest.mark.integration),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> PayloadStore:
    make: Callable[[pytest.FixtureRequest, Path], PayloadStore] = request.param
    return make(request, tmp_path)


def _reference(payload: bytes, space: str = SPACE) -> Reference:
    digest = hashlib.sha256(payload).hexdigest()
    return Reference(space=space, digest=digest, size=len(payload), place="here")


@pytest.mark.parametrize(
    "payload",
    [b"\xc0", b"x" * CHUNK, b"x" * (CHUNK + 1), LARGE],
    ids=["a byte", "a chunk", "a chunk and a byte", "many chunks"],
)
def test_a_payload_comes_back_as_it_was_put(store: PayloadStore, payload: bytes) -> None:
    reference = _reference(payload)
    store.put(reference, payload)
    assert store.get(reference) == payload
    store.put(reference, payload)
    assert store.get(reference) == payload


def test_what_was_never_put_is_not_there(store: PayloadStore) -> None:
    assert store.get(_reference(b"never")) is None
    store.put(_reference(b"something"), b"something")
    assert store.get(_reference(b"never")) is None


def test_a_space_is_removed_whole_and_alone(store: PayloadStore) -> None:
    same, more = b"the same in both", b"more"
    for payload, space in ((same, SPACE), (more, SPACE), (same, OTHER)):
        store.put(_reference(payload, space), payload)
    assert store.get(_reference(more, OTHER)) is None
    store.remove(SPACE)
    assert store.get(_reference(same)) is None
    assert store.get(_reference(more)) is None
    assert store.get(_reference(same, OTHER)) == same


def test_removing_again_or_what_was_never_there_does_nothing(store: PayloadStore) -> None:
    store.remove(SPACE)
    store.put(_reference(b"x"), b"x")
    store.remove(SPACE)
    store.remove(SPACE)
    assert store.get(_reference(b"x")) is None
    store.put(_reference(b"x"), b"x")
    assert store.get(_reference(b"x")) == b"x"


def test_run_ids_of_every_kind_have_spaces_of_their_own(store: PayloadStore) -> None:
    spaces = [f"{run}.{SPACE[-16:]}" for run in ("a", "a.b", "a:b", "a-b", "_", "0", "x" * 120)]
    for space in spaces:
        store.put(_reference(space.encode(), space), space.encode())
    for space in spaces:
        assert store.get(_reference(space.encode(), space)) == space.encode()
    store.remove(spaces[0])
    assert [store.get(_reference(s.encode(), s)) is None for s in spaces] == [True] + [False] * 6


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_named_by_its_hash_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    store = FilePayloads(tmp_path / "payloads")
    store.put(_reference(b"x"), b"x")
    file = tmp_path / "payloads" / SPACE / hashlib.sha256(b"x").hexdigest()
    assert file.read_bytes() == b"x"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert store.place == (tmp_path / "payloads").as_uri()


def test_a_write_that_fails_leaves_nothing_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    store = FilePayloads(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PayloadStoreError, match=r"cannot write to .*No space left on device"):
        store.put(_reference(b"x"), b"x")
    assert list((tmp_path / SPACE).iterdir()) == []


def test_what_a_dead_writer_left_goes_with_its_space(tmp_path: Path) -> None:
    store = FilePayloads(tmp_path)
    store.put(_reference(b"x"), b"x")
    (tmp_path / SPACE / ".0123").write_bytes(b"half")
    store.remove(SPACE)
    assert list(tmp_path.iterdir()) == []


# ── Object stores ───────────────────────────────────────────────────────────────────────────────


def test_a_missing_driver_is_named_with_what_to_install() -> None:
    store = ObjectPayloads("s3://bucket/runs")
    with pytest.raises(PayloadStoreError, match=r"pip install 'flowcore\[payloads\]' s3fs"):
        store.get(_reference(b"x"))
    with pytest.raises(PayloadStoreError, match="nowhere"):
        ObjectPayloads("nowhere://x/y").get(_reference(b"x"))


def test_the_place_of_an_object_store_shows_no_password() -> None:
    assert ObjectPayloads("sftp://ann:secret@host/runs/").place == "sftp://host/runs"


# ── Redis ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.integration
def test_no_key_is_larger_than_a_chunk_and_a_space_leaves_none(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    store = RedisPayloads(client)
    store.put(_reference(LARGE), LARGE)
    keys = client.keys("*")
    assert all(key.startswith(b"fc:{order-42}:pl:0123456789abcdef") for key in keys)
    sizes = sorted(client.strlen(key) for key in keys if client.type(key) == b"string")
    assert sizes == [7] + [CHUNK] * 10
    store.remove(SPACE)
    assert client.keys("*") == []


@pytest.mark.integration
def test_a_payload_with_a_missing_chunk_is_not_there(redis_client: "redis.Redis") -> None:
    store = RedisPayloads(redis_client)
    reference = _reference(LARGE)
    store.put(reference, LARGE)
    redis_client.delete(f"fc:{{order-42}}:pl:0123456789abcdef:{reference.digest}:5")
    assert store.get(reference) is None


@pytest.mark.integration
def test_what_a_dead_writer_left_in_redis_goes_with_its_space(redis_client: "redis.Redis") -> None:
    class Dies(Exception):  # noqa: N818  (nobody catches it but this test)
        pass

    calls: list[int] = []

    class Client:
        def __getattr__(self, name: str) -> Any:
            if name == "pipeline":
                calls.append(1)
                if len(calls) == 2:
                    raise Dies
            return getattr(redis_client, name)

    with pytest.raises(Dies):
        RedisPayloads(Client()).put(_reference(LARGE), LARGE)
    assert len(redis_client.keys("*")) == 9
    RedisPayloads(redis_client).remove(SPACE)
    assert redis_client.keys("*") == []


def test_a_server_that_is_away_is_told_in_our_own_words() -> None:
    store = RedisPayloads(connect("redis://127.0.0.1:1"))
    with pytest.raises(StoreUnreachableError):
        store.get(_reference(b"x"))
