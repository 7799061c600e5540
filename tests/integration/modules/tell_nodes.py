"""A node that says whatever it is given, in all the ways there are, and then fails with it."""

from typing import Any

from flowcore.nodes.context import Context


def tell(words: list[str], ctx: Context) -> Any:
    """Log, emit, give tokens, and fail."""
    ctx.logger.warning(words[0])
    ctx.emit(words[1], note=words[2])
    ctx.token(words[3])
    error = type(
        words[1].encode("ascii", "ignore").decode().replace("\0", "") or "E", (Exception,), {}
    )
    failure: Exception = error(words[2])
    failure.add_note(words[3])
    raise failure
