"""Decision on accepting a model's answer.

In: what it said. Out: nothing, or an error. Not here: reading it (answer).

An answer that was cut off, filtered, refused, or that says nothing at all looks like any other text
to the nodes behind it. So it is a failure, unless the node's ``accept`` names it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from flowcore.errors import AnswerError

__all__ = ["judge"]

#: Words of servers for an answer that ended by itself.
_WHOLE = frozenset(
    {"stop", "tool_calls", "function_call", "tool_call", "tool_use", "eos", "eos_token",
     "end_turn", "end_of_text", "stop_sequence", "stop_token", "complete", "completed", "finished",
     "done"}
)  # fmt: skip
_CUT = frozenset(
    {"length", "max_tokens", "model_length", "max_output_tokens", "max_new_tokens",
     "max_completion_tokens", "context_length", "model_context_window_exceeded", "token_limit"}
)  # fmt: skip
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "sensitive", "safety", "recitation", "blocklist",
     "prohibited_content", "guardrail_intervened", "image_safety", "spii"}
)  # fmt: skip
_CALLS = frozenset({"tool_calls", "function_call", "tool_call", "tool_use"})

_SHOWN = 200


def judge(said: Mapping[str, Any], accept: Collection[str]) -> None:
    """Refuse an answer that nobody should go on with.

    Args:
        said: One choice, as plain data.
        accept: What is taken all the same: words of ``finish_reason``, ``refusal``, ``empty``,
            ``invalid_arguments``.

    Raises:
        AnswerError: It is none to go on with; says what ``accept`` would take it.
    """
    taken = {word.lower() for word in accept}
    for word, again, what in _wrong(said):
        if word.lower() not in taken:
            hint = f"'accept: [{word}]' takes it all the same"
            raise AnswerError(f"{what}; {hint}", again=again)


def _wrong(said: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    """Possible faults, each with the word that accepts it, and whether to try again."""
    return [*_end(said), *_contents(said)]


def _end(said: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    finish = said["finish_reason"]
    word = (finish or "").lower()
    if not word or word in _WHOLE:
        return []
    if word in _CUT:
        what = f"the answer is cut off at the limit of tokens (finish_reason {finish!r})"
        return [(finish, False, f"{what}{_after(said)}; a larger 'max_tokens' may help")]
    if word in _FILTERED:
        what = f"the answer was filtered (finish_reason {finish!r})"
        return [(finish, False, f"{what}{_after(said)}")]
    what = f"the answer ended early (finish_reason {str(finish)[:_SHOWN]!r})"
    return [(str(finish), True, f"{what}{_after(said)}")]


def _after(said: Mapping[str, Any]) -> str:
    text = said["text"]
    return f" after {text[:_SHOWN]!r}" if text else ""


def _contents(said: Mapping[str, Any]) -> list[tuple[str, bool, str]]:
    found: list[tuple[str, bool, str]] = []
    if said["refusal"]:
        found.append(("refusal", False, f"the model refused: {said['refusal'][:_SHOWN]!r}"))
    for call in said["tool_calls"]:
        if not call["name"]:
            what = f"the model asked for a tool without a name: {str(call)[:_SHOWN]}"
            found.append(("invalid_arguments", True, what))
        elif call["args"] is None and "function" in call:
            text = call["function"]["arguments"][:_SHOWN]
            what = f"the model asked for {call['name']!r} with arguments that are not a JSON object"
            found.append(("invalid_arguments", True, f"{what}: {text!r}"))
    if (said["finish_reason"] or "").lower() in _CALLS and not said["tool_calls"]:
        found.append(("empty", True, "the model asked for tools, and the answer names none"))
    elif not (said["text"] or "").strip() and not (said["tool_calls"] or said["refusal"]):
        thought = ", though the model has thought" if said["reasoning"] else ""
        if not _OTHER_CONTENT & (said["extra"] or {}).keys():
            found.append(("empty", True, f"the answer says nothing{thought}"))
    return found


#: What an answer without a text may consist of.
_OTHER_CONTENT = frozenset({"audio", "images", "content"})
