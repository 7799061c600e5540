"""The node type ``llm``: one answer of a language model, token by token.

In: the node's ``with``, and ``config.llm`` under it. Out: the text and what it cost. Not here:
agents, tools (agent backends); how often it is tried (the node's ``retry``).
"""

import importlib
from collections.abc import Mapping
from typing import Any

from flowcore.errors import NodeCancelledError, UsageError
from flowcore.json_text import strict_json
from flowcore.nodes.context import Context
from flowcore.nodes.http import guarded_client
from flowcore.nodes.types.calls import LlmArguments

__all__ = ["llm"]


def llm(ctx: Context, upstream: Any = None, **more: Any) -> dict[str, Any]:
    """Ask a language model; give on ``{"text", "model", "finish_reason", "usage"}``.

    Any server that speaks OpenAI's protocol will do; ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY`` of
    the worker name it, and ``config.llm`` of the flow gives defaults. Whoever follows the run gets
    the text token by token. Needs ``flowcore[llm]``.

    Args:
        ctx: The attempt.
        upstream: What flows into the node: the prompt, if it is text and no other is given.
        **more: ``model``; ``prompt``, or ``messages`` with ``role`` and ``content``; ``system``,
            put before them; ``temperature``; ``max_tokens``; ``base_url``; ``api_key``, a secret;
            ``timeout`` (2m); ``stream`` (true); ``options``, what else goes into the request.

    Raises:
        UnsupportedValueError: A message or an option is nothing that JSON has words for.
        UsageError: There is no model, no prompt, or the request cannot be made as it is written.
    """
    given = LlmArguments.read(more, uses="llm", node=ctx.node_id)
    client = _client(given)
    chosen = {"temperature": given.temperature, "max_tokens": given.max_tokens}
    asked = {
        "model": given.model,
        "messages": _messages(given, upstream),
        **{key: value for key, value in chosen.items() if value is not None},
        **given.options,
    }
    strict_json(asked, what=f"the request of node {ctx.node_id!r}")  # in words of ours
    with client:
        if not given.stream:
            return _whole(client.chat.completions.create(**asked))
        usage = {"stream_options": {"include_usage": True}}
        return _streamed(client.chat.completions.create(**asked, stream=True, **usage), ctx)


def _client(asked: LlmArguments) -> Any:
    try:
        openai = importlib.import_module("openai")
    except ImportError as error:
        raise UsageError("llm needs the openai client: pip install 'flowcore[llm]'") from error
    given: dict[str, Any] = {"timeout": asked.timeout, "max_retries": 0}
    if asked.api_key is not None:
        given["api_key"] = asked.api_key
    if asked.base_url is not None:
        # Named by the definition, and not by whoever runs this worker.
        client = guarded_client(timeout=asked.timeout)
        given |= {"base_url": asked.base_url, "http_client": client}
    try:
        return openai.OpenAI(**given)
    except openai.OpenAIError as error:
        raise UsageError(f"llm: {error}; a server without keys takes any OPENAI_API_KEY") from error


def _messages(given: LlmArguments, upstream: Any) -> list[Mapping[str, Any]]:
    messages = list(given.messages)
    prompt = given.prompt
    if prompt is None and not messages and isinstance(upstream, str):
        prompt = upstream
    if prompt is not None:
        messages.append({"role": "user", "content": str(prompt)})
    if not messages:
        raise UsageError("llm needs a 'prompt' or 'messages'")
    return [{"role": "system", "content": given.system}, *messages] if given.system else messages


def _whole(answer: Any) -> dict[str, Any]:
    choice = answer.choices[0]
    return {
        "text": choice.message.content or "",
        "model": answer.model,
        "finish_reason": choice.finish_reason,
        "usage": _usage(answer.usage),
    }


def _streamed(chunks: Any, ctx: Context) -> dict[str, Any]:
    text: list[str] = []
    told: dict[str, Any] = {"model": None, "finish_reason": None, "usage": None}
    for chunk in chunks:
        if ctx.cancelled:
            chunks.close()
            raise NodeCancelledError("the run was stopped")
        told["model"] = chunk.model or told["model"]
        told["usage"] = _usage(chunk.usage) or told["usage"]
        for choice in chunk.choices[:1]:
            told["finish_reason"] = choice.finish_reason or told["finish_reason"]
            if choice.delta.content:
                text.append(choice.delta.content)
                ctx.token(choice.delta.content)
    return {"text": "".join(text), **told}


def _usage(usage: Any) -> dict[str, int] | None:
    if usage is None:
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: getattr(usage, name) for name in names}
