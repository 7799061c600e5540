"""TOKENS: how many a message has: by a user's function, by a tokenizer, or by a guess.

In: a message. Out: a number. Not here: what fits (trimming).

The guess knows how tokenizers of byte pairs cut text: words in a few pieces, digits by threes,
runs of blanks and of one sign in one, and characters of other scripts by weights that were fitted
to OpenAI's ``cl100k_base`` and ``o200k_base`` (tests/unit/test_tokens.py holds the error).
"""

import functools
import importlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowcore.errors import UsageError
from flowcore.json_text import json_text
from flowcore.nodes.resolve import resolve

__all__ = ["approximate_tokens", "counted", "guess"]

#: Tokens of a message beside what it says: its role, its name, its ends.
_AROUND = 4

#: Tokens of a picture, a sound or a file in a message; models differ, and none reads its bytes.
_ATTACHED = 1_000

#: Characters that a tokenizer is given at once: some take long for one long word.
_AT_ONCE = 50_000

_PIECES = re.compile(
    r"[A-Z]?[a-z]{1,6}|[A-Z]{1,3}|[0-9]{1,3}"  # a word or a part of one, a group of digits
    r"|([!-/:-@\[-`{-~])\1{2,31}|[!-/:-@\[-`{-~]{1,3}"  # a line of one sign, some signs
    r"|[ \t]*[\r\n]{1,16}|[ \t]{2,32}"  # ends of lines, an indentation
)
_ATTACHMENTS = re.compile(r"image|audio|video|file|document|inline_?data", re.IGNORECASE)
#: From which character on, one of them is so many tokens.
_WEIGHTS = (
    *((0x80, 0.7), (0x250, 0.6), (0x300, 0.7), (0x370, 0.75), (0x400, 0.4), (0x530, 0.9)),
    *((0x590, 0.8), (0x600, 0.65), (0x700, 1.0), (0x900, 0.75), (0xE00, 0.8), (0xE80, 1.3)),
    *((0x1100, 1.0), (0x1200, 1.5), (0x1E00, 0.7), (0x2000, 0.9), (0x2600, 1.5), (0x2E80, 1.2)),
    *((0x3000, 0.8), (0x3040, 1.0), (0x3100, 1.0), (0x3400, 1.15), (0xA000, 1.8), (0xAC00, 1.0)),
    *((0xD800, 1.5), (0xFE00, 0.9), (0x10000, 2.2), (0x1F000, 2.4), (0x20000, 3.0)),
)
_STARTS = [start for start, _ in _WEIGHTS]


def counted(
    counter: str | None, tokenizer: str | None = None
) -> Callable[[Mapping[str, Any]], float]:
    """Return the function that counts the tokens of a message.

    Args:
        counter: ``module:callable``, given a message; it goes first.
        tokenizer: A name that tiktoken knows, of an encoding or of a model.

    Raises:
        UsageError: The tokenizer is not there.
    """
    if counter is None:
        text_counter = guess if tokenizer is None else functools.partial(_encoded, tokenizer)
        if tokenizer is not None:
            _encoding(tokenizer)
        return lambda message: _of_message(message, text_counter)
    function = resolve(counter).function

    def count(message: Mapping[str, Any]) -> float:
        found = function(message)
        if isinstance(found, bool) or not isinstance(found, int | float) or not found >= 0:
            msg = f"counter {counter} gave {found!r:.80} instead of a number of tokens"
            raise UsageError(msg)
        return found

    return count


def approximate_tokens(message: Mapping[str, Any]) -> int:
    """Guess a message's tokens; give ``tokenizer`` or ``counter`` for a model's own count."""
    return _of_message(message, guess)


def guess(text: str) -> int:
    """Guess the tokens of a text."""
    tokens = float(len(_PIECES.findall(text)))
    if not text.isascii():
        # The distinct characters are few, whatever the length.
        tokens += sum(
            count * _WEIGHTS[bisect_right(_STARTS, ord(char)) - 1][1]
            for char, count in Counter(text).items()
            if not char.isascii()
        )
    return -int(-tokens // 1)


def _of_message(message: Mapping[str, Any], count: Callable[[str], int]) -> int:
    """Count the tokens of a message: its text, its calls, and the framing."""
    return _AROUND + sum(
        part if isinstance(part, int) else count(part) for part in _said(message.get("content"))
    ) + sum(
        count(value if isinstance(value, str) else json_text(value))
        for key in ("tool_calls", "function_call", "name")
        if (value := message.get(key))
    )  # fmt: skip


def _said(content: Any) -> Iterator[str | int]:
    """Texts, and numbers for what is none."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list | tuple):
        for part in content:
            yield from _part(part)
    elif content is not None:
        yield json_text(content)


def _part(part: Any) -> Iterator[str | int]:
    """A part of a content: its text; or a picture and the like, whose bytes are no text."""
    if not isinstance(part, Mapping):
        yield part if isinstance(part, str) else json_text(part)
    elif isinstance(text := part.get("text"), str):
        yield text
    elif _is_attached(part):
        yield _ATTACHED
    else:
        yield json_text(part)


def _is_attached(part: Mapping[str, Any]) -> bool:
    kind = part.get("type")
    words = kind if isinstance(kind, str) else " ".join(map(str, part))
    return _ATTACHMENTS.search(words) is not None


def _encoded(name: str, text: str) -> int:
    encode = _encoding(name).encode_ordinary
    parts = range(0, len(text), _AT_ONCE)
    return sum(len(encode(text[at : at + _AT_ONCE])) for at in parts)


@functools.cache
def _encoding(name: str) -> Any:
    """The tokenizer of a name, of this process."""
    try:
        tiktoken = importlib.import_module("tiktoken")
    except ImportError as error:
        msg = f"the tokenizer {name!r} needs tiktoken: pip install 'flowcore[tokens]'"
        raise UsageError(msg) from error
    way_out = (
        "set TIKTOKEN_CACHE_DIR to a directory that has its vocabulary (tiktoken fetches it from "
        "the internet otherwise), or give 'counter', a function of your own"
    )
    try:
        if name in tiktoken.list_encoding_names():
            return tiktoken.get_encoding(name)
        return tiktoken.encoding_for_model(name)
    except KeyError as error:
        known = ", ".join(tiktoken.list_encoding_names())
        msg = f"tiktoken knows no tokenizer {name!r}; it knows {known}, and names of models"
        raise UsageError(msg) from error
    except Exception as error:
        msg = f"the vocabulary of tokenizer {name!r} is not there ({type(error).__name__}): "
        raise UsageError(msg + way_out) from error
