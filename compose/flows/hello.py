"""A flow to begin with: ``flowcore run compose/flows/hello.yaml -i name=Ada``."""

from flowcore import node


@node
def greet(name: str) -> str:
    """Greet somebody by name."""
    return f"Hello, {name}!"


@node
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()
