"""A model's answer, put together from the documents it came in.

In: JSON documents, whole or in pieces. Out: an Answer, in plain data. Not here: reading documents
(events), whether an answer will do (verdict), asking (types.llm).

Whether an answer came in pieces or as a whole makes no difference to what is put together. Nothing
that was said is dropped: what has no place of its own is under ``extra``.
"""

from collections.abc import Mapping
from typing import Any

from flowcore.errors import AnswerError
from flowcore.nodes.llm.events import Document
from flowcore.nodes.llm.text import StreamedText, clean, mended, shown
from flowcore.nodes.llm.tool_calls import ToolCalls

__all__ = ["Answer", "Choice", "error_in"]

#: Keys of an answer, a choice and a message that have a place of their own, or say nothing.
_OF_ANSWER = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "system_fingerprint"}
)
_OF_CHOICE = frozenset({"index", "message", "delta", "text", "finish_reason", "error"})
_OF_MESSAGE = frozenset(
    {"role", "content", "refusal", "reasoning", "reasoning_content", "thinking", "tool_calls",
     "function_call"}
)  # fmt: skip

#: Names that servers have for what a model thought before it spoke; the first one counts.
_REASONING = ("reasoning_content", "reasoning", "thinking")

#: Those of a message that are texts; what else they hold says something, too.
_TEXTS = frozenset({*_REASONING, "refusal"})

#: Texts of a message beside its content that come in pieces.
_IN_PIECES = frozenset({"data", "transcript"})

_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


class Choice:
    """One of the answers to a request.

    Attributes:
        finish: Why it ended, as the server says it; None if it did not.
    """

    def __init__(self) -> None:
        """Nothing is said yet."""
        self.finish: str | None = None
        self._text, self._reasoning, self._refusal = StreamedText(), StreamedText(), StreamedText()
        self._calls = ToolCalls()
        self._extra: dict[str, Any] = {}

    def add(self, choice: Mapping[str, Any]) -> str:
        """Add a piece, or all of it; return the text that can be shown by now.

        Raises:
            AnswerError: It is of another shape.
        """
        finish = choice.get("finish_reason")
        if finish:
            self.finish = mended(str(finish))
        for key, value in choice.items():
            if key not in _OF_CHOICE and value is not None:
                self._extra[key] = _merged(self._extra.get(key), value, key)
        piece = choice.get("delta")
        message = choice.get("message") if piece is None else piece
        if message is None and isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}
        if message is None:
            return ""
        if not isinstance(message, Mapping):
            raise AnswerError(f"the message is not a mapping: {shown(message)}")
        return self._message(message, is_whole=piece is None)

    def _message(self, message: Mapping[str, Any], *, is_whole: bool) -> str:
        for key in _REASONING:
            if isinstance(message.get(key), str) and message[key]:
                self._reasoning.add(message[key])
                break
        if isinstance(message.get("refusal"), str):
            self._refusal.add(message["refusal"])
        if message.get("tool_calls"):
            self._calls.add(message["tool_calls"], are_whole=is_whole)
        elif message.get("function_call"):
            self._calls.add_function(message["function_call"])
        for key, value in message.items():
            is_known = key in _OF_MESSAGE and not (key in _TEXTS and not isinstance(value, str))
            if not is_known and value not in (None, "", [], {}):
                self._extra[key] = _merged(self._extra.get(key), value, key)
        return self._content(message.get("content"))

    def _content(self, content: Any) -> str:
        if content is None:
            return ""
        if isinstance(content, str):
            return self._text.add(content)
        if isinstance(content, list):
            return "".join(map(self._part, content))
        raise AnswerError(f"the content of the message is not text: {shown(content)}")

    def _part(self, part: Any) -> str:
        """Add one of several parts of a content; those that are no text go to ``extra``."""
        if isinstance(part, str):
            return self._text.add(part)
        kind = part.get("type") if isinstance(part, Mapping) else None
        said = part.get(kind) if isinstance(kind, str) else None
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            return self._text.add(part["text"])
        if kind == "refusal" and isinstance(said, str):
            self._refusal.add(said)
        elif kind in ("thinking", "reasoning") and said is not None:
            pieces = said if isinstance(said, list) else [said]
            for one in pieces:
                self._reasoning.add(str(one.get("text", "")) if isinstance(one, Mapping) else one)
        else:
            self._extra.setdefault("content", []).append(part)
        return ""

    def end(self) -> str:
        """Say that nothing more comes; return the text that was held back."""
        self._reasoning.end()
        self._refusal.end()
        return self._text.end()

    def plain(self) -> dict[str, Any]:
        """All that was said, as plain data."""
        text, refusal = str(self._text), str(self._refusal) or None
        calls = self._calls.ended()
        is_other = bool(calls or refusal)
        return {
            "text": None if is_other and not text else text,
            "tool_calls": calls,
            "reasoning": str(self._reasoning) or None,
            "refusal": refusal,
            "finish_reason": self.finish,
            "extra": clean(self._extra) or None,
        }


class Answer:
    """The answer to one request."""

    def __init__(self) -> None:
        """Nothing is said yet."""
        self.choices: dict[int, Choice] = {}
        self._model: str | None = None
        self._usage: dict[str, Any] | None = None
        self._extra: dict[str, Any] = {}

    def add(self, document: Document) -> str:
        """Add a document.

        Returns:
            The text of the first choice that can be shown by now.

        Raises:
            AnswerError: It is of another shape than an answer's.
        """
        value = document.value
        if not isinstance(value, Mapping):
            raise AnswerError(f"that is not an answer of a model: {shown(value)}")
        if isinstance(value.get("model"), str) and value["model"]:
            self._model = mended(value["model"])
        self._usage = _usage(value.get("usage")) or self._usage
        for key, item in value.items():
            if key not in _OF_ANSWER and item not in (None, "", [], {}):
                self._extra[key] = item
        choices = value.get("choices")
        if choices is None and not document.is_whole:
            choices = []
        if not isinstance(choices, list) or (document.is_whole and not choices):
            raise AnswerError(f"there are no 'choices' in it: {shown(value)}")
        said = [self._choice(place, choice) for place, choice in enumerate(choices)]
        return "".join(text for index, text in said if index == 0)

    def _choice(self, place: int, choice: Any) -> tuple[int, str]:
        if not isinstance(choice, Mapping):
            raise AnswerError(f"a choice is not a mapping: {shown(choice)}")
        said = choice.get("index")
        index = said if isinstance(said, int) and not isinstance(said, bool) else place
        return index, self.choices.setdefault(index, Choice()).add(choice)

    def end(self, *, ended: bool) -> str:
        """Say that nothing more comes; return the text of the first choice that was held back.

        Args:
            ended: Whether the end of the whole answer came.

        Raises:
            AnswerError: Something is missing.
        """
        if not self.choices:
            raise AnswerError("there is no choice in the whole answer")
        if not ended and any(choice.finish is None for choice in self.choices.values()):
            raise AnswerError("the stream ends without its end: neither a finish_reason nor [DONE]")
        held = [self.choices[index].end() for index in sorted(self.choices)]
        return held[0]

    def plain(self) -> dict[str, Any]:
        """The first choice as plain data, beside all of them if there are several."""
        several = [
            {"index": index, **self.choices[index].plain()} for index in sorted(self.choices)
        ]
        first = {key: value for key, value in several[0].items() if key != "index"}
        extra = {**clean(self._extra), **(first.pop("extra") or {})}
        return {
            **first,
            "model": self._model,
            "usage": self._usage,
            "choices": several if len(several) > 1 else None,
            "extra": extra or None,
        }


def error_in(document: Document) -> Mapping[str, Any] | None:
    """Find the error that a document tells of, if it does; at least with a ``message``."""
    value = document.value
    if not isinstance(value, Mapping):
        return {"message": shown(value)} if document.event == "error" else None
    choices = value.get("choices")
    found = value.get("error")
    for choice in choices if isinstance(choices, list) else ():
        found = found or (choice.get("error") if isinstance(choice, Mapping) else None)
    if not found and _is_error(value, document.event):
        found = value
    if not found:
        return None
    if not isinstance(found, Mapping):
        return {"message": mended(found) if isinstance(found, str) else shown(found)}
    message = found.get("message")
    said = mended(message) if isinstance(message, str) and message else shown(found)
    return {**found, "message": said}


def _is_error(value: Mapping[str, Any], event: str) -> bool:
    if event == "error" or value.get("object") == "error":
        return True
    if value.get("choices") or value.get("usage"):
        return False
    tells = ("detail", "errors", "message", "msg", "error_msg", "error_message")
    return any(value.get(key) and not isinstance(value[key], Mapping) for key in tells)


def _usage(said: Any) -> dict[str, Any] | None:
    """Return the usage, as far as it is known."""
    if not isinstance(said, Mapping) or not said:
        return None
    kept = {key: value for key, value in said.items() if value is not None}
    return {**dict.fromkeys(_TOKENS), **clean(kept)}


def _merged(known: Any, piece: Any, key: str = "") -> Any:
    """Merge a further piece into what is known."""
    if isinstance(known, list) and isinstance(piece, list):
        return [*known, *piece]
    if isinstance(known, Mapping) and isinstance(piece, Mapping):
        both = {name: _merged(known.get(name), value, name) for name, value in piece.items()}
        return {**known, **both}
    if isinstance(known, str) and isinstance(piece, str) and key in _IN_PIECES:
        return known + piece
    return known if piece is None else piece
