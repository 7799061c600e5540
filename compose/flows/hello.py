"""A flow to begin with: ``flowcore run compose/flows/hello.yaml -i name=Ada``."""

from socket import gethostname

from flowcore import node


@node
def greet(name: str) -> str:
    """Greet somebody by name, and say where."""
    return f"hello {name}, from {gethostname()}"


@node
def shout(text: str) -> str:
    """Say it louder."""
    return f"{text.upper()}!"
