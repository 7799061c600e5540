"""Large values: what goes to the payload store, what comes back, and what is said when not."""

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import Any

import msgpack
import pytest
from pydantic import BaseModel

from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.values.output_batches import FEW, MOST_BYTES, portions
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import (
    PayloadLostError,
    PayloadStoreError,
    PayloadTooLargeError,
    UnsupportedValueError,
)
from flowcore.ports.store import AttemptRef, NewRun, Outcome
from flowcore.run.reference import Reference, is_reference, names_in, read_reference
from flowcore.run.wire import pack, unpack
from tests.contract.harness import in_memory, make_plan

RUN = "run"
DIGEST = "ab" * 32


class Shelf:
    """A payload store and a ledger in a dict."""

    place = "shelf"

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}
        self.gone: list[str] = []
        self.refusals = 0
        self.read = 0

    def put(self, reference: Reference, payload: bytes) -> None:
        self._refuse()
        self.kept.setdefault(reference.space, {})[reference.digest] = payload

    def get(self, reference: Reference) -> bytes | None:
        self._refuse()
        self.read += 1
        return self.kept.get(reference.space, {}).get(reference.digest)

    def remove(self, space: str) -> None:
        if space.startswith("stuck"):
            raise PayloadStoreError("the door is stuck")
        self.kept.pop(space, None)

    def enter(self, run: str) -> str:
        return f"{run}.0123"

    def orphans(self, *, limit: int = 100) -> Sequence[str] | None:
        found, self.gone = self.gone[:limit], self.gone[limit:]
        return found or None

    def forget(self, space: str) -> None:
        self.gone = [other for other in self.gone if other != space]

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PayloadStoreError("no answer")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def payloads(shelf: Shelf) -> Payloads:
    return Payloads(shelf, shelf, threshold=100, limit=1000, pause=0.0)


def _reference(**facts: Any) -> Reference:
    given: dict[str, Any] = {"space": "run.0123", "digest": DIGEST, "size": 5, "place": "shelf"}
    return Reference(**{**given, **facts})


@pytest.mark.parametrize("names", [None, (), ("a", "b")])
def test_a_reference_comes_back_as_it_was_written(names: tuple[str, ...] | None) -> None:
    reference = _reference(names=names)
    assert read_reference(reference.to_blob()) == reference


def test_a_reference_is_no_data_and_no_data_is_a_reference() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (msgpack gives it no text)
        unpack(_reference().to_blob())
    lookalikes: list[Any] = [b"\xc1", _reference().to_blob(), "\xc1", {"payload": DIGEST}, 193]
    for value in lookalikes:
        packed = pack(value)
        assert not is_reference(packed)
        assert Payloads().unpack(packed, what="it") == value


def test_no_msgpack_begins_with_the_mark_of_a_reference() -> None:
    firsts = {
        msgpack.packb(value)[0]
        for value in (None, True, False, 0, -1, 2**8, 2**16, 2**32, -(2**7), -(2**15), -(2**31))
    }
    sizes = (0, 1, 15, 16, 31, 32, 2**8, 2**16)
    firsts |= {msgpack.packb(kind)[0] for n in sizes for kind in ("x" * n, b"x" * n, [1] * n)}
    firsts |= {msgpack.packb(dict.fromkeys(range(n)))[0] for n in sizes}
    assert 0xC1 not in firsts


@pytest.mark.parametrize(
    "facts",
    [
        {"space": "../../etc"},
        {"space": ".hidden"},
        {"space": "a/../b"},
        {"space": "/etc"},
        {"space": "a//b"},
        {"space": "a/"},
        {"space": ""},
        {"digest": "../passwd"},
        {"digest": DIGEST.upper()},
        {"size": -1},
        {"size": True},
    ],
)
def test_a_reference_that_could_lead_elsewhere_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="damaged"):
        read_reference(_reference(**facts).to_blob())


@pytest.mark.parametrize(
    "blob",
    [
        b"\xc1",
        b"\xc1\xc1",
        b"\xc1\x93\x01\x02\x03",
        b"\xc1\x01",
        b"\xc1" + msgpack.packb([2, "run.0123", DIGEST, 5, "shelf", None]),
        b"\xc1" + msgpack.packb([1, 7, DIGEST, 5, "shelf", None]),
        b"\xc1" + msgpack.packb([1, "run.0123", DIGEST, 5, "shelf", 7]),
        _reference().to_blob()[:-20],
    ],
)
def test_a_damaged_reference_is_a_lost_payload(payloads: Payloads, blob: bytes) -> None:
    with pytest.raises(PayloadLostError, match="the output of node 'a' is lost: a reference of"):
        payloads.unpack(blob, what="output of node 'a'")


def test_a_small_value_stays_and_a_large_one_goes_to_the_store(
    payloads: Payloads, shelf: Shelf
) -> None:
    small, large = "x" * 98, "x" * 99  # msgpack adds two bytes
    assert payloads.pack(small, run=RUN, what="it") == pack(small)
    assert shelf.kept == {}
    blob = payloads.pack(large, run=RUN, what="it")
    digest = hashlib.sha256(pack(large)).hexdigest()
    assert shelf.kept == {"run.0123": {digest: pack(large)}}
    assert read_reference(blob) == _reference(digest=digest, size=101, names=())
    assert payloads.unpack(blob, what="it") == large


def test_a_value_above_the_limit_is_refused_with_its_name_and_size(payloads: Payloads) -> None:
    with pytest.raises(PayloadTooLargeError) as caught:
        payloads.pack("x" * 1000, run=RUN, what="output of node 'big'")
    assert str(caught.value) == (
        "the output of node 'big' is 1,003 bytes; the limit is 1,000 (FLOWCORE_MAX_OUTPUT): "
        "return a path or a key instead"
    )


def test_what_is_not_plain_data_is_refused_before_anything_is_kept(
    payloads: Payloads, shelf: Shelf
) -> None:
    with pytest.raises(UnsupportedValueError):
        payloads.pack(["x" * 200, {1}], run=RUN, what="it")
    assert shelf.kept == {}


def test_without_a_store_every_value_stays_in_the_record() -> None:
    value = "x" * 1_000_000
    assert Payloads().pack(value, run=RUN, what="it") == pack(value)


def test_a_missing_payload_names_the_node_the_hash_and_the_way_out(
    payloads: Payloads, shelf: Shelf
) -> None:
    blob = payloads.pack("x" * 200, run=RUN, what="it")
    shelf.kept.clear()
    with pytest.raises(PayloadLostError) as caught:
        payloads.unpack(blob, what="output of node 'big'")
    digest = hashlib.sha256(pack("x" * 200)).hexdigest()
    assert f"the output of node 'big' (202 bytes, sha256 {digest[:12]}…) is lost" in str(
        caught.value
    )
    assert "is that one place for all workers" in str(caught.value)
    assert caught.value.code == "FC509"


def test_a_payload_of_another_place_says_which_setting_differs(payloads: Payloads) -> None:
    blob = _reference(place="s3://other").to_blob()
    with pytest.raises(PayloadLostError, match="put into s3://other, and this process reads shelf"):
        payloads.unpack(blob, what="it")
    with pytest.raises(PayloadLostError, match="kept in s3://other, and here FLOWCORE_PAYLOADS is"):
        Payloads().unpack(blob, what="it")


@pytest.mark.parametrize("damage", [b"", b"x" * 202])
def test_a_damaged_payload_is_never_taken_for_the_value(
    payloads: Payloads, shelf: Shelf, damage: bytes
) -> None:
    blob = payloads.pack("x" * 200, run=RUN, what="it")
    (space,) = shelf.kept.values()
    for digest in space:
        space[digest] = damage
    with pytest.raises(PayloadLostError, match="is damaged in shelf"):
        payloads.unpack(blob, what="it")


def test_a_hiccup_of_the_store_is_waited_out(payloads: Payloads, shelf: Shelf) -> None:
    shelf.refusals = 4
    blob = payloads.pack("x" * 200, run=RUN, what="it")
    shelf.refusals = 4
    assert payloads.unpack(blob, what="it") == "x" * 200


def test_a_store_that_stays_away_is_told_of(payloads: Payloads, shelf: Shelf) -> None:
    shelf.refusals = 99
    with pytest.raises(PayloadStoreError, match=r"output of node 'a' \(202 bytes\) was not kept"):
        payloads.pack("x" * 200, run=RUN, what="output of node 'a'")


def test_what_cannot_be_removed_does_not_keep_the_others(payloads: Payloads, shelf: Shelf) -> None:
    shelf.kept = {"stuck.1": {}, "old.2": {}, "live.3": {}}
    shelf.gone = ["stuck.1", "old.2"]
    assert payloads.tidy() == 1
    assert set(shelf.kept) == {"stuck.1", "live.3"}
    assert payloads.tidy() == 0


class Model(BaseModel):
    a: int = 1


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"a": 1, "b": 4}, ("a", "b")),
        ({"a": 1, date(2026, 1, 2): 3}, None),
        ([{"a": 1}], ()),
        ("text", ()),
        (None, ()),
        (Model(), None),
        ({"k" * 400: 1, "j" * 400: 2}, None),
    ],
)
def test_the_names_in_a_value_are_said_or_left_open(
    value: Any, names: tuple[str, ...] | None
) -> None:
    assert names_in(value) == names


def _upstream(payloads: Payloads, outputs: dict[int, Any]) -> Upstream:
    """What node 2 sees after nodes 0 and 1."""
    it = in_memory()
    plan = make_plan([[], [0], [1]])
    it.store.put_plan(plan)
    it.store.submit(NewRun(id=RUN, plan=plan.hash, input=pack({})), plan)
    for node, value in outputs.items():
        ticket = AttemptRef(run=RUN, node=node, attempt=1)
        assert it.store.claim(ticket, worker="w") is not None
        blob = payloads.pack(value, run=RUN, what="it")
        it.store.settle(ticket, Outcome(kind="succeeded", output=blob))
    return Upstream(run=RUN, plan=plan, reader=it.reader, payloads=payloads)


def test_a_large_output_is_fetched_only_by_who_reads_it(payloads: Payloads, shelf: Shelf) -> None:
    upstream = _upstream(payloads, {0: {"small": 1}, 1: {"big": "x" * 200}})
    assert upstream.lookup(2, "small") == (True, 1)
    assert upstream.lookup(2, "missing") == (False, None)
    assert shelf.read == 0
    assert upstream.lookup(2, "big") == (True, "x" * 200)
    assert upstream.value_of(2) == {"big": "x" * 200}
    assert shelf.read == 1


def test_many_outputs_come_in_portions_bounded_by_bytes() -> None:
    class Reader:
        def __init__(self, sizes: dict[int, int]) -> None:
            self.blobs = {node: bytes(size) for node, size in sizes.items()}

        def sizes(self, run: str, nodes: Sequence[int] | None = None) -> dict[int, int]:
            return {n: len(blob) for n, blob in self.blobs.items() if nodes is None or n in nodes}

        def outputs(self, run: str, nodes: Sequence[int]) -> dict[int, bytes]:
            return {n: self.blobs[n] for n in nodes if n in self.blobs}

    sizes = dict.fromkeys(range(100), 100_000) | {50: 5 * 2**20, 100: 1}
    reader: Any = Reader(sizes)
    asked = [*range(101), 500]
    parts = list(portions(reader, RUN, asked))
    assert [node for part in parts for node in part] == list(range(101))
    heavy = [part for part in parts if sum(map(len, part.values())) > MOST_BYTES]
    assert [set(part) for part in heavy] == [{50}], "a giant comes alone"
    assert list(portions(reader, RUN, None)) == parts
    few = list(range(FEW))
    assert list(portions(reader, RUN, few)) == [{n: reader.blobs[n] for n in few}]
    assert list(portions(reader, RUN, [])) == []
    tiny: Any = Reader(dict.fromkeys(range(2500), 1))
    assert [len(part) for part in portions(tiny, RUN, None)] == [1000, 1000, 500]
