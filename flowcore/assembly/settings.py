"""Settings, read once from the environment.

In: a mapping of environment variables. Out: one frozen ``Settings``, or one ``SettingsError``
that lists every bad value. Nothing else in flowcore reads ``FLOWCORE_*`` variables. An empty
value counts as unset, because compose files pass unset variables on as empty ones.

=========================  ==================  ====================================================
variable                   default             meaning
=========================  ==================  ====================================================
FLOWCORE_REDIS_URL         (none: embedded)    redis://, rediss://, unix:// or sentinel:// URL;
                                               several by comma share the runs
FLOWCORE_BROKER_URL        the (first) Redis   Celery broker; may be amqp:// (RabbitMQ)
FLOWCORE_HOME              see ``data_home``   directory of the embedded server and local workers
FLOWCORE_QUEUE             flowcore            Celery queue of the units
FLOWCORE_NAMESPACE         (empty)             prefix of the names of queues
FLOWCORE_LEASE             6.0                 seconds a worker holds a unit without a heartbeat
FLOWCORE_HEARTBEAT         1.5                 seconds between heartbeats; at most half the lease
FLOWCORE_STALLED           15.0                seconds a worker may ignore a queue with messages
FLOWCORE_DISPATCH_LEASE    5.0                 seconds before an unclaimed message is sent again
FLOWCORE_MAX_LOST          3                   workers a node may lose before it is a dead letter
FLOWCORE_RETENTION         604800 (7 days)     seconds a finished run is kept
FLOWCORE_AGENTS            (none)              modules whose agents a worker hosts, by comma
FLOWCORE_CALLBACKS         (none)              callbacks that workers call, by comma
FLOWCORE_ALLOWED_MODULES   (none)              module prefixes that ``uses`` may name beside the
                                               user's own modules, by comma (nodes.permission)
FLOWCORE_MAX_EVENT         65536 (64 KiB)      bytes of one event that a node emits
FLOWCORE_PAYLOADS          see assembly        where large values go: file:///path, redis, off, or
                                               a URL that fsspec knows, such as s3://bucket/prefix
FLOWCORE_PAYLOAD_THRESHOLD 262144 (256 KiB)    bytes above which a value goes there
FLOWCORE_MAX_OUTPUT        by the place        bytes of one node's output
FLOWCORE_WORK_FIRST        on                  off: each node gets a message of its own
FLOWCORE_SECRET            kept in Redis       signs messages; several by comma: the first signs
FLOWCORE_SECRETS           (none)              variables that definitions may read, by comma
FLOWCORE_SECRETS_DIR       (none)              directory with a file for each secret
FLOWCORE_REPLICAS          0                   replicas that have a run before it is accepted
FLOWCORE_UNPROTECTED_REDIS off                 on: a Redis elsewhere may have no password
FLOWCORE_CAPTURE_PRINT     off                 on: what nodes print is logged with them
FLOWCORE_LOG_LEVEL         INFO                DEBUG, INFO, WARNING, ERROR or CRITICAL
=========================  ==================  ====================================================
"""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self, TypeVar

from flowcore.assembly import setting_numbers as numbers
from flowcore.assembly.server_urls import (
    REDIS_SCHEMES,
    broker_url,
    is_url,
    redacted,
    redis_urls,
    split_urls,
)
from flowcore.engine.values.payloads import THRESHOLD
from flowcore.errors import ServiceError
from flowcore.ports.leases import DISPATCH_LEASE, LEASE, MAX_LOST, RETENTION

__all__ = ["REDIS_SCHEMES", "Settings", "SettingsError", "data_home", "split_urls"]

_T = TypeVar("_T")

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SECRET = "FLOWCORE_SECRET"  # noqa: S105  (the variable's name)
_SECRET_LENGTH = 16
_LARGEST_EVENT = 2**26
#: Characters of a value, and of a bad one that are shown.
_LONGEST, _SHOWN = 32_768, 200
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class SettingsError(ServiceError):
    """One or more environment variables have values that flowcore cannot use."""

    code = "FC602"

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Join the problems into one message.

        Args:
            problems: One sentence a bad value: the variable, the value, what is accepted.
        """
        self.problems = problems
        super().__init__("bad settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of this process, read from the environment; see the module's table."""

    redis_url: str | None
    """URL of the Redis or Valkey that holds the runs; None means the embedded server. Several,
    separated by commas, share the runs between them."""
    broker_url: str | None
    """URL of the Celery broker; None means the embedded server."""
    home: Path
    """Absolute path of the data directory; it may not exist yet."""
    queue: str
    """Name of the Celery queue that carries units."""
    namespace: str
    """Prefix of the names of queues, which keeps projects apart on one server; empty for none."""
    lease: float
    """Seconds for which a worker holds a unit after its last heartbeat."""
    heartbeat: float
    """Seconds between two heartbeats; at most half of ``lease``, so that one may get lost."""
    stalled: float
    """Seconds after which a worker that receives nothing, though messages wait, ends itself."""
    dispatch_lease: float
    """Seconds after which a published message that nobody claimed is published again."""
    max_lost: int
    """How often a node may lose its worker before it is failed as a dead letter; at least 1."""
    retention: float
    """Seconds for which a finished run is kept."""
    allowed_modules: tuple[str, ...]
    """Module prefixes that ``uses`` may name beside the user's own modules."""
    http_allow: tuple[str, ...]
    """Hosts and networks that ``http`` and ``llm`` nodes may reach though they are not public."""
    max_event: int
    """Largest encoded event of ``ctx.emit``, in bytes."""
    payloads: str | None
    """``redis``, ``off`` or a URL; None: files on the embedded server, else ``redis``."""
    payload_threshold: int
    """Bytes above which an encoded value goes to the payload store."""
    max_output: int | None
    """Largest encoded output of one node, in bytes; None: what suits the payload store."""
    work_first: bool
    """Whether a worker goes on with a node that it made ready, without a message for it."""
    secrets: tuple[str, ...] = field(repr=False)
    """Sign and verify messages: the first signs. Empty: a key that is kept in Redis does."""
    secret_names: tuple[str, ...]
    """Variables that definitions may read as secrets, beside those with the prefix for that."""
    secrets_dir: Path | None
    """Directory with a file for each secret that definitions may read."""
    agents: tuple[str, ...]
    """Modules whose agents a worker hosts."""
    callbacks: tuple[str, ...]
    """Callbacks that workers call: entry points or ``module:object``."""
    replicas: int
    """Replicas that have a run before its submit returns; 0: none is waited for."""
    unprotected_redis: bool
    """Whether a Redis on another machine may do without a password."""
    capture_print: bool
    """True if the output of ``print`` in nodes becomes records of their logs."""
    log_level: str
    """Name of a level of the standard ``logging`` module, upper case."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read all settings.

        Args:
            environ: Environment variables by name.

        Returns:
            The settings, with defaults where a variable is missing or empty.

        Raises:
            SettingsError: Some values are bad; all of them are named.
        """
        read = _Reader(environ=environ)
        url = read("FLOWCORE_REDIS_URL", redis_urls, None)
        lease = read("FLOWCORE_LEASE", numbers.seconds, LEASE)
        settings = cls(
            redis_url=url,
            broker_url=read("FLOWCORE_BROKER_URL", broker_url, split_urls(url)[0] if url else None),
            home=read("FLOWCORE_HOME", _path, None) or _xdg_home(environ),
            queue=read("FLOWCORE_QUEUE", _name, "flowcore"),
            namespace=read("FLOWCORE_NAMESPACE", _name, ""),
            lease=lease,
            heartbeat=read(
                "FLOWCORE_HEARTBEAT",
                numbers.seconds_up_to(lease / 2, "half of FLOWCORE_LEASE"),
                min(1.5, lease / 4),
            ),
            stalled=read("FLOWCORE_STALLED", numbers.seconds, 15.0),
            dispatch_lease=read("FLOWCORE_DISPATCH_LEASE", numbers.seconds, DISPATCH_LEASE),
            max_lost=read("FLOWCORE_MAX_LOST", numbers.count(1_000_000), MAX_LOST),
            retention=read("FLOWCORE_RETENTION", numbers.seconds, RETENTION),
            allowed_modules=read("FLOWCORE_ALLOWED_MODULES", _modules, ()),
            http_allow=read("FLOWCORE_HTTP_ALLOW", _hosts, ()),
            max_event=read("FLOWCORE_MAX_EVENT", numbers.count(_LARGEST_EVENT), 64 * 1024),
            payloads=read("FLOWCORE_PAYLOADS", _payloads, None),
            payload_threshold=read(
                "FLOWCORE_PAYLOAD_THRESHOLD", numbers.count(numbers.LARGEST), THRESHOLD
            ),
            max_output=read("FLOWCORE_MAX_OUTPUT", _size, None),
            work_first=read("FLOWCORE_WORK_FIRST", _switch, default=True),
            secrets=read(_SECRET, _secrets, ()),
            secret_names=read("FLOWCORE_SECRETS", _secret_names, ()),
            secrets_dir=read("FLOWCORE_SECRETS_DIR", _path, None),
            agents=read("FLOWCORE_AGENTS", _modules, ()),
            callbacks=read("FLOWCORE_CALLBACKS", _names, ()),
            replicas=read("FLOWCORE_REPLICAS", numbers.number(1000), 0),
            unprotected_redis=read("FLOWCORE_UNPROTECTED_REDIS", _switch, default=False),
            capture_print=read("FLOWCORE_CAPTURE_PRINT", _switch, default=False),
            log_level=read("FLOWCORE_LOG_LEVEL", _log_level, "INFO"),
        )
        read.raise_problems()
        return settings


def data_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the user's data directory, without making it.

    Args:
        environ: Environment variables by name.

    Returns:
        ``FLOWCORE_HOME``, or ``$XDG_DATA_HOME/flowcore``, or ``~/.local/share/flowcore``; absolute.

    Raises:
        SettingsError: ``FLOWCORE_HOME`` names no path.
    """
    read = _Reader(environ=environ)
    home = read("FLOWCORE_HOME", _path, None)
    read.raise_problems()
    return home or _xdg_home(environ)


class _Reader:
    """Parses variables one by one and remembers what was wrong with them."""

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def __call__(self, name: str, parse: Callable[[str], _T], default: _T) -> _T:
        """Return the parsed variable, or the default if it is unset, empty or bad.

        A parser raises ValueError with the phrase that says what is accepted.
        """
        value = self._environ.get(name, "").strip()
        if not value:
            return default
        try:
            return parse(_text(value))
        except (ValueError, OSError) as error:
            self._problems.append(f"{name}={_shown(name, value)!r}: expected {_accepted(error)}")
            return default

    def raise_problems(self) -> None:
        if self._problems:
            raise SettingsError(tuple(self._problems))


def _text(value: str) -> str:
    """Refuse what nothing that reads a setting could take.

    A variable of bytes that are no UTF-8 holds halves of surrogate pairs.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text in UTF-8") from None
    if len(value) > _LONGEST:
        raise ValueError(f"at most {_LONGEST:,} characters")
    return value


def _shown(name: str, value: str) -> str:
    """A bad value as it may be shown: no password, no key, and not all of a very long one."""
    if name in {_SECRET, "FLOWCORE_SECRETS"}:
        return "***"
    return redacted(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")


def _accepted(error: ValueError | OSError) -> str:
    if isinstance(error, OSError):
        return f"a directory; {error.strerror or error}"
    return str(error)


def _xdg_home(environ: Mapping[str, str]) -> Path:
    base = Path(environ.get("XDG_DATA_HOME", ""))
    # The XDG base directory specification says to ignore relative paths.
    if not base.is_absolute():
        base = Path(environ.get("HOME") or _account_home()) / ".local" / "share"
    try:
        return Path(_text(str(base.absolute()))) / "flowcore"
    except (ValueError, OSError) as error:
        problem = f"HOME={str(base)[:_SHOWN]!r}: expected {_accepted(error)}; or set FLOWCORE_HOME"
        raise SettingsError((problem,)) from None


def _account_home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        problem = "HOME is not set, and this user has no home: set FLOWCORE_HOME to a directory"
        raise SettingsError((problem,)) from None


def _path(value: str) -> Path | None:
    try:
        path = Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("a directory; there is no such user") from None
    if path.exists() and not path.is_dir():
        raise ValueError("a directory, and this is a file")
    return path


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("1 to 100 of the characters A-Z a-z 0-9 _ . : -")
    return value


def _switch(value: str) -> bool:
    try:
        return {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}[
            value.lower()
        ]
    except KeyError:
        msg = "on or off"
        raise ValueError(msg) from None


def _size(value: str) -> int | None:
    return numbers.count(numbers.LARGEST)(value)


def _payloads(value: str) -> str | None:
    accepted = "redis, off, file:///path, or a URL for fsspec such as s3://bucket/prefix"
    if value in ("redis", "off"):
        return value
    scheme, there, rest = value.partition("://")
    if not (there and rest and _SCHEME.fullmatch(scheme) and is_url(value)):
        raise ValueError(accepted)
    if scheme == "file" and not rest.startswith("/"):
        raise ValueError(f"{accepted}: three slashes and a path from the root")
    return value.rstrip("/") or value


def _modules(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError("dotted module names separated by commas, such as shop.nodes,billing")
    return names


def _hosts(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if "://" in name or ("/" in name and not _is_network(name)):
            raise ValueError("hosts and networks separated by commas, such as localhost,10.0.0.0/8")
    return names


def _is_network(name: str) -> bool:
    try:
        ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
    return True


def _names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _secrets(value: str) -> tuple[str, ...]:
    secrets = tuple(secret.strip() for secret in value.split(",") if secret.strip())
    if not secrets or any(len(secret) < _SECRET_LENGTH for secret in secrets):
        raise ValueError(f"secrets of at least {_SECRET_LENGTH} characters, separated by commas")
    return secrets


def _secret_names(value: str) -> tuple[str, ...]:
    names = _names(value)
    if not all(_SECRET_NAME.fullmatch(name) for name in names):
        raise ValueError("names of variables separated by commas, such as API_KEY,STRIPE_*")
    if any(fnmatchcase(_SECRET, name) or name.startswith("FLOWCORE_") for name in names):
        raise ValueError(f"names that leave out flowcore's own variables, such as {_SECRET}")
    return names


def _log_level(value: str) -> str:
    if value.upper() not in _LOG_LEVELS:
        raise ValueError("one of " + ", ".join(_LOG_LEVELS))
    return value.upper()
