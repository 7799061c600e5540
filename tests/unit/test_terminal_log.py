"""A worker's log on a terminal."""

import io
import logging
from collections.abc import Iterator

import pytest
from celery.signals import after_setup_logger
from celery.utils.log import ColorFormatter

from flowcore.celery.monitoring.terminal_log import guard_terminals

NASTY = "\x1b]0;owned\x07 \x9b31m \u202e \x00"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of this test's own."""
    found = logging.Logger("nodes")  # noqa: LOG001  (none of the process's)
    guard_terminals()
    yield found
    for handler in found.handlers:
        handler.close()


def _log(logger: logging.Logger) -> None:
    logger.warning("%s", NASTY)
    try:
        raise ValueError(NASTY)  # noqa: TRY301
    except ValueError:
        logger.exception("failed: %s", NASTY, stack_info=True)


def test_nothing_that_a_node_logs_controls_a_terminal(logger: logging.Logger) -> None:
    stream = Terminal()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ColorFormatter("%(levelname)s %(message)s", use_color=True))
    logger.addHandler(handler)
    for _ in range(2):  # Celery sends it for each logger; once is enough
        after_setup_logger.send(sender=None, logger=logger)
    _log(logger)
    written = stream.getvalue()
    for each in ("\x1b]", "\x9b", "\u202e", "\x00", "\x07"):
        assert each not in written
    assert "\\u001b]0;owned" in written
    assert "\\\\u001b" not in written, "escaped once"
    assert written.count("ValueError") == 2, "in the traceback and at its end"


def test_a_file_gets_what_there_is(logger: logging.Logger) -> None:
    terminal, file = Terminal(), io.StringIO()
    logger.addHandler(logging.StreamHandler(terminal))
    logger.addHandler(logging.StreamHandler(file))
    after_setup_logger.send(sender=None, logger=logger)
    _log(logger)
    assert NASTY in file.getvalue()
    assert NASTY not in terminal.getvalue()
