"""Signatures of messages: what a worker does was asked for by somebody who has the key.

In: a message's fields and a key. Out: 16 bytes that go with them; or the fields, if the bytes are
right. Not here: what the fields mean; whether the attempt is still wanted, which the store knows.

Keyed BLAKE2b stands for HMAC. It covers the task's name and id, its hard time limit and all its
arguments: so no part of one message can be put into another.
"""

import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgpack
from celery.exceptions import Reject

from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.forks import renew_after_fork
from flowcore.run.protocol import WIRE, WIRE_BEFORE, mismatch

__all__ = [
    "SIGNATURE",
    "Keyring",
    "OtherVersion",
    "SigningKeyStore",
    "accept",
    "sign_about",
    "sign_message",
    "verify_about",
]

_log = logging.getLogger(__name__)

#: The argument of a task that holds its signature.
SIGNATURE = "sig"

#: The argument that says which wire number the message is written in.
_NUMBER = "v"

#: Bytes of a signature, and of a key.
_SIZE, _KEY = 16, 32

_PERSON = b"flowcore.message"

#: What is hashed begins so, as no message does.
_DIGEST = b"digest:"

#: Seconds after which a key that a server keeps is read again, by those who sign; and the least
#: time between two looks because of a bad signature. A server that was emptied has a new one.
_FRESH, _LOOK = 30.0, 1.0

#: Given a key for servers that have none, returns the key of each server that answers.
SigningKeyStore = Callable[[bytes], Mapping[int, bytes]]


class OtherVersion(Reject):
    """Refuses a message that was signed by one of us, but one of another wire number."""

    def __init__(self, sentence: str, given: Mapping[str, Any]) -> None:
        """Keep what the message said."""
        super().__init__(f"refused: {sentence}", requeue=False)
        self.sentence = sentence
        self.run = str(given.get("run", ""))


class Keyring:
    """The keys of one process: the first signs, all verify."""

    def __init__(
        self,
        given: Sequence[str] = (),
        *,
        vault: SigningKeyStore | None = None,
        servers: int = 1,
        on_refusal: Callable[[str, str], object] = lambda _what, _why: None,
    ) -> None:
        """Ask no server yet.

        Args:
            given: Secrets by word of mouth; with any, no server is ever asked.
            vault: Keeps a key where the runs are.
            servers: How many servers the vault has.
            on_refusal: Keeps aside what is refused; called with what it is, and why.
        """
        self._on_refusal = on_refusal
        self._given = [blake2b(secret.encode(), digest_size=_KEY).digest() for secret in given]
        self._vault = vault
        self._servers = servers
        self._found: dict[int, bytes] = {}
        self._looked = 0.0
        self._missed = False
        """Whether the last look did not reach every server."""
        self._renew()
        renew_after_fork(self, Keyring._renew)
        self.refused = 0
        """Messages that this process has refused."""

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def sign(self, data: bytes) -> bytes:
        """Sign with the first key.

        Raises:
            StoreUnreachableError: No key was given, and no server that keeps one answers.
        """
        self.refresh()
        keys = self._keys()
        if not keys:
            raise _unreadable()
        return _signature(keys[0], data)

    def refresh(self) -> None:
        """Read the servers' keys, unless that was done lately; a key that was read is kept.

        Whoever will have to verify a message when no server answers does this beforehand.
        """
        if not self._given and time.monotonic() - self._looked > (_FRESH if self._found else 0):
            self._look()

    def digest(self, data: bytes) -> bytes:
        """Hash what may be secret: nobody without the key can try what it was.

        Raises:
            StoreUnreachableError: As ``sign``.
        """
        return self.sign(_DIGEST + data)

    def verify(self, data: bytes, signature: object) -> bool:
        """Say whether one of the keys made this signature of the data.

        Raises:
            StoreUnreachableError: None that is known did, and a server's key cannot be read: it
                may be the one.
        """
        if not isinstance(signature, bytes) or len(signature) != _SIZE:
            return False
        if self._matches(data, signature):
            return True
        if self._given:
            return False
        if time.monotonic() - self._looked >= (_LOOK if self._found else 0):
            self._look()
            if self._matches(data, signature):
                return True
        if self._missed:
            raise _unreadable()
        return False

    def sign_value(self, value: Any) -> str:
        """Sign plain data as JSON has it."""
        return self.sign(_canonical(value)).hex()

    def verify_value(self, value: Any, signature: object) -> bool:
        """Say whether one of the keys made this signature of plain data.

        Raises:
            StoreUnreachableError: As ``verify``.
        """
        try:
            return self.verify(_canonical(value), bytes.fromhex(str(signature)))
        except (TypeError, ValueError):
            return False

    def refuse(self, what: str, why: str) -> Reject:
        """Count and log a message that is not to be obeyed; raise what this returns."""
        self.refused += 1
        _log.warning("refused %s: %s (%d refused so far)", what, why, self.refused)
        self._on_refusal(what, why)
        return Reject(f"refused: {why}", requeue=False)

    def _keys(self) -> list[bytes]:
        return self._given or [self._found[at] for at in sorted(self._found)]

    def _matches(self, data: bytes, signature: bytes) -> bool:
        found = False
        for key in self._keys():
            found |= hmac.compare_digest(_signature(key, data), signature)
        return found

    def _look(self) -> None:
        if self._vault is None:
            return
        with self._lock:
            self._looked = time.monotonic()
            mine = self._keys()
            self._missed = True
            try:
                read = self._vault(mine[0] if mine else secrets.token_bytes(_KEY))
            except FlowcoreError as error:
                _log.warning("could not read the key that signs messages: %s", error)
                return
            self._found.update(read)
            self._missed = len(read) < self._servers


def _unreadable() -> StoreUnreachableError:
    return StoreUnreachableError(
        "cannot read the key that signs messages: no server answers; see FLOWCORE_SECRET"
    )


def sign_message(
    keys: Keyring, task: str, id: str, given: Mapping[str, Any], *, limit: float | None = None
) -> dict[str, Any]:
    """Return a message's arguments with their signature.

    Args:
        keys: The keys.
        task: Name of the task.
        id: Its id.
        given: Its arguments.
        limit: Seconds after which a pool kills the process that runs it.
    """
    given = {**given, _NUMBER: WIRE}
    return {**given, SIGNATURE: keys.sign(_message(task, id, limit, given))}


def accept(keys: Keyring, request: Any, *, task: str, chord: bool) -> dict[str, Any]:
    """Return the arguments of a message, if they are what was signed, and nothing but that.

    Args:
        keys: The keys.
        request: Celery's view of the message.
        task: Name of the task that it calls.
        chord: Whether messages of this task carry a chord.

    Raises:
        OtherVersion: They are, but their sender speaks another wire number.
        Reject: They are not; the message is dropped.
        StoreUnreachableError: Nobody can say: the key cannot be read.
    """
    given = dict(request.kwargs or {})
    signature = given.pop(SIGNATURE, None)
    hard = (request.timelimit or (None,))[0]
    what = f"a message for {task} with id {str(request.id)[:200]!r}"
    try:
        data = _message(task, request.id, hard, given)
    except (TypeError, ValueError, OverflowError):
        raise keys.refuse(what, "it has arguments of strange types") from None
    if signature is None:
        raise keys.refuse(what, "it is not signed")
    if not keys.verify(data, signature):
        raise keys.refuse(what, "its signature is not right")
    expected = {"run": given.get("run")} if chord else None
    if (
        request.args
        or request.callbacks
        or request.errbacks
        or request.chain
        or request.group
        or request.chord != expected
    ):
        raise keys.refuse(what, "it carries more than was signed")
    sentence = mismatch("who sent this message", given.pop(_NUMBER, WIRE_BEFORE))
    if sentence is not None:
        keys.refuse(what, sentence)
        raise OtherVersion(sentence, given)
    return given


def sign_about(keys: Keyring, task: str, about: Mapping[str, Any]) -> str:
    """Sign what a message that somebody else will send is about; as text, for it may be JSON."""
    return keys.sign(_message(task, "", None, about)).hex()


def verify_about(
    keys: Keyring, task: str, request: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what such a message is about, if it is what was signed.

    Raises:
        Reject: It is not; the message is dropped.
        StoreUnreachableError: Nobody can say: the key cannot be read.
    """
    about = dict(given)
    signature = about.pop(SIGNATURE, None)
    what = f"a message for {task} with id {str(request.id)[:200]!r}"
    try:
        data, said = _message(task, "", None, about), bytes.fromhex(signature or "")
    except (TypeError, ValueError, OverflowError):
        raise keys.refuse(what, "it has arguments of strange types") from None
    if not keys.verify(data, said):
        raise keys.refuse(what, "its signature is not right")
    return about


def _message(task: str, id: str, limit: float | None, given: Mapping[str, Any]) -> bytes:
    data: bytes = msgpack.packb(
        [task, id, None if limit is None else float(limit), *sorted(given.items())]
    )
    return data


def _canonical(value: Any) -> bytes:
    # Celery's JSON has bytes; here they only have to be the same to who signs and who verifies.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr).encode()


def _signature(key: bytes, data: bytes) -> bytes:
    return blake2b(data, key=key, digest_size=_SIZE, person=_PERSON).digest()
