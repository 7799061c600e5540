"""Draw the pictures of the README and the docs anew: ``python -m scripts.pictures``.

In: examples. Out: docs/img/*.svg. A test says when they are not what this draws.
"""

from collections.abc import Mapping
from pathlib import Path

from flowcore import Flow
from flowcore.plan.compile import compile_plan
from flowcore.plan.explain import svg

HERE = Path(__file__).parent.parent

#: By picture, the example that it shows, and the states of its nodes.
PICTURES: Mapping[str, tuple[str, Mapping[str, str] | None]] = {
    "quickstart.svg": (
        "examples/quickstart.yaml",
        {"split": "succeeded", "left": "succeeded", "right": "running", "merge": "pending"},
    ),
    "expenses.svg": ("examples/gallery/expenses.yaml", None),
}


def draw(name: str) -> str:
    """Draw one of the pictures."""
    file, states = PICTURES[name]
    plan = compile_plan(Flow.load(HERE / file).check(resolve=False))
    return svg.render(plan, states=states)


def main() -> None:
    """Write all pictures."""
    for name in PICTURES:
        (HERE / "docs" / "img" / name).write_text(draw(name), "utf-8")
        print(f"docs/img/{name}")


if __name__ == "__main__":
    main()
