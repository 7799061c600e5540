"""Brokers and stores beyond one Valkey: RabbitMQ, a primary with Sentinels, a Cluster's node.

Each is a real server in processes of its own, which end with the block and with this process.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore.assembly.valkey_process import find_binary
from tests.engine import poll
from tests.flower_services import free_port

__all__ = [
    "RabbitServer",
    "Replicated",
    "rabbitmq_binary",
    "running_cluster_node",
    "running_rabbitmq",
    "running_replicated",
]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


_Process = subprocess.Popen[bytes]


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> _Process:
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env=None if env is None else dict(env),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # One call of libc, on the main thread: safe enough, and nothing else ends with us.
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _end(process: _Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


# ── RabbitMQ ────────────────────────────────────────────────────────────────────────────────────


def rabbitmq_binary() -> str | None:
    """The server's own script: Debian's in the path is a wrapper that changes the user."""
    debian = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    return debian if Path(debian).exists() else shutil.which("rabbitmq-server")


@dataclass(kw_only=True)
class RabbitServer:
    """A server with a data directory and ports of its own."""

    home: Path
    port: int
    env: Mapping[str, str]
    hosts: int
    process: _Process | None = None
    used: int = 0

    def fresh(self) -> str:
        """The URL of a virtual host that nobody has used yet."""
        self.used += 1
        assert self.used <= self.hosts, "give running_rabbitmq() more hosts"
        return self.url(f"v{self.used}")

    def url(self, host: str) -> str:
        """The URL of a virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{host}"

    def start(self) -> None:
        """Start it, or start it again with what it has kept."""
        log = self.home / "log"
        binary = rabbitmq_binary()
        assert binary
        self.process = _start([binary], log=log, env=self.env)
        poll(lambda: self._answers() or self._ended(), what="RabbitMQ")
        if self._ended():
            pytest.fail(f"RabbitMQ has ended:\n{log.read_text()[-5000:]}")

    def kill(self) -> None:
        """End it without a word, as the end of its machine would."""
        if self.process is not None:
            _end(self.process)
            self.process = None

    def pause(self, *, paused: bool) -> None:
        """Freeze it, or let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def _ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.settimeout(1)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False


@contextmanager
def running_rabbitmq(*options: str, hosts: int = 24) -> Iterator[RabbitServer]:
    """A server of one node; the test is skipped where none is installed.

    Args:
        options: More for Erlang's command line, such as ``-rabbit consumer_timeout 3000``.
        hosts: Virtual hosts, of which each engine gets one: to make one later takes seconds.
    """
    if rabbitmq_binary() is None or shutil.which("epmd") is None:
        pytest.skip("no RabbitMQ here: 'apt-get install rabbitmq-server' installs it")
    home = Path(tempfile.mkdtemp(prefix="fc-rmq-"))
    names = ["/", *(f"v{i}" for i in range(1, hosts + 1))]
    grant = {"user": "guest", "configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": name} for name in names],
        "permissions": [{**grant, "vhost": name} for name in names],
    }
    (home / "definitions.json").write_text(json.dumps(definitions))
    (home / "rabbitmq.conf").write_text(f"load_definitions = {home}/definitions.json\n")
    (home / "plugins").write_text("[].\n")
    port, epmd_port = free_port(), free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        # A daemon of our own for the names of Erlang's nodes: the usual one would stay behind.
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "flowcore@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOGS": "-",
        # Without it a shell stands between us and the server. Idle schedulers must not spin.
        "RABBITMQ_ALLOW_INPUT": "1",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(
            [
                "-noinput +S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
                *options,
            ]
        ),
    }
    server = RabbitServer(home=home, port=port, env=env, hosts=hosts)
    epmd = _start(["epmd", "-port", str(epmd_port)], log=home / "epmd.log", env=env)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        _end(epmd)
        shutil.rmtree(home, ignore_errors=True)


# ── A primary, a replica and their Sentinels ────────────────────────────────────────────────────

_SENTINEL = """
port {port}
bind 127.0.0.1
dir {home}
requirepass {password}
sentinel sentinel-pass {password}
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel auth-pass {name} {secret}
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 5000
"""


@dataclass(kw_only=True)
class Replicated:
    """A primary and a replica, which three Sentinels watch; all ask for passwords."""

    url: str
    ports: tuple[int, int]
    sentinels: tuple[int, ...]
    servers: list[_Process] = field(default_factory=list)

    NAME = "flows"
    SECRET = "the secret of the data"
    SENTINEL_SECRET = "sentinels"

    def client(self, index: int) -> Any:
        """A client of one server, whatever its role."""
        return redis.Redis(port=self.ports[index], password=self.SECRET)

    def sentinel(self, *command: str) -> None:
        """Tell the first Sentinel something."""
        with redis.Redis(port=self.sentinels[0], password=self.SENTINEL_SECRET) as client:
            client.execute_command("SENTINEL", *command)

    def kill_primary(self) -> None:
        """End the server that was started as the primary."""
        _end(self.servers[0])

    def replica_is_promoted(self) -> bool:
        """Whether the second server takes writes by now."""
        with self.client(1) as client:
            return bool(client.info("replication")["role"] == "master")


@contextmanager
def running_replicated() -> Iterator[Replicated]:
    """Five processes; the second server has a copy of the first when the block begins."""
    home = Path(tempfile.mkdtemp(prefix="fc-"))
    binary, first, second = str(find_binary()), free_port(), free_port()
    secret, password = Replicated.SECRET, Replicated.SENTINEL_SECRET
    common = ["--save", "", "--bind", "127.0.0.1", "--requirepass", secret]
    common += ["--repl-diskless-sync-delay", "0"]
    watchers = (free_port(), free_port(), free_port())
    hosts = ",".join(f"127.0.0.1:{port}" for port in watchers)
    entry = secret.replace(" ", "%20")
    made = Replicated(
        url=f"sentinel://:{entry}@{hosts}/{Replicated.NAME}/2?sentinel_password={password}",
        ports=(first, second),
        sentinels=watchers,
    )
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)

        def start(name: str, *argv: str) -> None:
            (home / name).mkdir()
            process = _start([binary, *argv], log=home / name / "log")
            stack.callback(_end, process)
            made.servers.append(process)

        here = ["--dir", str(home), "--masterauth", secret]
        start("primary", "--port", str(first), *common, *here)
        start("replica", "--port", str(second), *common, *here, "--replicaof", f"127.0.0.1 {first}")
        with made.client(1) as client:
            poll(lambda: _up(client) and _linked(client), what="the replica to have a copy")
        for number, port in enumerate(watchers):
            conf = home / f"sentinel-{number}.conf"
            values = {"port": port, "home": home, "name": Replicated.NAME, "primary": first}
            conf.write_text(_SENTINEL.format(**values, secret=f'"{secret}"', password=password))
            start(f"sentinel-{number}", str(conf), "--sentinel")
        for port in watchers:
            with redis.Redis(port=port, password=password) as watcher:
                poll(lambda: _up(watcher) and _sees_all(watcher), what="the Sentinels to meet")
        yield made


def _up(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _linked(client: Any) -> bool:
    return bool(client.info("replication").get("master_link_status") == "up")


def _sees_all(watcher: Any) -> bool:
    about = watcher.sentinel_master(Replicated.NAME)
    return bool(about["num-slaves"] == 1 and about["num-other-sentinels"] == 2)


# ── A Cluster's node ────────────────────────────────────────────────────────────────────────────


@contextmanager
def running_cluster_node() -> Iterator[str]:
    """One server that is a whole Cluster: scripts and keys of any slot would work there."""
    home, port = Path(tempfile.mkdtemp(prefix="fc-")), free_port()
    own = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""]
    cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    process = _start([str(find_binary()), *own, *cluster], log=home / "log")
    try:
        with redis.Redis(port=port) as client:
            poll(lambda: _up(client), what="the node")
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            poll(lambda: client.cluster("info")["cluster_state"] == "ok", what="the Cluster")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _end(process)
        shutil.rmtree(home, ignore_errors=True)
