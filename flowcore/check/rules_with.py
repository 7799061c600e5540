"""Check what nodes give their functions: arguments that these do not take, or need and have not.

In: a draft. Out: problems. Not here: values (the functions themselves, when they run), what is
upstream and may give the rest (engine.bind).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft, RawNode
from flowcore.check.naming import Naming
from flowcore.nodes.keys import KEYS, NEEDED
from flowcore.nodes.resolve import UnresolvedError, resolve
from flowcore.nodes.signature import Signature, signature_of

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
        if uses in KEYS:
            _check_type(draft, raw, uses, given)
        elif ":" in uses and naming.imports and given:
            _check_function(draft, raw, uses, given, naming.allowed)


def _check_type(draft: Draft, raw: RawNode, uses: str, given: Mapping[str, Any]) -> None:
    known = sorted(KEYS[uses])
    is_spelled = _check_keys(draft, raw, uses, given, known)
    wanted = NEEDED.get(uses, ())
    there = [key for key in wanted if key in given]
    if wanted and len(there) != 1 and is_spelled:
        either = " or ".join(map(quote, wanted))
        what = f"{uses} needs {either}" if not there else f"{uses} takes either {either}"
        draft.problems.add("FC204", what, (*raw.path, "with"))
    if uses in _WAITING and raw.fields.get("timeout") is not None:
        what = f"'timeout' means nothing on {quote(uses)}, which holds no worker"
        draft.problems.add("FC223", what, (*raw.path, "timeout"), _WAITING[uses], at_key=True)


def _check_function(
    draft: Draft, raw: RawNode, uses: str, given: Mapping[str, Any], allowed: frozenset[str] | None
) -> None:
    try:
        signature = signature_of(resolve(uses, allowed=allowed).function)
    except UnresolvedError:
        return  # that is told already
    known = _known(signature)
    if known is not None:
        _check_keys(draft, raw, uses, given, known)


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
    """What can be given by name; None: anything."""
    if signature.open or not signature.known:
        return None
    return [*signature.required, *signature.optional]
