"""The flows of a test: read in any spelling, with their modules where workers would find them.

In: definitions. Out: flows, and a search path while they run. Not here: running them (flows).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowcore.client.flow import Definition, Flow
from flowcore.plan.plan import Plan

__all__ = ["Definitions"]


class Definitions:
    """Definitions that a test runs."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._places: dict[str, None] = {}

    def read(self, definition: Definition) -> tuple[Flow, Plan]:
        """Read a definition and compile it.

        Raises:
            DefinitionError: It has problems; shows all of them.
        """
        flow = definition if isinstance(definition, Flow) else Flow.load(definition)  # type: ignore[arg-type]
        self._places.update(dict.fromkeys(map(str, flow._paths)))  # noqa: SLF001  (workers get them)
        with self.importable():
            return flow, flow.plan()

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Look for modules in the working directory and beside files of flows, as workers do."""
        places = [str(Path.cwd()), *self._places]
        added = [place for place in dict.fromkeys(places) if place not in sys.path]
        sys.path[:0] = added
        try:
            yield
        finally:
            for place in added:
                if place in sys.path:
                    sys.path.remove(place)
