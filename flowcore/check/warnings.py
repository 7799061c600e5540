"""Warnings: parts of a definition that are questionable, but run all the same.

In: a document. Out: diagnostics for whoever validates it. Not here: problems (check).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.graph.diagnostic import Diagnostic
from flowcore.graph.document import Document, Path
from flowcore.nodes.credentials import find_credentials

__all__ = ["find_warnings"]

_HINT = "read it as ${{ secrets.NAME }}"
_WHAT = "this looks like a credential, which is stored with the flow for all to read"


def find_warnings(document: Document) -> list[Diagnostic]:
    """Return what to warn of, in the order of the document."""
    return [
        Diagnostic(code="FC262", message=_WHAT, path=path, suggestion=_HINT)
        for given, place in _given(document.tree, ())
        for path in find_credentials(given, place)
    ]


def _given(tree: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    """Yield the arguments of all nodes, wherever they are written, and ``config.llm``."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if key in {"with", "llm"} and isinstance(value, Mapping):
                yield value, (*path, key)
            else:
                yield from _given(value, (*path, key))
    elif isinstance(tree, list | tuple):
        for at, value in enumerate(tree):
            yield from _given(value, (*path, at))
