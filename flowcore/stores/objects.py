"""Payloads in an object store, through fsspec: S3, GCS, Azure, SFTP and whatever else it knows.

In: a URL such as ``s3://bucket/prefix``. Out: objects ``{prefix}/{space}/{sha256}``. Needs the
extra ``payloads`` and fsspec's driver for the scheme, ``s3fs`` for instance.

Keys and endpoints come from where the driver looks for them: the environment, its own files.
"""

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flowcore.errors import PayloadStoreError
from flowcore.forks import PerProcess
from flowcore.run.reference import Reference

__all__ = ["ObjectPayloads"]


class ObjectPayloads:
    """Implements ``PayloadStore``.

    Opened when first used, in the process that uses it: drivers do not survive a fork.
    """

    def __init__(self, url: str) -> None:
        """Use ``url``; nothing is imported or sent yet."""
        self._url = url.rstrip("/")
        self._opened = PerProcess(self._open_now)

    @property
    def place(self) -> str:
        """The URL, without user and password."""
        return re.sub(r"(?<=://)[^/]*@", "", self._url)

    def put(self, reference: Reference, payload: bytes) -> None:
        """Write one object."""
        with self._told("cannot write to"):
            files, _ = self._open()
            directory = self._path(reference.space)
            # Object stores have no directories, and other places need one.
            files.makedirs(directory, exist_ok=True) if self._has_directories() else None
            files.pipe_file(f"{directory}/{reference.digest}", payload)

    def get(self, reference: Reference) -> bytes | None:
        """Read one object."""
        with self._told("cannot read from"):
            files, _ = self._open()
            try:
                found: bytes = files.cat_file(f"{self._path(reference.space)}/{reference.digest}")
            except FileNotFoundError:
                return None
            return found

    def remove(self, space: str) -> None:
        """Remove all objects of a space."""
        with self._told("cannot remove from"):
            files, _ = self._open()
            path = self._path(space)
            files.invalidate_cache(path)
            try:
                files.rm(path, recursive=True)
            except FileNotFoundError:
                return

    def _path(self, space: str) -> str:
        return f"{self._open()[1]}/{space}"

    def _has_directories(self) -> bool:
        return not self._url.startswith(("s3://", "s3a://", "gs://", "gcs://"))

    def _open(self) -> tuple[Any, str]:
        return self._opened.get()

    def _open_now(self) -> tuple[Any, str]:
        try:
            fsspec = importlib.import_module("fsspec")
            files, path = fsspec.core.url_to_fs(self._url)
        except ImportError as error:
            scheme = self._url.partition("://")[0]
            driver = {"s3": " s3fs", "s3a": " s3fs", "gs": " gcsfs", "gcs": " gcsfs"}
            msg = (
                f"FLOWCORE_PAYLOADS={self.place} needs what is not installed ({error}); "
                f"pip install 'flowcore[payloads]'{driver.get(scheme, '')}"
            )
            raise PayloadStoreError(msg) from error
        return files, path.rstrip("/")

    @contextmanager
    def _told(self, trouble: str) -> Iterator[None]:
        try:
            yield
        except PayloadStoreError:
            raise
        except Exception as error:
            # Each driver has errors of its own.
            msg = f"{trouble} {self.place}: {type(error).__name__}: {error}"
            raise PayloadStoreError(msg) from error
