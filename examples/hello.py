"""A greeting to the longest word: the flow of the quickstart."""

from pathlib import Path

from flowcore import Flow, node


@node
def words(text: str) -> list[str]:
    return text.split()


@node(retry={"max_attempts": 2, "delay": "1s"}, timeout="30s")
def longest(words: list[str]) -> str:
    return max(words, key=len)


@node
def greet(longest: str) -> str:
    greeting = Path("greeting.txt").read_text().strip()
    return f"{greeting}, {longest}!"


with Flow("hello") as flow:
    words >> longest >> greet

if __name__ == "__main__":
    print(flow.run({"text": "all the wide world"}).output)
