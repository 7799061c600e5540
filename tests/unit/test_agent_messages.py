"""What agents say to each other is checked where it is said, and read whatever it is."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore import Message, Part, Skill, agent
from flowcore.agents.message import Artifact, Role
from flowcore.engine.agents.caller import chain_of, hops_of
from flowcore.engine.agents.messages import (
    MAX_MESSAGE,
    UNREADABLE,
    artifact_body,
    check_id,
    error_text,
    message_body,
    message_digest,
    read_artifact,
    read_message,
)
from flowcore.errors import UnsupportedValueError, UsageError
from tests.deep import count

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]), min_size=1)
    | st.binary()
    | st.dates()
    | st.decimals()
    | st.uuids()
    | st.just(object())
    | st.frozensets(st.integers()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.integers() | st.text() | st.none() | st.floats(), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=count(100, 2000))
@given(value=_JSON)
def test_all_that_json_can_say_is_read_back_as_it_was(value: Any) -> None:
    said = Message(parts=(Part(data=value),), role=Role.AGENT)
    found = read_message(message_body(said, label="it"))
    assert repr(found.parts[0].data) == repr(value)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


@settings(max_examples=count(150, 2000))
@given(value=_ANYTHING)
def test_anything_is_said_and_read_or_refused_by_name(value: Any) -> None:
    said = Message(parts=(Part(data=value),), metadata={"m": value})
    body, refusal = b"", ""
    try:
        body = message_body(said, label="message to agent 'x'")
    except UnsupportedValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.encode()
        assert "message to agent 'x'" in refusal
        return
    found = read_message(body)
    assert not found.metadata.get(UNREADABLE)
    assert found.parts[0].data == found.metadata["m"]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


@settings(max_examples=count(200, 5000))
@given(
    body=st.binary()
    | st.builds(msgpack.packb, _JSON)
    | st.builds(
        lambda **found: msgpack.packb(found),
        parts=_JSON,
        messageId=_JSON,
        artifactId=_JSON,
        role=_JSON,
        metadata=_JSON,
    )
)
def test_whatever_was_written_is_read(body: bytes) -> None:
    """So that one unreadable task never breaks a list of others."""
    for found in (read_message(body), read_artifact(body)):
        assert all(isinstance(part, Part) for part in found.parts)
        found.to_json()
        "".join(part.text or "" for part in found.parts)


@pytest.mark.parametrize("value", ["", "x" * 513, "a\nb", "\x1b[0m", "\ud83d", None, 5, b"x"])
def test_an_id_is_a_printable_text(value: object) -> None:
    with pytest.raises(UsageError, match="an id is a text of 1 to 512"):
        check_id(value, "an id")
    assert check_id("pay-7|R", "an id") == "pay-7|R"


@settings(max_examples=count(100, 2000))
@given(words=st.lists(st.tuples(st.text(), st.text(), st.text(), st.binary()), min_size=2))
def test_what_differs_never_counts_as_the_same(
    words: list[tuple[str, str, str, bytes]],
) -> None:
    """However the words are cut: owner ab and agent c are not owner a and agent bc."""
    keys = {
        message_digest(body, owner=owner, agent=name, message_id=id)
        for owner, name, id, body in words
    }
    assert len(keys) == len(set(words))


def test_a_size_is_a_limit_for_all_that_is_said() -> None:
    text = "x" * (MAX_MESSAGE - 200)
    message_body(Message(parts=(Part(text=text),)), label="it")
    for part in (Part(text="x" * MAX_MESSAGE), Part(raw=b"x" * MAX_MESSAGE), Part(data=[text] * 2)):
        with pytest.raises(UnsupportedValueError, match="may have 1,048,576"):
            message_body(Message(parts=(part,)), label="it")
        with pytest.raises(UnsupportedValueError, match="may have 1,048,576"):
            artifact_body(Artifact(artifact_id="a", parts=(part,)), label="it")


class _Odd(BaseException):
    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("x"), "ValueError: x"),
        (ValueError(), "ValueError"),
        (ValueError("\ud83d"), r"ValueError: \ud83d"),
        (_Odd(), "_Odd: (its text cannot be shown: SystemExit)"),
    ],
)
def test_the_words_of_an_error_can_always_be_said(error: BaseException, text: str) -> None:
    assert error_text(error) == text
    assert len(error_text(ValueError("x" * 5_000_000))) < 11_000


@given(metadata=st.dictionaries(st.sampled_from(["flowcore/chain", "flowcore/hops"]), _JSON))
def test_metadata_of_others_is_no_chain_of_calls(metadata: dict[str, Any]) -> None:
    said = Message(parts=(), metadata=metadata)
    assert all(isinstance(each, str) for each in chain_of(said, "a"))
    assert isinstance(hops_of([said]), int)


@pytest.mark.parametrize(
    ("options", "tags"),
    [
        ({}, [["teller"]]),
        ({"skills": ["say"]}, [["teller"]]),
        ({"tags": ["a", "b"], "skills": [Skill(id="say", tags=("b", "c"))]}, [["b", "c", "a"]]),
        ({"skills": ["say", Skill(id="sing", tags=("loud",))]}, [["teller"], ["loud"]]),
    ],
)
def test_every_skill_of_a_card_has_tags(options: Any, tags: list[list[str]]) -> None:
    @agent("teller", **options)
    def teller(text: str) -> str:
        """Tells it."""
        return text

    assert [each["tags"] for each in teller.card(queue="q")["skills"]] == tags


@pytest.mark.parametrize(
    "options",
    [
        {"skills": "research"},
        {"tags": "text"},
        {"tags": [1]},
        {"input_modes": "text/plain"},
        {"max_concurrency": 1.5},
        {"retries": "many"},
        {"description": 5},
        {"timeout": 0},
        {"timeout": "1e300"},
    ],
)
def test_an_option_of_the_wrong_kind_is_refused(options: Any) -> None:
    with pytest.raises(UsageError, match="agent 'teller'"):
        agent("teller", **options)
