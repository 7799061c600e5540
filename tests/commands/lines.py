"""Random command lines: right ones with mistakes in them, in odd places and odd environments.

In: a seed, and what there is. Out: lines. Not here: running them (zygote), what is right (judging).
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.commands.tree import Command, Param, commands
from tests.commands.values import SETTINGS, TEXTS, World, misspelt, setting, value_of

__all__ = ["Line", "lines"]

#: Lines whose words are right, as far as can be told: what they meet may be odd all the same.
_CAREFUL = 0.5


@dataclass
class Line:
    """One command line, and where it is typed."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    streams: list[str | None]
    """Files of stdin, stdout and stderr; None: closed."""
    within: float = 2.0
    """Seconds after which it is told to end."""
    patience: float = 60.0
    """Seconds after which it is killed: it hangs."""
    signal: int = signal.SIGINT
    gone: bool = False
    """The working directory is removed before it begins."""
    notes: list[str] = field(default_factory=list)

    def asked(self) -> dict[str, Any]:
        """For the zygote."""
        return asdict(self)

    def __str__(self) -> str:
        """As it can be typed again, more or less."""
        odd = ", ".join(self.notes)
        argv = " ".join(f"{word[:80]!r}" for word in self.argv)
        return f"flowcore {argv}" + (f"   [{odd}]" if odd else "")


def lines(seed: int, count: int, world: World) -> Iterator[Line]:
    """Draw lines; the same seed draws the same."""
    draw = Random(seed)
    every = list(commands())
    for number in range(count):
        # Each command has its turn, whatever the seed.
        yield _line(every[number % len(every)], draw, world)


def _line(command: Command, draw: Random, world: World) -> Line:
    is_careful = draw.random() < _CAREFUL
    words = [*command.path, *_arguments(command, draw, world, careful=is_careful)]
    for _ in range(0 if is_careful else draw.choice((0, 0, 0, 1, 2))):
        words = draw.choice(_MISTAKES)(words, draw)
    line = Line(
        argv=[word.replace("\0", "") for word in words],
        env=_environment(world),
        cwd=str(world.root),
        streams=["/dev/null", str(world.root / "out"), str(world.root / "err")],
    )
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2))):
        draw.choice(_ODDITIES)(line, draw, world)
    return line


def _arguments(command: Command, draw: Random, world: World, *, careful: bool) -> list[str]:
    words: list[str] = []
    for param in command.params:
        if not param.words:
            count = 1 if param.required or draw.random() < 0.7 else 0
            if param.multiple and draw.random() < 0.3:
                count += 1
            words += [value_of(param, draw, world, careful=careful) for _ in range(count)]
        elif draw.random() < (1.0 if param.required else 0.25):
            words += _option(param, draw, world, careful=careful)
    return words


def _option(param: Param, draw: Random, world: World, *, careful: bool) -> list[str]:
    name = draw.choice(param.words)
    if param.is_flag:
        return [name]
    times = draw.choice((1, 1, 2, 3)) if param.multiple else 1
    given = [value_of(param, draw, world, careful=careful) for _ in range(times)]
    if name.startswith("--") and draw.random() < 0.3:
        return [f"{name}={value}" for value in given]
    return [word for value in given for word in (name, value)]


# ── mistakes ────────────────────────────────────────────────────────────────────────────────────


def _drop(words: list[str], draw: Random) -> list[str]:
    at = draw.randrange(len(words))
    return words[:at] + words[at + 1 :]


def _misspell(words: list[str], draw: Random) -> list[str]:
    if not words:
        return words
    at = draw.randrange(len(words))
    return [*words[:at], misspelt(words[at], draw), *words[at + 1 :]]


def _insert(words: list[str], draw: Random) -> list[str]:
    at = draw.randrange(len(words) + 1)
    word = draw.choice((*TEXTS, "--help", "-h", "-q", "-o", "json", "--version", "--", "-ojsonl"))
    return [*words[:at], word, *words[at:]]


def _swap(words: list[str], draw: Random) -> list[str]:
    shuffled = words[1:]
    draw.shuffle(shuffled)
    return [*words[:1], *shuffled]


def _as_json(words: list[str], draw: Random) -> list[str]:
    return [*words, "-o", draw.choice(("json", "jsonl"))]


def _safely(mistake: Callable[[list[str], Random], list[str]]) -> Any:
    return lambda words, draw: mistake(words, draw) if words else words


_MISTAKES = (*map(_safely, (_drop, _misspell, _insert, _swap)), _as_json)


# ── environments ────────────────────────────────────────────────────────────────────────────────


def _environment(world: World) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(world.root / "home"),
        "LANG": "C.UTF-8",
        "FLOWCORE_HOME": str(world.root / "home" / "flowcore"),
        "FLOWCORE_REDIS_URL": world.redis,
        "FLOWCORE_NAMESPACE": "",
        "PYTHONPATH": str(world.root),
    }


def _odd_setting(line: Line, draw: Random, world: World) -> None:
    name = draw.choice(SETTINGS)
    _set(line, name, setting(name, draw, world))


def _no_url(line: Line, draw: Random, world: World) -> None:
    line.env.pop("FLOWCORE_REDIS_URL", None)
    line.notes.append("embedded")


def _odd_variable(line: Line, draw: Random, world: World) -> None:
    name = draw.choice(sorted(_VARIABLES))
    value = draw.choice(_VARIABLES[name])
    if value is None:
        line.env.pop(name, None)
        line.notes.append(f"no {name}")
    else:
        _set(line, name, value)


def _set(line: Line, name: str, value: str) -> None:
    value = value.replace("\0", "")[:100_000]
    line.env[name] = value
    line.notes.append(f"{name}={value[:200]!r}")


_NO_HOMES = ("/proc/nowhere", "/dev/null/x", "", "relative", "/proc", "\udcff", "/" + "h" * 300)
_VARIABLES: dict[str, tuple[str | None, ...]] = {
    "HOME": (*_NO_HOMES, None),
    "XDG_DATA_HOME": _NO_HOMES,
    "FLOWCORE_HOME": (*_NO_HOMES, None),
    "TMPDIR": ("/no/such", "", "/proc", "/dev/null", "\udcff"),
    "TZ": ("Mars/Base", "", ":/etc/passwd", "UTC+25:61", "\udcff", "x" * 5000),
    "LANG": ("C", "", "xx_YY.nonsense", "de_DE.ISO-8859-1"),
    "COLUMNS": ("0", "-1", "abc", "1", "5", "99999999999", "", "\udcff"),
    "LINES": ("0", "-1", "abc"),
    "TERM": (None, "dumb", "", "nonsense"),
    "NO_COLOR": ("1", ""),
    "PYTHONPATH": (None, "/no/such", "\udcff"),
    "PATH": (None, "", "/no/such"),
    "_FLOWCORE_COMPLETE": ("complete_bash", "source_zsh", "nonsense", ""),
    "FLOWCORE_PARENT_FD": ("99", "abc", "-1", "0"),
    "FLOWCORE_READY_FD": ("99", "abc", "-1", "1"),
}


def _odd_stream(line: Line, draw: Random, world: World) -> None:
    fd = draw.randrange(3)
    what = draw.choice((None, "/dev/null", str(world.root / "binary") if fd == 0 else "/dev/full"))
    line.streams[fd] = what
    line.notes.append(f"{('stdin', 'stdout', 'stderr')[fd]} is {what or 'closed'}")


def _directory_gone(line: Line, draw: Random, world: World) -> None:
    line.cwd = str(world.root / f"gone-{draw.randrange(10**9)}")
    Path(line.cwd).mkdir()
    line.gone = True
    line.notes.append("directory gone")


def _told(line: Line, draw: Random, world: World) -> None:
    line.signal = draw.choice((signal.SIGTERM, signal.SIGHUP))
    line.within = draw.choice((0.0, 0.05, 0.3))
    line.notes.append(f"{signal.Signals(line.signal).name} after {line.within} s")


_ODDITIES = (
    *(_odd_setting,) * 4,
    *(_odd_variable,) * 4,
    *(_no_url, _odd_stream, _odd_stream, _directory_gone, _told),
)
