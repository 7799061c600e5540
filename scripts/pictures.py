"""Draw the pictures of the README and the docs anew: ``python -m scripts.pictures``.

In: examples. Out: docs/img/*.svg. A test says when they are not what this draws.
"""

from collections.abc import Mapping
from pathlib import Path

from flowcore.cli.arguments import read_flow
from flowcore.plan.explain import svg

HERE = Path(__file__).parent.parent

#: By picture, the example that it shows, and the states of its nodes.
PICTURES: Mapping[str, tuple[str, Mapping[str, str] | None]] = {
    "quickstart.svg": (
        "examples/quickstart.yaml",
        {"split": "succeeded", "left": "succeeded", "right": "running", "merge": "pending"},
    ),
    "hello.svg": (
        "examples/hello.py",
        {"words": "succeeded", "longest": "succeeded", "greet": "failed"},
    ),
    "expenses.svg": ("examples/gallery/expenses.yaml", None),
}


def draw(name: str) -> str:
    """Draw one of the pictures."""
    file, states = PICTURES[name]
    plan = read_flow(str(HERE / file)).plan(resolve=False)
    return svg.render(plan, states=states)


def main() -> None:
    """Write all pictures."""
    for name in PICTURES:
        (HERE / "docs" / "img" / name).write_text(draw(name), "utf-8")
        print(f"docs/img/{name}")


if __name__ == "__main__":
    main()
