"""The flow that both web applications start, and its nodes."""

from flowcore import Flow, node


@node
def reserve(item: str, count: int) -> dict[str, object]:
    """Reserve what was ordered."""
    return {"item": item, "count": count}


@node(retry={"max_attempts": 3})
def charge(count: int) -> dict[str, int]:
    """Take the money."""
    return {"cents": 250 * count}


@node
def confirm(order: int, cents: int) -> str:
    """Tell the customer."""
    return f"order {order}: {cents} cents"


INPUTS = {
    "order": {"type": "integer"},
    "item": {"type": "string"},
    "count": {"type": "integer", "minimum": 1},
}

with Flow("order", inputs=INPUTS) as flow:
    reserve >> charge >> confirm
