"""Write down what every command's ``--help`` says: flowcore/cli/help.json.

python -m scripts.cli_help
"""

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

from flowcore.cli import main as command
from flowcore.cli.help_cache import FILE, WIDTH


def texts() -> dict[str, str]:
    """The help of every command, and of its second words, asked of themselves."""
    names = [*(name for name, _, _ in command.COMMANDS), *command.ALIASES]
    with (
        mock.patch.object(command, "stored_help", return_value=None),
        mock.patch.dict(os.environ, {"COLUMNS": str(WIDTH)}),
    ):
        return {" ".join(words): text for name in names for words, text in _spoken(name)}


def _spoken(name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    text = _help(name)
    yield (name,), text
    for more in re.findall(r"^  (\w+)  ", text.partition("\nCommands:\n")[2], re.MULTILINE):
        yield (name, more), _help(name, more)


def _help(*words: str) -> str:
    with redirect_stdout(io.StringIO()) as shown:
        command.main([*words, "--help"])
    return shown.getvalue()


if __name__ == "__main__":
    path = Path(command.__file__).with_name(FILE)
    path.write_text(json.dumps(texts(), indent=1, ensure_ascii=False) + "\n", "utf-8")
