"""The node type ``llm``: one answer of a language model, token by token.

In: the node's ``with``, and ``config.llm`` under it. Out: what the model said and what it cost. Not
here: agents, calling tools (agent backends); how often it is tried (the node's ``retry``).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.errors import NodeCancelledError, UsageError
from flowcore.json_text import strict_json
from flowcore.nodes.arguments.calls import LlmArguments
from flowcore.nodes.context import Context
from flowcore.nodes.llm.answer import Answer, error_in
from flowcore.nodes.llm.client import Server
from flowcore.nodes.llm.events import Reader
from flowcore.nodes.llm.verdict import judge

__all__ = ["llm"]

#: Keys that this node puts beside a call of a tool; no server has them.
_BESIDE_CALL = ("name", "args")


def llm(ctx: Context, upstream: Any = None, **more: Any) -> dict[str, Any]:
    """Ask a language model; give on ``{"text", "tool_calls", …, "usage"}``.

    Any server that speaks OpenAI's protocol will do; ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` of
    the worker name it, and ``config.llm`` of the flow gives defaults. Whoever follows the run gets
    the text token by token. Needs ``flowcore[llm]``.

    An answer that is cut off, filtered, refused or empty fails the node, unless ``accept`` names
    that; so does one whose end did not come.

    Args:
        ctx: The attempt.
        upstream: What flows into the node: the prompt, if it is text and no other is given.
        **more: ``model``; ``prompt``, or ``messages`` with ``role`` and ``content``; ``system``,
            put before them; ``temperature``; ``max_tokens``; ``base_url``; ``api_key``, a secret;
            ``timeout`` (2m), in which something has to come; ``max_bytes`` of the answer (64 MiB);
            ``stream`` (true); ``accept``, such as ``[length]``; ``options``, what else goes into
            the request.

    Raises:
        AnswerError: The answer is none to go on with, or no answer of a model at all.
        PayloadTooLargeError: It is larger than ``max_bytes``.
        UnsupportedValueError: A message or an option is nothing that JSON has words for.
        UsageError: There is no model, no prompt, or the request cannot be made as it is written.
    """
    given = LlmArguments.read(more, uses="llm", node=ctx.node_id)
    chosen = {"temperature": given.temperature, "max_tokens": given.max_tokens}
    asked: dict[str, Any] = {
        "model": given.model,
        "messages": _messages(given, upstream),
        **{key: value for key, value in chosen.items() if value is not None},
        "stream": given.stream,
        **({"stream_options": {"include_usage": True}} if given.stream else {}),
        **given.options,
    }
    if asked.get("stream_options") is None:
        asked.pop("stream_options", None)
    strict_json(asked, what=f"the request of node {ctx.node_id!r}")  # in words of ours
    server = Server(given)
    with server.asked(asked) as parts:
        said = _answer(server, parts, ctx, is_streamed=given.stream)
        for choice in said["choices"] or [said]:
            judge(choice, given.accept)
        return said


def _answer(server: Server, parts: Any, ctx: Context, *, is_streamed: bool) -> dict[str, Any]:
    """Read the whole answer, and let followers see the text as it comes."""
    reader, answer = Reader(), Answer()
    for document in reader.read(_heard(parts, ctx)):
        server.deadline.again()
        told = error_in(document)
        if told is not None:
            raise server.failure(told)
        _show(ctx, answer.add(document), is_streamed=is_streamed)
    _show(ctx, answer.end(ended=reader.ended), is_streamed=is_streamed)
    return answer.plain()


def _heard(parts: Any, ctx: Context) -> Any:
    for part in parts:
        if ctx.cancelled:
            raise NodeCancelledError("the run was stopped")
        yield part


def _show(ctx: Context, text: str, *, is_streamed: bool) -> None:
    if text and is_streamed:
        ctx.token(text)


def _messages(given: LlmArguments, upstream: Any) -> list[Mapping[str, Any]]:
    messages = list(map(_message, given.messages))
    prompt = given.prompt
    if prompt is None and not messages and isinstance(upstream, str):
        prompt = upstream
    if prompt is not None:
        messages.append({"role": "user", "content": str(prompt)})
    if not messages:
        raise UsageError("llm needs a 'prompt' or 'messages'")
    return [{"role": "system", "content": given.system}, *messages] if given.system else messages


def _message(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message without what this node itself has put beside its calls of tools."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": list(map(_call, calls))}


def _call(call: Any) -> Any:
    if not isinstance(call, Mapping) or "function" not in call:
        return call
    return {key: value for key, value in call.items() if key not in _BESIDE_CALL}
