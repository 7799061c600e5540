"""Outputs in portions: no single answer of the store holds more than a few megabytes.

In: a run and nodes. Out: their outputs, a portion at a time. Not here: decoding.
"""

from collections.abc import Iterator, Mapping, Sequence

from flowcore.ports.store import RunReader

__all__ = ["FEW", "MOST_BYTES", "portions"]

#: So many are asked for at once without asking for their sizes first.
FEW = 16

#: Bytes of one portion. A larger output, possible where there is no payload store, comes alone.
MOST_BYTES = 4 * 2**20

#: Outputs of one portion.
_MOST = 1000


def portions(
    reader: RunReader, run: str, nodes: Sequence[int] | None
) -> Iterator[Mapping[int, bytes]]:
    """Yield the outputs that exist, of these nodes in their order, or of all."""
    if nodes is not None and len(nodes) <= FEW:
        if nodes:
            yield reader.outputs(run, nodes)
        return
    sizes = reader.sizes(run, nodes)
    part: list[int] = []
    held = 0
    for node in sorted(sizes) if nodes is None else nodes:
        size = sizes.get(node)
        if size is None:
            continue
        if part and (held + size > MOST_BYTES or len(part) == _MOST):
            yield reader.outputs(run, part)
            part, held = [], 0
        part.append(node)
        held += size
    if part:
        yield reader.outputs(run, part)
