"""No command prints a secret: neither what runs have read, nor keys and passwords it is given."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import redis

from flowcore import Flow
from flowcore.client.flow import deploy_plan
from tests.canary import CANARY, leaks_in
from tests.commands.lines import Line
from tests.commands.shell import Shell, running_shell
from tests.commands.tree import Command, commands
from tests.engine import Engine, running_engine
from tests.services import running_valkey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

READS = {"token": "${{ secrets.TOKEN }}"}
RUNS = ("good", "bad", "map")
#: What an argument is, by its name; a command that takes another one is tried without.
ARGUMENTS = {
    "run": RUNS,
    "flow": ("secret.yaml", "secret"),
    "flows": ("secret.yaml",),
    "node": ("leak",),
    "thread": ("support/alice",),
    "prefix": ("support",),
    "name": ("go",),
    "id": ("t1",),
    "text": ("hello",),
    "query": ("hello",),
    "signature": ("secret_nodes:leak",),
    "file": ("secret.yaml",),
    "trace": ("secret.yaml",),
    "directory": (".",),
}


@dataclass(frozen=True)
class Scene:
    root: Path
    shell: Shell
    env: dict[str, str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("command-secrets")
    with running_valkey() as plain:
        with redis.Redis.from_url(plain) as client:
            client.config_set("requirepass", CANARY)
        url = plain.replace("unix://", f"unix://:{quote(CANARY, safe='')}@")
        keys = {"secret": f"{CANARY}-{CANARY}", "secret_token": CANARY}
        with running_engine(url, root, **keys) as engine, running_shell() as shell:
            engine.workers()
            _start(engine, root)
            yield Scene(root, shell, _environment(url, root))


def _start(engine: Engine, root: Path) -> None:
    leak = {"uses": "secret_nodes:leak", "with": READS}
    fail = {"uses": "secret_nodes:fail", "with": READS}
    runs = [
        engine.start({"leak": leak}, run_id="good"),
        engine.start({"leak": fail}, run_id="bad"),
        engine.start({"leak": {**leak, "for_each": [1, 2]}}, run_id="map"),
    ]
    for run in runs:
        run.wait(60)
    tree = {"id": "secret", "nodes": {"leak": leak}}
    flow = Flow.load(tree)
    (root / "secret.yaml").write_text(flow.to_yaml())
    deploy_plan(engine.session, flow.plan())


def _environment(url: str, root: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "LANG": "C.UTF-8",
        "FLOWCORE_HOME": str(root),
        "FLOWCORE_REDIS_URL": url,
        "FLOWCORE_SECRET": f"{CANARY}-{CANARY}",
        "FLOWCORE_SECRET_TOKEN": CANARY,
        "PYTHONPATH": str(Path(__file__).parent / "modules"),
    }


def _lines(command: Command, scene: Scene) -> Iterator[Line]:
    """A command with each of its arguments, in one form after the other; and with a traceback."""
    required = [ARGUMENTS.get(param.name, ("x",)) for param in command.params if not param.words]
    forms = next((param.choices for param in command.params if param.name == "output"), ("",))
    tried = max([min(2, len(forms)), *map(len, required)])
    given: list[str] = []
    for at in range(tried):
        given = [values[at % len(values)] for values in required]
        form = forms[at % len(forms)]
        yield _line([*command.path, *given, *(["-o", form] if form else [])], scene)
    yield _line([*command.path, *given, "--debug"], scene)


def _line(argv: list[str], scene: Scene) -> Line:
    streams: list[str | None] = ["/dev/null", str(scene.root / "out"), str(scene.root / "err")]
    within = 1.0 if argv[0] in {"dev", "worker"} else 20.0
    return Line(argv=argv, env=scene.env, cwd=str(scene.root), streams=streams, within=within)


def _said(scene: Scene) -> str:
    return "".join((scene.root / name).read_text("utf-8", "replace") for name in ("out", "err"))


def test_no_command_prints_a_secret_in_any_form(scene: Scene) -> None:
    told = 0
    for command in commands():
        for line in _lines(command, scene):
            ended = scene.shell.run(line)
            said = _said(scene)
            assert leaks_in(said) == [], str(line)
            assert ended["code"] is not None, str(line)
            told += bool(said)
    assert told > 80


@pytest.mark.parametrize(
    "odd",
    [
        {"FLOWCORE_REDIS_URL": f"redis://:{CANARY}"},
        {"FLOWCORE_REDIS_URL": f"redis://:{quote(CANARY, safe='')}@127.0.0.1:1/0"},
        {"FLOWCORE_BROKER_URL": f"amqp://u:{quote(CANARY, safe='')}@127.0.0.1:1//"},
        {"FLOWCORE_PAYLOADS": f"s3://key:{CANARY}@bucket/x"},
        {"FLOWCORE_SECRET": CANARY[:8]},
        {"FLOWCORE_SECRETS": CANARY},
    ],
    ids=["no host", "url", "broker", "payloads", "short key", "a name that is a secret"],
)
def test_no_error_shows_a_secret(odd: dict[str, str], scene: Scene) -> None:
    for argv in (["list", "--debug"], ["doctor", "-o", "json"], ["run", "secret.yaml", "--debug"]):
        line = _line(argv, scene)
        line.env = {**scene.env, **odd}
        scene.shell.run(line)
        assert leaks_in(_said(scene)) == [], str(line)


def test_what_is_hidden_is_shown_as_such(scene: Scene) -> None:
    scene.shell.run(_line(["inspect", "good", "-o", "json"], scene))
    assert "***" in _said(scene)


def test_no_process_shows_a_secret_in_its_command_line(scene: Scene) -> None:
    for process in psutil.process_iter():
        try:
            typed = " ".join(process.cmdline())
        except psutil.Error:
            continue
        assert leaks_in(typed) == []
