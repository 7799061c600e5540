"""Values of users become JSON in few places: what each writes, and that there are no more."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as celery_json

import flowcore
from flowcore.celery.signing import Keyring
from flowcore.client.memory_lines import thread_line, thread_lines
from flowcore.errors import UnsupportedValueError, UsageError
from flowcore.json_text import strict_json
from flowcore.nodes.arguments.calls import LlmArguments
from flowcore.run.wire import pack

ROOT = Path(flowcore.__file__).parent

#: Who writes JSON beside ``json_text``, and of what. A new door for values belongs to neither.
OF_OUR_OWN = {
    "json_text.py": "the encoder",
    "client/memory_lines.py": "exported threads, with marks for what JSON does not have",
    "celery/signing.py": "what is signed, read by nobody",
    "celery/canvas/export.py": "the size of a canvas",
    "graph/json_schema.py": "the start of a sentence of the validator",
    "engine/values/redaction.py": "the spellings of a secret",
    "plan/plan.py": "literals of a definition, to be hashed",
    "nodes/parameters.py": "values that pydantic reads at once, in the same process",
    "nodes/http/charset.py": "a check that a body has no half of a surrogate pair",
    "nodes/llm/text.py": "an excerpt of an answer, for an error",
    "nodes/llm/tool_calls.py": "arguments that a model sent as an object",
    "plan/compile.py": "literals of a definition, to be compared",
    "cli/commands/definitions.py": "the schema of definitions",
    "cli/commands/importers.py": "a definition",
    "assembly/embedded.py": "a record of a server",
    "assembly/agent_launch.py": "what an agent's process is told",
    "bench/harness.py": "messages to be counted",
}


_WRITERS = {"json.dump", "json.dumps", "json.JSONEncoder"}
_LIBRARIES = {"orjson", "ujson", "simplejson", "rapidjson", "msgspec"}


def _writes_json(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if any(word.arg == "json" for word in node.keywords):
                return True  # an HTTP library's own encoder
            call = node.func
            if isinstance(call, ast.Attribute) and ast.unparse(call) in _WRITERS:
                return True
        if isinstance(node, ast.ImportFrom) and any(
            f"{node.module}.{name.name}" in _WRITERS for name in node.names
        ):
            return True
        if isinstance(node, ast.Import) and any(one.name in _LIBRARIES for one in node.names):
            return True
    return False


def test_json_is_written_by_the_one_encoder_and_by_those_who_write_no_values() -> None:
    found = {
        str(file.relative_to(ROOT))
        for file in ROOT.rglob("*.py")
        if _writes_json(ast.parse(file.read_text("utf-8")))
    }
    assert found == set(OF_OUR_OWN)


# ── what is sent to others ──────────────────────────────────────────────────────────────────────

NONE = [
    (math.nan, "it: is nan, which JSON cannot represent; give null or a text"),
    ([1, [math.inf]], "it[1][0]: is inf, which JSON cannot represent"),
    ({"a": [{"b": b"\xff"}]}, "it['a'][0]['b']: is bytes, which JSON cannot represent; give text"),
    ({"a": object()}, "it['a']: is a object, which JSON cannot represent"),
]


@pytest.mark.parametrize(("value", "said"), NONE)
def test_what_json_has_no_words_for_is_refused_by_its_place(value: Any, said: str) -> None:
    with pytest.raises(UnsupportedValueError) as error:
        strict_json(value, what="it")
    assert str(error.value).startswith(said)


def test_a_prompt_of_data_is_the_json_of_every_door() -> None:
    asked = LlmArguments.read({"model": "m", "prompt": {"b": b"\xff", "n": math.nan}}, uses="llm")
    assert asked.prompt == '{"b": "/w==", "n": null}'


# ── what comes back ─────────────────────────────────────────────────────────────────────────────

_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.just(math.nan)
    | st.text()
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["$bytes", "$float", "$map"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.text(max_size=3), _plain, max_size=3), max_size=3))
def test_exported_threads_read_back_equal(threads: list[dict[str, Any]]) -> None:
    text = "".join(thread_line(one) + "\n" for one in threads)
    assert pack(list(thread_lines(text, name="x"))) == pack(threads)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"a": {"$bytes": "?"}}',
        '{"a": {"$bytes": 1}}',
        '{"$float": "1"}',
        '{"$float": []}',
        '{"$map": 1}',
        "[" * 100_000,
    ],
)
def test_a_line_that_stands_for_nothing_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(UsageError, match=r"^x:2: this is"):
        list(thread_lines(f"1\n{line}\n", name="x"))


@given(_plain)
def test_what_celery_carries_as_json_keeps_its_signature(value: Any) -> None:
    keys = Keyring(["a secret of at least 16"])
    arrived = celery_json.loads(celery_json.dumps(value))
    assert keys.verify_value(arrived, keys.sign_value(value)) == (pack(arrived) == pack(value))


@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_what_json_has_is_sent_as_it_is(number: float, text: str) -> None:
    value = {"n": [number, 2**64 - 1, True, None], text: text}
    assert json.loads(strict_json(value, what="it")) == value
