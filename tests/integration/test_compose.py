"""Every command of ``compose/docker-compose.yml``, run as a plain process.

Host names become loopback ports and directories of containers become temporary ones; nothing else
of a command or its environment is changed.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from flowcore import Run, Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.valkey_process import find_binary
from flowcore.client.flow import Flow, start_run
from tests.engine import poll
from tests.flower_services import FLOWER_BIN, ROOT, FlowerSite, free_port, need_flower, running

pytestmark = [pytest.mark.integration, pytest.mark.flower, pytest.mark.timeout(300)]

COMPOSE = yaml.safe_load((ROOT / "compose" / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
README = ROOT / "compose" / "README.md"

# Stands in for the client of the server's image, which the wheel does not bring.
CLI = """#!{python}
import argparse, os, redis
parser = argparse.ArgumentParser(add_help=False)
parser.add_argument("-e", action="store_true")
parser.add_argument("-h")
parser.add_argument("-p", type=int)
parser.add_argument("command")
given = parser.parse_args()
client = redis.Redis(given.h, given.p, password=os.environ["REDISCLI_AUTH"])
print(client.execute_command(given.command))
"""


@dataclass
class Machine:
    """This machine in the place of the containers."""

    home: Path
    ports: Mapping[str, int] = field(
        default_factory=lambda: {"6379": free_port(), "5555": free_port()}
    )

    def text(self, given: str) -> str:
        """A word of the file as it is here."""
        word = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", given).replace("$$", "$")
        for port, here in self.ports.items():
            word = re.sub(rf"(?<!\d){port}(?!\d)", str(here), word)
        word = re.sub(r"\b(redis|localhost|0\.0\.0\.0)(?=:\d|$)", "127.0.0.1", word)
        places = {
            "/data": self.home,
            "/flows": self.home / "flows",
            "/etc/flower": ROOT / "compose",
        }
        for place, here_ in places.items():
            word = re.sub(rf"(?<![\w/]){place}(?!\w)", str(here_), word)
        return word

    def environment(self, service: str) -> dict[str, str]:
        """What the container sees, and a PATH on which its programs are."""
        path = [str(self.home / "bin"), str(bin_of(service)), os.defpath]
        given = {name: self.text(value) for name, value in SERVICES[service]["environment"].items()}
        return {"PATH": ":".join(path), "HOSTNAME": socket.gethostname(), **given}

    def directory(self, service: str) -> Path:
        """Where its commands run."""
        return Path(self.text(SERVICES[service].get("working_dir", str(self.home))))

    def command(self, service: str) -> list[str]:
        return [self.text(word) for word in SERVICES[service]["command"]]

    def healthy(self, service: str) -> bool:
        """Run the health check once."""
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        words = [self.text(word) for word in words]
        argv = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
        argv[0] = shutil.which(argv[0], path=self.environment(service)["PATH"]) or argv[0]
        env = self.environment(service)
        where = self.directory(service)
        done = subprocess.run(
            argv, env=env, cwd=where, capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0


def bin_of(service: str) -> Path:
    return FLOWER_BIN if service == "flower" else Path(sys.executable).parent


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All services, started in the order of the file and healthy."""
    need_flower()
    machine = Machine(tmp_path_factory.mktemp("compose"))
    programs = machine.home / "bin"
    programs.mkdir()
    shutil.copytree(ROOT / "compose" / "flows", machine.home / "flows")
    # Tests have nodes of their own there.
    shutil.copytree(
        ROOT / "tests" / "integration" / "modules", machine.home / "flows", dirs_exist_ok=True
    )
    (programs / "valkey-server").symlink_to(find_binary())
    (programs / "valkey-cli").write_text(CLI.format(python=sys.executable))
    (programs / "valkey-cli").chmod(0o755)
    with ExitStack() as stack:
        for service in SERVICES:
            assert not machine.healthy(service), f"{service} is healthy before it is there"
            env = machine.environment(service)
            argv = machine.command(service)
            argv[0] = shutil.which(argv[0], path=env["PATH"]) or argv[0]
            log = machine.home / f"{service}.log"
            where = machine.directory(service)
            stack.enter_context(running(argv, env=env, cwd=where, log=log))
            poll(partial(machine.healthy, service), what=f"a healthy {service}")
        yield machine


@pytest.fixture(scope="module")
def session(up: Machine) -> Iterator[Session]:
    """A client outside, with nothing but the worker's FLOWCORE_REDIS_URL."""
    url = up.environment("worker")["FLOWCORE_REDIS_URL"]
    environ = {"FLOWCORE_REDIS_URL": url, "FLOWCORE_HOME": str(up.home)}
    with Session(Settings.from_env(environ), environ=environ) as session:
        yield session


def start(session: Session, nodes: Mapping[str, Any]) -> Run:
    return start_run(session, Flow.load({"id": "composed", "nodes": nodes}).plan())


def test_a_run_from_outside_is_done_by_the_worker_and_shown_by_flower(
    up: Machine, session: Session
) -> None:
    port = up.ports["5555"]
    auth = up.environment("flower")["FLOWER_BASIC_AUTH"]
    flower = FlowerSite(url=f"http://127.0.0.1:{port}", auth=auth)
    poll(flower.hears_events, what="a worker's heartbeat in Flower")
    run = start(session, {"a": {"uses": "engine_nodes:echo", "with": {"value": 7}}})
    assert run.wait(timeout=60).output == 7
    found = poll(
        lambda: [
            row
            for row in flower.search(f"kwargs:run={run.id} state:SUCCESS")
            if row["name"] == "composed.a"
        ],
        what="the node in Flower",
    )
    assert found[0]["worker"] == f"worker@{socket.gethostname()}"
    assert 'data-column="kwargs"' in flower.get("/tasks")


def test_the_readme_works_as_written(up: Machine) -> None:
    """All of its commands but Docker's own, in one shell, beside the services."""
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    ours = [line for line in lines if not line.startswith("docker compose ")]
    # The last ones are for other passwords than those of the file.
    *commands, redis_password, flower_auth = ours
    assert redis_password.startswith("export FLOWCORE_REDIS_PASSWORD=")
    assert flower_auth.startswith("export FLOWER_BASIC_AUTH=")
    assert len(commands) == 6
    script = "\n".join(["set -ex", *map(up.text, commands)])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "FLOWCORE_HOME": str(up.home / "reader"), "HOME": str(up.home)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    host = socket.gethostname()
    assert f"HELLO ADA, FROM {host.upper()}!" in done.stdout
    assert "started local workers" not in done.stderr, "the container's worker did it"
    assert f"worker@{host}" in done.stdout
    bare = subprocess.run(
        ["bash", "-c", up.text(commands[-1]).replace("-u flowcore:flowcore", "-sw %{http_code}")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "401" in bare.stdout, "as the page says"


def test_the_server_asks_for_its_password_and_writes_to_its_volume(up: Machine) -> None:
    with redis.Redis(port=up.ports["6379"]) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    url = up.environment("worker")["FLOWCORE_REDIS_URL"]
    with redis.Redis.from_url(url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
    assert list(up.home.glob("appendonlydir/*.aof"))


def test_a_stopped_worker_ends_within_its_grace_and_another_finishes_its_node(
    up: Machine, session: Session, tmp_path: Path
) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    env = up.environment("worker")
    argv = [shutil.which("celery", path=env["PATH"]) or "celery", *up.command("worker")[1:]]
    # A second worker with the queue of its own that the run travels on.
    argv += ["--hostname", "second@%h", "--queues", "second"]
    node = {
        "uses": "engine_nodes:wait_for",
        "queue": "second",
        "with": {"path": str(gate), "mark": str(mark)},
    }
    with running(argv, env=env, cwd=up.directory("worker"), log=up.home / "second.log") as worker:
        run = start(session, {"held": node})
        poll(mark.exists, what="the node to run")
        worker.send_signal(signal.SIGTERM)
        grace = float(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
        worker.wait(grace)
    gate.write_text("open")
    with running(argv, env=env, cwd=up.directory("worker"), log=up.home / "third.log"):
        assert run.wait(timeout=90).output == "open"


def test_services_find_redis_by_the_environment_alone() -> None:
    for service in ("worker", "flower"):
        assert "FLOWCORE_REDIS_URL" in SERVICES[service]["environment"]
        assert not any("redis://" in word for word in SERVICES[service]["command"])
    assert SERVICES["worker"]["environment"]["REMAP_SIGTERM"] == "SIGQUIT"


def test_every_service_has_a_command_a_health_check_and_loopback_ports() -> None:
    for service in SERVICES.values():
        assert service["command"]
        assert service["healthcheck"]["test"]
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_files_that_the_containers_use_exist() -> None:
    for service in SERVICES.values():
        if build := service.get("build"):
            dockerfile = (ROOT / build["dockerfile"]).read_text()
            assert f" AS {build['target']}\n" in dockerfile
            for line in dockerfile.splitlines():
                if line.startswith("COPY "):
                    *sources, _ = shlex.split(line)[1:]
                    assert all((ROOT / source).exists() for source in sources)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / "compose" / source).exists()
