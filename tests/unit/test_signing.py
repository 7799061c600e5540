"""Messages are what somebody with the key has signed, to the last bit, or they are refused."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from celery.exceptions import Reject
from hypothesis import given
from hypothesis import strategies as st

from flowcore.celery.dispatcher import NODE_TASK, UNIT_TASK
from flowcore.celery.signing import SIGNATURE, Keyring, accept, sign_message
from flowcore.errors import StoreUnreachableError

KEYS = Keyring(["known to this test only"])
OTHERS = Keyring(["known to somebody else"])


@dataclass
class Request:
    """What Celery says of a message."""

    id: str
    kwargs: dict[str, Any]
    timelimit: Any = (None, None)
    chord: Any = None
    args: Any = ()
    callbacks: Any = None
    errbacks: Any = None
    chain: Any = None
    group: Any = None


GIVEN: dict[str, Any] = {"run": "orders-1", "plan": "ab" * 16, "node": 7, "attempt": 1}


def _node(keys: Keyring = KEYS, limit: float | None = 12.0, **changes: Any) -> Request:
    signed = {**GIVEN, **changes}
    return Request(
        id="orders-1.pay",
        kwargs=sign_message(keys, NODE_TASK, "orders-1.pay", signed, limit=limit),
        timelimit=(limit, None),
        chord={"run": signed["run"]},
    )


def _accept(request: Request, *, keys: Keyring = KEYS, task: str = NODE_TASK) -> dict[str, Any]:
    return accept(keys, request, task=task, chord=True)


def _refused(request: Request, why: str = "signature", **more: Any) -> None:
    with pytest.raises(Reject, match=why) as caught:
        _accept(request, **more)
    assert caught.value.args[1] is False, "it must not come back"


@given(
    run=st.text(max_size=120),
    plan=st.text(max_size=40),
    node=st.integers(0, 2**40),
    attempt=st.integers(1, 2**31),
    limit=st.none() | st.floats(0.1, 1e6),
)
def test_what_was_signed_is_accepted_after_its_way_through_msgpack(
    run: str, plan: str, node: int, attempt: int, limit: float | None
) -> None:
    changes: dict[str, Any] = {"run": run, "plan": plan, "node": node, "attempt": attempt}
    request = _node(limit=limit, **changes)
    request.kwargs = msgpack.unpackb(msgpack.packb(request.kwargs))
    assert _accept(request) == changes


@given(st.sampled_from([*GIVEN, SIGNATURE, "id", "limit"]), st.integers(0, 10_000))
def test_one_bit_that_flips_anywhere_is_seen(where: str, bit: int) -> None:
    request = _node()
    if where == "id":
        request.id = _flip(request.id, bit)
    elif where == "limit":
        request.timelimit = (float.fromhex((12.0).hex()) + 2.0 ** (bit % 40 - 20), None)
    else:
        request.kwargs[where] = _flip(request.kwargs[where], bit)
    _refused(request)


def _flip(value: Any, bit: int) -> Any:
    if isinstance(value, int):
        return value ^ (1 << bit % 31)
    raw = bytearray(value.encode("latin-1") if isinstance(value, str) else value)
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    return raw.decode("latin-1") if isinstance(value, str) else bytes(raw)


@given(st.binary(max_size=40) | st.text(max_size=40) | st.integers() | st.none() | st.booleans())
def test_no_other_signature_will_do(signature: Any) -> None:
    request = _node()
    request.kwargs[SIGNATURE] = signature
    _refused(request, "signed|signature")


@pytest.mark.parametrize(
    "changes", [{"node": 8}, {"attempt": 2}, {"run": "orders-2"}, {"plan": "cd" * 16}]
)
def test_a_signature_of_another_message_is_not_right(changes: dict[str, Any]) -> None:
    request = _node()
    request.kwargs[SIGNATURE] = _node(**changes).kwargs[SIGNATURE]
    _refused(request)


def test_a_message_without_a_signature_is_refused_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keys = Keyring(["one that has refused nothing so far"])
    for _ in range(2):
        request = _node()
        del request.kwargs[SIGNATURE]
        _refused(request, "not signed", keys=keys)
    assert keys.refused == 2
    assert caplog.messages[-1] == (
        "refused a message for flowcore.node with id 'orders-1.pay': it is not signed "
        "(2 refused so far)"
    )


def test_a_message_of_one_task_is_none_of_another() -> None:
    _refused(_node(), task=UNIT_TASK)


def test_arguments_cannot_change_places_nor_be_added_or_left_out() -> None:
    swapped = _node()
    swapped.kwargs["run"], swapped.kwargs["plan"] = swapped.kwargs["plan"], swapped.kwargs["run"]
    _refused(swapped)
    more = _node()
    more.kwargs["debug"] = True
    _refused(more)
    for name in GIVEN:
        less = _node()
        del less.kwargs[name]
        _refused(less)


@pytest.mark.parametrize(
    "more",
    [
        {"callbacks": [{"task": "x"}]},
        {"errbacks": [{"task": "x"}]},
        {"chain": [{"task": "x"}]},
        {"group": "g"},
        {"chord": None},
        {"chord": {"run": "orders-2"}},
        {"args": (1,)},
    ],
    ids=str,
)
def test_what_rides_along_unsigned_is_refused(more: dict[str, Any]) -> None:
    request = _node()
    for name, value in more.items():
        setattr(request, name, value)
    _refused(request, "more than was signed")


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        ),
        max_size=5,
    )
)
def test_no_garbage_is_accepted_nor_breaks_anything_else(kwargs: dict[str, Any]) -> None:
    _refused(Request(id="x", kwargs=kwargs, chord={"run": "x"}), "signed|signature|strange")


@pytest.mark.parametrize("value", [{"a": {1, 2}}, object(), 2**70])
def test_arguments_that_msgpack_cannot_carry_are_refused(value: Any) -> None:
    request = _node()
    request.kwargs["node"] = value
    _refused(request, "strange types")


def test_somebody_elses_key_does_not_sign_for_us() -> None:
    _refused(_node(keys=OTHERS))


def test_keys_are_changed_by_letting_both_be_good_for_a_while() -> None:
    old, new = "the key of last year", "the key of this year"
    both = Keyring([new, old])
    assert _accept(_node(keys=Keyring([old])), keys=both)
    assert _accept(_node(keys=both), keys=both)
    assert _accept(_node(keys=both), keys=Keyring([new]))
    _refused(_node(keys=both), keys=Keyring([old]))


class Server:
    """Keeps a key, like ``SET NX GET``; can be out of reach."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        self.down = False
        self.asked = 0

    def __call__(self, fresh: bytes) -> Mapping[int, bytes]:
        self.asked += 1
        if self.down:
            msg = "gone"
            raise StoreUnreachableError(msg)
        self.key = self.key or fresh
        return {0: self.key}


def test_without_a_secret_all_use_the_key_that_the_server_keeps() -> None:
    server = Server()
    signer, verifier = Keyring(vault=server), Keyring(vault=server)
    for _ in range(10):
        assert _accept(_node(keys=signer), keys=verifier)
    assert server.asked == 2, "each has asked once"
    assert server.key is not None
    assert len(server.key) == 32


def test_the_key_of_a_server_that_was_emptied_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, now = Server(), [1000.0]
    monkeypatch.setattr("flowcore.celery.signing.time.monotonic", lambda: now[0])
    worker = Keyring(vault=server)
    assert _accept(_node(keys=worker), keys=worker)
    server.key = None
    client = Keyring(vault=server)
    request = _node(keys=client)
    now[0] += 5
    assert _accept(request, keys=worker)
    assert _accept(_node(keys=worker), keys=client)


def test_a_flood_of_forgeries_does_not_become_one_of_look_ups() -> None:
    server = Server()
    worker = Keyring(vault=server)
    assert _accept(_node(keys=worker), keys=worker)
    for _ in range(100):
        _refused(_node(keys=OTHERS), keys=worker)
    assert server.asked <= 2


def test_without_a_key_nothing_is_signed_and_nothing_accepted() -> None:
    server = Server()
    server.down = True
    keys = Keyring(vault=server)
    with pytest.raises(StoreUnreachableError, match="FLOWCORE_SECRET"):
        _node(keys=keys)
    with pytest.raises(StoreUnreachableError, match="FLOWCORE_SECRET"):
        _accept(_node(), keys=keys)
    assert not keys.refused, "nobody can say that it is forged"
    server.down = False
    assert _accept(_node(keys=keys), keys=keys)


def test_a_known_key_outlives_its_server() -> None:
    server = Server()
    keys = Keyring(vault=server)
    request = _node(keys=keys)
    server.down = True
    assert _accept(request, keys=keys)
    assert _accept(_node(keys=keys), keys=keys)


def test_a_signature_is_not_called_wrong_while_a_key_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, now = Server(), [1000.0]
    monkeypatch.setattr("flowcore.celery.signing.time.monotonic", lambda: now[0])
    keys = Keyring(vault=server)
    keys.refresh()
    request = _node(keys=keys)
    now[0] += 5
    server.down = True
    assert _accept(request, keys=keys)
    for _ in range(3):  # a server that was emptied may have signed with a new key
        with pytest.raises(StoreUnreachableError):
            _accept(_node(keys=OTHERS), keys=keys)
    assert not keys.refused
    server.down = False
    now[0] += 5
    _refused(_node(keys=OTHERS), keys=keys)


def test_nor_while_one_of_several_servers_does_not_answer() -> None:
    first, second = Server(), Server()
    down: set[int] = {0}

    def vault(fresh: bytes) -> Mapping[int, bytes]:
        return {at: ask(fresh)[0] for at, ask in enumerate((first, second)) if at not in down}

    keys = Keyring(vault=vault, servers=2)
    request = _node(keys=Keyring(vault=first))
    keys.refresh()
    with pytest.raises(StoreUnreachableError):
        _accept(request, keys=keys)
    down.clear()
    keys._looked = 0.0
    assert _accept(request, keys=keys)
    _refused(_node(keys=OTHERS), keys=keys)


def test_a_secret_asks_no_server() -> None:
    def never(_: bytes) -> Mapping[int, bytes]:
        raise AssertionError

    keys = Keyring(["known to this test only"], vault=never)
    assert _accept(_node(keys=keys))
    _refused(_node(keys=OTHERS), keys=keys)


def test_a_forked_child_verifies_although_its_parent_was_looking() -> None:
    server = Server()
    keys = Keyring(vault=server)
    request = _node(keys=keys)
    fresh = Keyring(vault=server)
    keys = fresh
    with fresh._lock:
        child = os.fork()
        if not child:
            os._exit(0 if _code(lambda: bool(_accept(request, keys=keys))) else 1)
    assert os.waitpid(child, 0)[1] == 0


def _code(call: Callable[[], bool]) -> bool:
    try:
        return call()
    except BaseException:  # noqa: BLE001  (a forked child must not go back to pytest)
        return False
