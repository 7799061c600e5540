"""What is printed belongs to the attempt that prints it, and no line is lost."""

# ruff: noqa: T201  (printing is what this is about)

import asyncio
import contextvars
import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowcore.engine.attempts.print_capture import MOST_LINE, capture
from flowcore.engine.attempts.secrets import read_secrets
from flowcore.engine.values.redaction import MASK, Redactor
from flowcore.testing.secrets import GivenSecrets
from tests.deep import count


class Stdout:
    """The worker's own output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def getvalue(self) -> str:
        return self._capsys.readouterr().out


@pytest.fixture
def stdout(capsys: pytest.CaptureFixture[str]) -> Stdout:
    return Stdout(capsys)


class Ears:
    def __init__(self, *, deaf: bool = False, hide: Callable[[str], str] = str) -> None:
        self.lines: list[str] = []
        self.deaf = deaf
        self.hide = hide

    def __call__(self, line: str) -> bool:
        if not self.deaf:
            self.lines.append(self.hide(line))
        return not self.deaf


def test_lines_are_told_and_nothing_else_is_taken(stdout: Stdout) -> None:
    ears = Ears()
    print("before")
    with capture(ears):
        print("one", 2, sep="-")
        print("half", end="")
        print(" a line")
        print()
        sys.stdout.writelines(["a\n", "b\nc"])
    print("after")
    assert ears.lines == ["one-2", "half a line", "", "a", "b", "c"]
    assert stdout.getvalue() == "before\nafter\n"


def test_what_the_log_does_not_take_goes_where_it_went_before(stdout: Stdout) -> None:
    with capture(Ears(deaf=True)):
        print("kept")
    assert stdout.getvalue() == "kept\n"


def test_bytes_become_text_whatever_they_are(stdout: Stdout) -> None:
    ears = Ears()
    with capture(ears):
        sys.stdout.buffer.write("ü".encode()[:1])
        sys.stdout.buffer.write("ü".encode()[1:] + b"\n\xff\x00\n")
        sys.stdout.buffer.flush()
        sys.stdout.buffer.write(b"end \xc3")
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"no text")  # type: ignore[arg-type]
    assert ears.lines == ["ü", "\\xff\x00", "end \\xc3"]


def test_a_line_without_end_does_not_grow_without_bound(stdout: Stdout) -> None:
    ears = Ears()
    with capture(ears):
        for _ in range(25):
            print("x" * 1000, end="")
    assert [len(line) for line in ears.lines] == [MOST_LINE, MOST_LINE, 5000]


def test_a_secret_is_hidden_where_a_line_without_end_is_cut() -> None:
    secret = "canary-5f0c1b/key"
    redactor = Redactor([secret])
    for before in range(MOST_LINE - len(secret) - 1, MOST_LINE + 2):
        ears = Ears(hide=redactor.text)
        with capture(ears, split=redactor.split):
            print("x" * before, end="")
            print(secret[:4], end="")
            print(f"{secret[4:]}{'y' * MOST_LINE}", end="")
        assert "".join(ears.lines) == f"{'x' * before}{MASK}{'y' * MOST_LINE}"


def test_one_text_of_many_lines_long_is_told_in_order_and_read_once() -> None:
    text, asked, ears = "0123456789" * 500_000, [], Ears()

    def split(rest: str) -> tuple[str, str]:
        asked.append(len(rest))
        return rest, ""

    with capture(ears, split=split):
        print(text, end="")
        print("end")
    assert ears.lines == [
        *(text[at : at + MOST_LINE] for at in range(0, len(text), MOST_LINE)),
        "end",
    ]
    assert asked == [len(text)]


def test_stdout_does_not_grow_by_attempts_that_print_and_read_secrets(stdout: Stdout) -> None:
    chosen = {"token": "${{ secrets.TOKEN }}"}
    ears = Ears()
    for at in range(3 * sys.getrecursionlimit()):
        with capture(ears):
            read_secrets(chosen, GivenSecrets({"TOKEN": "canary-77"}))
            if at % 100 == 0:
                print("canary-77", flush=True)
    assert set(ears.lines) <= {"canary-77", MASK}
    print("canary-77", flush=True)
    assert stdout.getvalue() == f"{MASK}\n"
    layers, layer = 0, sys.stdout
    while layer is not sys.__stdout__ and layers < 10:
        layer = getattr(layer, "real", None) or getattr(layer, "_stream", sys.__stdout__)
        layers += 1
    assert layers < 5


def test_a_log_handler_on_stdout_does_not_go_in_circles(stdout: Stdout) -> None:
    lines: list[str] = []

    def say(line: str) -> bool:
        logging.getLogger("engine of a test").warning("heard %s", line)
        lines.append(line)
        return True

    with capture(say):
        handler = logging.StreamHandler(sys.stdout)
        logging.getLogger("engine of a test").addHandler(handler)
        try:
            print("once")
        finally:
            logging.getLogger("engine of a test").removeHandler(handler)
    assert lines == ["once"]
    assert stdout.getvalue() == "heard once\n"


def test_threads_of_its_own_are_not_taken_for_somebody_else(stdout: Stdout) -> None:
    ears = Ears()
    with capture(ears):
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(print, "with the context"))
        thread.start()
        thread.join()
    assert ears.lines == ["with the context"]
    assert stdout.getvalue() == "from a thread\n"


def test_what_outlives_its_node_is_the_worker_s(stdout: Stdout) -> None:
    ears = Ears()
    with capture(ears):
        later = contextvars.copy_context()
    later.run(print, "too late")
    assert (ears.lines, stdout.getvalue()) == ([], "too late\n")


def test_many_at_once_each_hear_their_own_lines_in_order(stdout: Stdout) -> None:
    ears = [Ears() for _ in range(8)]
    lines = count(200, 5000)

    def sync(number: int) -> None:
        dice = random.Random(number)
        with capture(ears[number]):
            for at in range(lines):
                sys.stdout.write(f"{number} ")
                time.sleep(dice.choice((0, 0, 0, 0.0001)))
                print(at)

    async def one(number: int) -> None:
        with capture(ears[number]):
            for at in range(lines):
                sys.stdout.write(f"{number} ")
                await asyncio.sleep(0)
                await asyncio.to_thread(print, at) if at % 50 == 0 else print(at)

    async def concurrent() -> None:
        await asyncio.gather(*map(one, range(4, 8)))

    with ThreadPoolExecutor(5) as pool:
        done = [pool.submit(sync, number) for number in range(4)]
        done.append(pool.submit(asyncio.run, concurrent()))
    assert [future.result() for future in done] == [None] * 5
    assert [one.lines for one in ears] == [
        [f"{number} {at}" for at in range(lines)] for number in range(8)
    ]
    assert stdout.getvalue() == ""
