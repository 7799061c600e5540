"""Large values: what goes to the payload store instead of the run's record, and back.

In: values, blobs. Out: blobs that are small, values that are whole. Not here: the stores.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from flowcore.engine.values.isolation import Deadline, Isolation
from flowcore.errors import PayloadLostError, PayloadStoreError, PayloadTooLargeError, ServiceError
from flowcore.ports.payloads import PayloadLedger, PayloadStore
from flowcore.run.reference import Reference, is_reference, names_in, read_reference
from flowcore.run.values import DEEPEST
from flowcore.run.wire import pack, unpack

__all__ = ["LOOK", "MAX_OUTPUT", "THRESHOLD", "Payloads"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Bytes above which a value leaves the run's record.
THRESHOLD = 256 * 1024

#: Bytes of one value where there is no payload store.
MAX_OUTPUT = 16 * 2**20

#: Seconds between two looks for payloads that have outlived their runs.
LOOK = 60.0

#: Seconds after which a round of removals leaves the rest for the next one.
_TIDYING = 10.0

#: How often, and after how many seconds, a payload store is asked again: work that is done should
#: not be done again for a hiccup.
_TRIES = 5
_PAUSE = 1.0


class Payloads:
    """Packs and unpacks values, the large ones by way of a payload store."""

    def __init__(
        self,
        store: PayloadStore | None = None,
        ledger: PayloadLedger | None = None,
        *,
        threshold: int = THRESHOLD,
        limit: int = MAX_OUTPUT,
        look: float = LOOK,
        pause: float = _PAUSE,
    ) -> None:
        """Keep the ports.

        Args:
            store: Where payloads go; None: every value stays in the record.
            ledger: Remembers which runs have payloads.
            threshold: Bytes of msgpack above which a value goes to the store.
            limit: Largest value in bytes of msgpack.
            look: Seconds between two calls of ``tidy`` by one worker.
            pause: Seconds before a store that gave an error is asked again.
        """
        self._store = store
        self._ledger = ledger
        self._threshold = threshold
        self._limit = limit
        self.look = look
        self._pause = pause
        self.isolation = Isolation("payloads")

    def pack(self, value: Any, *, run: str, what: str, deepest: int = DEEPEST) -> bytes:
        """Encode a value for the record of ``run``: itself, or a reference to it.

        Args:
            value: Plain data, see ``run.wire.pack``.
            run: The run's id.
            what: How an error names the value, such as ``output of node 'fetch'``.
            deepest: Lists and maps inside each other that it may have.

        Raises:
            UnsupportedValueError: It is not plain data.
            PayloadTooLargeError: It is larger than the limit.
            PayloadStoreError: It could not be put into the store.
        """
        packed = pack(value, what=what, deepest=deepest)
        if len(packed) > self._limit:
            msg = (
                f"the {what} is {len(packed):,} bytes; the limit is {self._limit:,} "
                "(FLOWCORE_MAX_OUTPUT): return a path or a key instead"
            )
            raise PayloadTooLargeError(msg)
        if self._store is None or self._ledger is None or len(packed) <= self._threshold:
            return packed
        store, ledger = self._store, self._ledger
        reference = Reference(
            space=self._insist(lambda: ledger.enter(run), f"the {what} was not kept"),
            digest=hashlib.sha256(packed).hexdigest(),
            size=len(packed),
            place=store.place,
            names=names_in(value),
        )
        self._insist(
            lambda: store.put(reference, packed),
            f"the {what} ({len(packed):,} bytes) was not kept",
        )
        return reference.to_blob()

    def created(self, run: str, blob: bytes) -> None:
        """Tell the ledger that the run exists by now whose input was packed to ``blob``.

        Its space is looked at with the others' from then on, instead of in a day.
        """
        if self._ledger is not None and is_reference(blob):
            try:
                self._ledger.enter(run)
            except ServiceError as error:
                _log.warning("the payloads of run %s may be kept a day longer: %s", run, error)

    def unpack(self, blob: bytes, *, what: str) -> Any:
        """Decode a value, fetching it if ``blob`` refers to it.

        Raises:
            PayloadLostError: The payload is not there, or damaged.
            PayloadStoreError: The store cannot be read.
        """
        reference = self.reference(blob, what=what)
        return unpack(blob if reference is None else self._fetch(reference, what))

    def reference(self, blob: bytes, *, what: str) -> Reference | None:
        """Say where a value is kept, None when it is the blob itself.

        Raises:
            PayloadLostError: It is a reference that cannot be read.
        """
        try:
            return read_reference(blob)
        except ValueError as error:
            msg = f"the {what} is lost: {error}; are all processes of one release?"
            raise PayloadLostError(msg) from error

    @property
    def place(self) -> str | None:
        """Location of large values, for people; None: nowhere."""
        return None if self._store is None else self._store.place

    def probe(self) -> None:
        """Put a byte into the store, read it and remove it.

        Raises:
            ServiceError: Something of that failed.
        """
        if self._store is None:
            return
        payload = b"\xc0"
        reference = Reference(
            space=f"probe.{secrets.token_hex(8)}",
            digest=hashlib.sha256(payload).hexdigest(),
            size=len(payload),
            place=self._store.place,
        )
        try:
            self._store.put(reference, payload)
            if self._store.get(reference) != payload:
                msg = f"{self._store.place} does not give back what was put there"
                raise PayloadStoreError(msg)
        finally:
            self._store.remove(reference.space)

    def tidy(self) -> int:
        """Remove what has outlived its run, for some seconds; return how many spaces went.

        One that cannot be removed holds up no other: it is noted, and comes up again.
        """
        store, ledger = self._store, self._ledger
        if store is None or ledger is None:
            return 0

        def remove(space: str) -> None:
            store.remove(space)
            ledger.forget(space)

        gone = 0
        deadline = Deadline(seconds=_TIDYING)
        while not deadline.is_over() and (found := ledger.orphans()) is not None:
            for space in found:
                gone += self.isolation.serve(space, partial(remove, space))
        return gone

    def _fetch(self, reference: Reference, what: str) -> bytes:
        about = f"the {what} ({reference.size:,} bytes, sha256 {reference.digest[:12]}…)"
        if self._store is None:
            msg = f"{about} is kept in {reference.place}, and here FLOWCORE_PAYLOADS is off"
            raise PayloadLostError(msg)
        store = self._store
        payload = self._insist(lambda: store.get(reference), f"{about} was not read")
        if payload is None:
            raise PayloadLostError(f"{about} is lost: {_way_out(reference.place, store.place)}")
        if hashlib.sha256(payload).hexdigest() != reference.digest:
            msg = (
                f"{about} is damaged in {store.place}: {len(payload):,} bytes with another hash; "
                "run again"
            )
            raise PayloadLostError(msg)
        return payload

    def _insist(self, call: Callable[[], _T], trouble: str) -> _T:
        """Ask again for some seconds; then tell what it means."""
        left = _TRIES
        while True:
            try:
                return call()
            except ServiceError as error:
                left -= 1
                if not left:
                    msg = f"{trouble}: {error}"
                    raise PayloadStoreError(msg) from error
                _log.warning("%s yet: %s", trouble, error)
                time.sleep(self._pause)


def _way_out(written: str, read: str) -> str:
    if written != read:
        return (
            f"it was put into {written}, and this process reads {read}; "
            "give FLOWCORE_PAYLOADS one value everywhere"
        )
    return (
        f"{read} does not have it; is that one place for all workers, and did nobody clean it "
        "up? Run again"
    )
