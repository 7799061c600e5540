"""What people, scripts and accidents put behind an option: valid, misspelt, absurd.

In: a random generator, and what there is (files, runs). Out: words. Not here: whole lines (lines).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from flowcore.assembly import settings
from tests.canary import CANARY
from tests.commands.tree import Param

__all__ = ["PASSWORD", "SETTINGS", "World", "misspelt", "setting", "value_of"]

#: In every URL of a server that has one: never shown.
PASSWORD = CANARY

#: Every variable that there is, found where they are read.
SETTINGS = tuple(
    sorted(set(re.findall(r"FLOWCORE_[A-Z_]+[A-Z]", Path(settings.__file__).read_text("utf-8"))))
)


@dataclass
class World:
    """What the words may name."""

    root: Path
    runs: Sequence[str] = ()
    threads: Sequence[str] = ()
    tasks: Sequence[str] = ()
    flows: Sequence[str] = ()
    files: Sequence[str] = ()
    redis: str = ""
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values that are right, by the name of an option."""


NUMBERS = (
    *("0", "1", "2", "7", "100", "-1", "-0", "+3", "00", "007", "1.5", "1e3", "1e309", "-1e309"),
    *("nan", "inf", "-inf", "NaN", "Infinity", "1_000", "0x10", "٣", "\uff11", "½", "1,5", " 5 "),
    *(
        "99999999999999999999",
        "9223372036854775808",
        "9" * 400,
        "9" * 5000,
        "1e-400",
        "1/2",
        "True",
    ),
)
DURATIONS = (
    *("1s", "500ms", "0", "0s", "2", "0.05", "0.000000001ms", "1h30m", "-5s", "5 s", "5S", "s"),
    *("99999999999d", "1e300", "36525d", "36526d", "1d1d1d", "soon", "1h-30m", "inf", "nan", "٣s"),
)
TEXTS = (
    *(
        "",
        " ",
        "\t",
        "\n",
        "a",
        "x" * 200,
        "x" * 40_000,
        "naïve",
        "日本語",
        "😀",
        "a b",
        "a,b",
        ",,",
    ),
    *("-", "--", "---", "-x", "--bogus", "--bogus=1", "@", "@@", "%s", "{}", "${{ x }}", "${{"),
    *(
        "\\",
        "'",
        '"',
        "`id`",
        "$(id)",
        ";",
        "*",
        "../..",
        "/",
        "~",
        "~nobody/x",
        "a/b/c",
        "a@b",
        "@1",
    ),
    *(
        "\udcff",
        "a\udc80b",
        "\x1b[31mred",
        "\x1b]0;owned\x07",
        "\u202egnp",
        "\ufdd0",
        "\x7f",
        "\x01",
    ),
    *(
        "[1",
        "[bold]x[/bold]",
        "[/]",
        "a=b",
        "a=",
        "=b",
        "null",
        "true",
        "__proto__",
        "a.b.c",
        ":",
        "a:",
    ),
    *(
        ":b",
        "a:b",
        "a:b:c",
        "os:system",
        "json:loads",
        "builtins:exec",
        "x" * 121,
        "NUL%00",
        "\r\n",
    ),
)
INPUTS = (
    *(
        "{}",
        "[]",
        "null",
        "1",
        '{"a": 1}',
        "a=1",
        "a=",
        "a=[1",
        "=1",
        "{",
        "{bad",
        "NaN",
        '{"a":NaN}',
    ),
    *(
        '{"a":1e309}',
        "a=1e309",
        "@",
        "@-",
        "[" * 2000,
        "[" * 200_000,
        "1" * 5000,
        "a=" + "9" * 5000,
    ),
    *(
        '{"a": {"a": {"a": 1}}}',
        '{"a":1,"a":2}',
        '"\\ud800"',
        '{"\\udc00": 1}',
        "\udcff=1",
        "a=\udcff",
    ),
    *("count=three", "count=3", "text=7", "other=1", "a-b.c=1", "日=1", '{"count": "x"}', "[1,2]"),
)
TIMES = (
    *("0 0 * * *", "*/5 * * * *", "@daily", "0 0 * * sat-sun", "0 0 * * fri-mon", "0 0 * * 5-7"),
    *("* * * *", "60 * * * *", "0 0 31 2 *", "0 0 30 2 *", "@reboot", "@never", "* * * * * *"),
    *("0 0 * * mon#9", "0 0 L * *", "*/0 * * * *", "5-1 * * * *", "a b c d e", "0 0 * * \udcff"),
)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Mars/Base",
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "utc",
    "EST5EDT",
)
URLS = (
    *(f"redis://:{PASSWORD}@", f"redis://u:{PASSWORD}@no.such.host.invalid:6379/0"),
    *(f"redis://:{PASSWORD}@127.0.0.1:1/0", f"redis://:{PASSWORD}@127.0.0.1:99999/0"),
    *(
        f"redis://:{PASSWORD}@[::1",
        f"redis://:{PASSWORD}@[::1]:1/0",
        f"redis://:{PASSWORD}@h/%zz?foo=1",
    ),
    *(
        f"redis:/:{PASSWORD}@localhost/0",
        f"redis//:{PASSWORD}@localhost",
        f"redis://{PASSWORD}:@x:y",
    ),
    *(f"http://u:{PASSWORD}@localhost:1/", f"amqp://u:{PASSWORD}@127.0.0.1:1//", f"{PASSWORD}@h"),
    *(f"redis://127.0.0.1:1/0?password={PASSWORD}", f"redis://127.0.0.1:1/0?foo={PASSWORD}&foo=1"),
    *(f"sentinel://:{PASSWORD}@127.0.0.1:1/0", f"sentinel://:{PASSWORD}@127.0.0.1:1,[::1]:2/m/0"),
    *(
        f"sentinel+rediss://:{PASSWORD}@h:1/m?x=1",
        f"rediss://:{PASSWORD}@127.0.0.1:1/0?ssl_cert_reqs=x",
    ),
    *(
        f"redis://:{PASSWORD}@127.0.0.1:1/0,redis://:{PASSWORD}@127.0.0.1:1/0",
        f"redis://:{PASSWORD}",
    ),
    *(
        f"redis://a:{PASSWORD}#@127.0.0.1:1/0",
        f"redis://a:{PASSWORD}?@127.0.0.1:1",
        f"REDIS://:{PASSWORD}@h",
    ),
    *(
        f"redis://a:{PASSWORD}/x@127.0.0.1:1/0",
        f"redis://a:{PASSWORD}@127.0.0.1:1/zero",
        "redis://",
    ),
    *(
        "unix://",
        "unix:///no/such.sock",
        "unix:///no/such.sock?foo=1",
        "unix:///etc/passwd?db=x",
        "://",
    ),
    *(
        "redis://%",
        "redis://[",
        "redis://]",
        "redis://\udcff",
        "redis:// ",
        "redis://h:0/0",
        "?foo=1",
        "x",
    ),
    *("redis://127.0.0.1:1/0?foo=1", "redis://127.0.0.1:1/-1", "redis://127.0.0.1:1/" + "9" * 400),
    *(
        "redis://" + "h" * 300 + ":1/0",
        "redis://127.0.0.1:-1/0",
        "redis://127.0.0.1:1/0#x",
        "redis://[v1.x]",
    ),
)
#: How often a value is of the right kind all the same.
_USUALLY = 0.6
WORDS = (TEXTS, NUMBERS, DURATIONS, INPUTS)


def value_of(param: Param, draw: Random, world: World, *, careful: bool) -> str:
    """Draw a value for an option or an argument; a careful one is of the right kind."""
    find = _right if careful or draw.random() < _USUALLY else draw.choice(_ODD)
    return find(param, draw, world)


def _odd(param: Param, draw: Random, _world: World) -> str:
    return draw.choice(draw.choice(WORDS))


def _odd_file(param: Param, draw: Random, world: World) -> str:
    return ("@" if draw.random() < 0.2 else "") + draw.choice(world.files)


def _odd_choice(param: Param, draw: Random, world: World) -> str:
    return misspelt(_right(param, draw, world), draw)


def _right(param: Param, draw: Random, world: World) -> str:
    """A value of the kind that the option takes, as far as its name and type tell."""
    if param.choices:
        return draw.choice(param.choices)
    if param.kind in {int, float}:
        return draw.choice(NUMBERS)
    if param.name in world.names:
        return draw.choice(world.names[param.name])
    for pattern, find in _KINDS.items():
        if re.search(pattern, param.name):
            return draw.choice(find(world))
    return draw.choice(TEXTS)


_ODD = (_odd, _odd_file, _odd_choice, _right)

_KINDS: Mapping[str, Callable[[World], Sequence[str]]] = {
    r"^run$|part_of": lambda world: [*world.runs, "nobody", *world.runs],
    r"^flows?$|remove": lambda world: [*world.flows, *world.files],
    r"thread|prefix": lambda world: [*world.threads, "nobody/x", ""],
    r"^task": lambda world: [*world.tasks, "t-nobody"],
    r"timeout|every|critical": lambda _: DURATIONS,
    r"^cron$": lambda _: TIMES,
    r"^zone$": lambda _: ZONES,
    r"given|input": lambda world: [*INPUTS, *(f"@{file}" for file in world.files)],
    r"file|trace|directory|path": lambda world: world.files,
    r"url": lambda _: URLS,
}


def misspelt(word: str, draw: Random) -> str:
    """Make a mistake of typing."""
    if not word:
        return "x"
    at = draw.randrange(len(word))
    return draw.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + draw.choice("xyz-_ ") + word[at + 1 :],
            word.upper(),
            word + draw.choice((" ", "s", "-")),
        )
    )


_OUTSIDE = ("/", "~", "../..")


def setting(name: str, draw: Random, world: World) -> str:
    """Draw a value for a variable of flowcore's: mostly a wrong one."""
    if "URL" in name:
        return draw.choice((*URLS, *URLS, world.redis + "?foo=1", world.redis, *TEXTS))
    if name.endswith(("_HOME", "_DIR", "PAYLOADS")):
        # Not where it would make directories that nobody removes.
        return draw.choice([one for one in (*world.files, *URLS, *TEXTS) if one not in _OUTSIDE])
    return draw.choice(draw.choice((*WORDS, URLS, ("on", "off", "DEBUG", "debug", "1", "30"))))
