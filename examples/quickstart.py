"""Count words on two workers at once: split, count, merge."""

from collections import Counter

from flowcore import Flow, node, parallel


@node
def split(text: str) -> list[list[str]]:
    words = text.split()
    return [words[::2], words[1::2]]


@node
def count(words: list[str]) -> dict[str, int]:
    return Counter(words)


@node
def merge(upstream: dict[str, dict[str, int]]) -> dict[str, int]:
    return sum(map(Counter, upstream.values()), Counter())


with Flow("quickstart") as flow:
    left = count.step(id="left", words="${{ split.output[0] }}")
    right = count.step(id="right", words="${{ split.output[1] }}")
    split >> parallel(left, right) >> merge

if __name__ == "__main__":
    print(flow.run({"text": "to be or not to be"}).output)
