"""Payloads as files: one directory for a space, one file for a payload, named by its SHA-256.

In: a directory, on this machine or one that all workers mount. Out: whole files or none.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from flowcore.errors import PayloadStoreError
from flowcore.run.reference import Reference

__all__ = ["FilePayloads"]


class FilePayloads:
    """Implements ``PayloadStore``.

    A file is written beside its name, flushed to the disk and renamed, and the directory is
    flushed too: what a run's record refers to is not lost with the machine's power, and no reader
    sees half a payload. Only this user may read them.
    """

    def __init__(self, directory: Path) -> None:
        """Use ``directory``, made when first needed."""
        self._base = directory

    @property
    def place(self) -> str:
        """Name the directory."""
        return self._base.as_uri()

    def put(self, reference: Reference, payload: bytes) -> None:
        """Write a file and rename it."""
        directory = self._directory(reference.space)
        part = directory / f".{secrets.token_hex(8)}"
        with self._told("cannot write to"):
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700, exist_ok=True)
            try:
                _write(part, payload)
                part.rename(directory / reference.digest)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            _flush(directory)

    def get(self, reference: Reference) -> bytes | None:
        """Read a file."""
        with self._told("cannot read from"):
            try:
                return (self._directory(reference.space) / reference.digest).read_bytes()
            except FileNotFoundError:
                return None

    def remove(self, space: str) -> None:
        """Remove a directory; another worker may be at it too."""
        directory = self._directory(space)
        with self._told("cannot remove from"):
            while directory.exists():
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(directory)

    def _directory(self, space: str) -> Path:
        return self._base / space.replace("/", "~")

    @contextlib.contextmanager
    def _told(self, trouble: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = (
                f"{trouble} {self._base}: {error.strerror or error}; "
                "FLOWCORE_PAYLOADS names where payloads go"
            )
            raise PayloadStoreError(msg) from error


def _write(path: Path, payload: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def _flush(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
