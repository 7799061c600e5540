"""A plan in Graphviz' DOT language.

In: Plan. Out: text. Not here: layout; Graphviz does its own.
"""

from flowcore.plan.explain.kinds import kind_of
from flowcore.plan.plan import Plan

__all__ = ["render"]


def render(plan: Plan) -> str:
    """Write the plan in DOT.

    Args:
        plan: The plan.

    Returns:
        DOT source, ending in a newline. Nodes are called ``n0``, ``n1``, … (the numbers of the
        plan); ids are labels.
    """
    lines = [
        f"digraph {_quoted(plan.flow)} {{",
        "    rankdir=LR;",
        '    node [shape=box, style=rounded, fontname="sans-serif"];',
    ]
    for number, id in enumerate(plan.ids):
        policy = plan.policy(number)
        kind = f"\\n{kind}" if (kind := kind_of(policy)) else ""
        label = f"{_escaped(id)}\\n{_escaped(policy.uses)}{kind}"
        lines.append(f'    n{number} [label="{label}"];')
    for source, succ in enumerate(plan.succ):
        for target in succ:
            text = plan.when.get((source, target))
            looks = "" if text is None else f" [style=dashed, label={_quoted(text)}]"
            lines.append(f"    n{source} -> n{target}{looks};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    """A DOT string that shows ``text``."""
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    r"""Escape quotes, Graphviz' own escapes (``\N``) and entities (``&lt;``)."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
