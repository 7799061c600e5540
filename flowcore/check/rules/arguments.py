"""Check what nodes give their functions: arguments that these do not take, or need and have not.

In: a draft. Out: problems. Not here: values (literals), what is upstream and may give the
rest (engine.attempts.binding).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft, RawNode
from flowcore.check.naming import Naming
from flowcore.check.rules.literals import check_literals
from flowcore.check.rules.structure import CHOOSING
from flowcore.check.unknowns import opened
from flowcore.errors import UsageError
from flowcore.nodes.arguments.control import FreeArguments
from flowcore.nodes.arguments.model import UNKNOWN, Arguments, Unfinished, misfits
from flowcore.nodes.arguments.registry import arguments_of
from flowcore.nodes.resolve import UnresolvedError, resolve
from flowcore.nodes.signature import Signature, signature_of
from flowcore.nodes.types.celery_task import PREFIX
from flowcore.nodes.types.tool import chosen_tool, misfits_of_call

__all__ = ["check_with"]

#: Types that wait without a worker, and where they say for how long.
_WAITING: Mapping[str, str] = {
    "wait": "write with: {for: …}",
    "signal": "write with: {timeout: …}",
    "approval": "write with: {timeout: …}",
}


def check_with(draft: Draft, naming: Naming) -> None:
    """Note arguments that cannot be right.

    Args:
        draft: Nodes whose shape is known.
        naming: Tells whether modules are imported; else only built-in types are looked at.
    """
    for raw in draft.nodes.values():
        uses, given = raw.fields.get("uses"), raw.fields.get("with") or {}
        if not isinstance(uses, str) or not isinstance(given, Mapping):
            continue
        model = arguments_of(uses)
        if model is FreeArguments:
            continue
        if model is not None:
            _check_type(draft, raw, model, naming)
        elif ":" in uses and naming.imports and given:
            _check_function(draft, raw, uses, given, naming.allowed)


def _check_type(draft: Draft, raw: RawNode, model: type[Arguments], naming: Naming) -> None:
    uses, given = raw.fields["uses"], opened(raw.fields.get("with") or {})
    if uses in CHOOSING:
        if not given.get("cases"):
            return  # that is told already (rules_structure)
        if isinstance(given["cases"], Mapping):
            given["cases"] = {key: _case(value) for key, value in given["cases"].items()}
    label = model.label(uses, given)
    for found in misfits(model, {**_beneath(draft, uses), **given}):
        draft.problems.add(
            found.code,
            found.sentence(label),
            (*raw.path, "with", *found.path),
            found.suggestion,
            at_key=found.at_key,
        )
    if uses == "tool":
        _check_tool(draft, raw, given, naming)
    if uses in _WAITING and raw.fields.get("timeout") is not None:
        what = f"'timeout' means nothing on {quote(uses)}, which holds no worker"
        draft.problems.add("FC223", what, (*raw.path, "timeout"), _WAITING[uses], at_key=True)


def _beneath(draft: Draft, uses: str) -> Mapping[str, Any]:
    """Return the arguments that the config supplies where the node has none."""
    if uses != "llm" or draft.config is None or draft.config.llm is None:
        return {}
    return draft.config.llm.model_dump(exclude_none=True)


def _check_tool(draft: Draft, raw: RawNode, given: Mapping[str, Any], naming: Naming) -> None:
    name, args = given.get("name"), given.get("args") or {}
    if not isinstance(name, str) or isinstance(name, Unfinished) or not name:
        return
    tools = draft.config.tools if draft.config else ()
    try:
        uses = chosen_tool(name, tools)
    except UsageError as error:
        short = [tool.rpartition(":")[2].rpartition(".")[2] for tool in tools]
        hint = draft.problems.near(name, [*tools, *short]) or "list it in config.tools"
        if name in short:
            hint = "name it with its module"
        draft.problems.add("FC229", str(error), (*raw.path, "with", "name"), hint)
        return
    if naming.imports and isinstance(args, Mapping):
        _check_call(draft, raw, uses, args, naming)


def _check_call(
    draft: Draft, raw: RawNode, uses: str, args: Mapping[str, Any], naming: Naming
) -> None:
    """Note what a tool does not take, or needs and is not given."""
    try:
        found = resolve(uses, allowed=naming.allowed)
    except UnresolvedError:
        return  # that is told already
    if found.builtin or uses.startswith(PREFIX):
        return  # so is that
    for one in misfits_of_call(signature_of(found.function), args):
        path = (*raw.path, "with", *one.path)
        what = one.sentence(f"tool {quote(uses)}")
        draft.problems.add(one.code, what, path, one.suggestion, at_key=one.at_key)
    check_literals(draft, found.function, uses, args, (*raw.path, "with", "args"))


def _case(value: Any) -> Any:
    """A case is an expression, however it is written."""
    return UNKNOWN if isinstance(value, str) else value


def _check_function(
    draft: Draft, raw: RawNode, uses: str, given: Mapping[str, Any], allowed: frozenset[str] | None
) -> None:
    try:
        function = resolve(uses, allowed=allowed).function
    except UnresolvedError:
        return  # that is told already
    known = _known(signature_of(function))
    if known is not None:
        _check_keys(draft, raw, uses, given, known)
    if not uses.startswith(PREFIX):
        check_literals(draft, function, uses, given, (*raw.path, "with"))


def _check_keys(
    draft: Draft, raw: RawNode, uses: str, given: Mapping[str, Any], known: Sequence[str]
) -> bool:
    """Say whether all that is given is taken."""
    extras = [key for key in given if key not in known]
    for extra in extras:
        what = f"{uses} takes no {quote(extra)}"
        hint = draft.problems.near(extra, known) or f"it takes {', '.join(known) or 'nothing'}"
        draft.problems.add("FC226", what, (*raw.path, "with", extra), hint, at_key=True)
    return not extras


def _known(signature: Signature) -> list[str] | None:
    """Return the arguments that can be given by name; None: any."""
    if signature.open or not signature.known:
        return None
    return [*signature.required, *signature.optional]
