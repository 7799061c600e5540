"""A plan as a Mermaid flowchart, for Markdown pages.

In: Plan. Out: text. Not here: layout; Mermaid does its own.
"""

from flowcore.plan.explain.kinds import kind_of
from flowcore.plan.plan import Plan

__all__ = ["render"]

#: What stands for itself in a label; all else is written as a Mermaid entity (``#code;``).
_SAFE = frozenset(" _.:,/+=-()?!")


def render(plan: Plan) -> str:
    """Write the plan as a Mermaid flowchart.

    Args:
        plan: The plan.

    Returns:
        Mermaid source, ending in a newline. Nodes are called ``n0``, ``n1``, … (the numbers of
        the plan), so no id can clash with a word of Mermaid's; ids are labels.
    """
    lines = ["flowchart LR"]
    for number, id in enumerate(plan.ids):
        policy = plan.policy(number)
        kind = f"<br/>{_label(kind)}" if (kind := kind_of(policy)) else ""
        lines.append(f'    n{number}["{_label(id)}<br/>{_label(policy.uses)}{kind}"]')
    for source, succ in enumerate(plan.succ):
        for target in succ:
            text = plan.when.get((source, target))
            arrow = "-->" if text is None else f'-. "{_label(text)}" .->'
            lines.append(f"    n{source} {arrow} n{target}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """Escape text for a quoted label: directives, HTML and Markdown lose their meaning."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char in _SAFE) else f"#{ord(char)};"
        for char in " ".join(text.split())
    )
