"""What reaches a terminal: nothing that controls it, all that people write."""

import io
import json
import random
import unicodedata

import pytest

from flowcore.cli.terminal import escape, for_terminal
from tests.deep import count


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


NASTY = {
    "\x1b[31mred": r"\u001b[31mred",
    "\x1b]0;title\x07": r"\u001b]0;title\u0007",
    "\x9b31m": r"\u009b31m",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066x\u2069": r"\u2066x\u2069",
    "\udcff": r"\udcff",
    "over\rwritten": r"over\u000dwritten",
    "\u2028": r"\u2028",
    "\U000e0041": r"\udb40\udc41",
}


@pytest.mark.parametrize("text", NASTY)
def test_what_controls_a_terminal_is_written_out(text: str) -> None:
    assert for_terminal(text, Terminal()) == NASTY[text]
    assert for_terminal(text, io.StringIO()) == text, "a pipe gets what there is"


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\tindented",
        "Grüße, żółć, 日本語, עברית, العربية",
        "👩\u200d🚀 ✓ ●",
        "a\u00a0b",
        "\ue0b0",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert for_terminal(text, Terminal()) == text


def test_random_text_leaves_nothing_that_controls_and_json_stays_json() -> None:
    dice = random.Random(3)
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for _ in range(count(500, 10_000)):
        text = "".join(chr(dice.randrange(0x110000)) for _ in range(30)) + "\x1b\x9b\u202e"
        shown = escape(text)
        left = {char for char in shown if unicodedata.category(char) in hidden}
        assert left <= set("\n\t\u200c\u200d")
        told = json.dumps({"a": text}, ensure_ascii=False)
        again = json.loads(escape(told))["a"]
        assert again.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
