"""Credentials that are written out where a secret belongs: found, and masked where people look.

In: plain data, texts. Out: where something looks like a credential; the same data with ``***`` in
its place. Not here: secrets that are read by reference (engine.values.redaction), which are known
and not guessed.

What looks like one: a text under a name such as ``password`` or ``Authorization``, a URL's user and
password, such a name in a URL's query, and the forms of tokens that large services give out. What
has ``${{ }}`` in it is a reference and stays.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.types import Json

__all__ = ["find_credentials", "mask_text", "masked"]

_MASK = "***"
_OPEN = "${{"

#: What the name of a credential ends with, written without signs: ``X-Api-Key``, ``clientSecret``.
_NAMES = re.compile(
    r"(?:password|passwd|passphrase|pwd|secret|token|authorization|cookie|credentials?"
    r"|apikey|accesskey|secretkey|privatekey|authkey|accountkey|sharedkey|signature)$"
)
#: Names that end so and are none.
_OTHERS = re.compile(r"(?:next|page|continuation|sync|csrf|xsrf)(?:page)?token$")

_USER = re.compile(r"(?<=://)([^\s/?#@:]*)(:[^\s/?#@]*)?@")
_QUERY = re.compile(r"([?&;])([^\s=&#;?]{1,100})=([^\s&#;\"']+)")
_TOKENS = re.compile(
    r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abposr]-[A-Za-z0-9-]{10,}|\bA[KS]IA[0-9A-Z]{16}\b|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
)
#: Addresses whose path is the credential: who knows it may post.
_HOOKS = re.compile(
    r"(?<=://)((?:[^\s/?#@]*@)?(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)"
    r"|(?:[a-z]+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks"
    r"|[^\s/?#]+\.webhook\.office\.com/webhookb2"
    r"|api\.telegram\.org)/)(?!\*\*\*)[^\s?#\"'$]{8,}",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(Bearer|Basic)\s+(?!\*\*\*)([A-Za-z0-9+/_.~=-]{8,})", re.IGNORECASE)


def masked(value: Json) -> Json:
    """Return plain data with ``***`` in the place of what looks like a credential."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {
            key: _MASK if _is_credential(key, item) else masked(item) for key, item in value.items()
        }
    return [masked(item) for item in value] if isinstance(value, list | tuple) else value


def mask_text(text: str) -> str:
    """Mask what looks like a credential in a text: in its URLs, and tokens of known forms."""
    if "://" in text:
        text = _HOOKS.sub(rf"\1{_MASK}", _USER.sub(_masked_user, text))
    if "=" in text:
        text = _QUERY.sub(_masked_query, text)
    return _SCHEME.sub(rf"\1 {_MASK}", _TOKENS.sub(_MASK, text))


def find_credentials(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """Yield the places of texts that look like credentials or hold one.

    Args:
        value: Plain data, such as a node's ``with``.
        path: Its own place.
    """
    if isinstance(value, str):
        if mask_text(value) != value:
            yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_credential(key, item):
                yield (*path, key)
            else:
                yield from find_credentials(item, (*path, key))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from find_credentials(item, (*path, at))


def _is_credential(name: object, value: object) -> bool:
    """Say whether a name says that its value is a credential that is written out."""
    return isinstance(value, str) and bool(value) and _OPEN not in value and _is_name(str(name))


def _is_name(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return bool(_NAMES.search(plain)) and not _OTHERS.search(plain)


def _masked_user(found: re.Match[str]) -> str:
    """Keep a user's name if there is a password; else it is a token."""
    user, password = found[1], found[2]
    if _OPEN in (password or user):
        return found[0]
    if password is None:
        return f"{_MASK}@"
    return f"{user}:{_MASK}@"


def _masked_query(found: re.Match[str]) -> str:
    sign, name, value = found[1], found[2], found[3]
    is_key = name.lower() in {"key", "sig", "code"} and len(value) >= 16  # noqa: PLR2004
    if value.startswith(_OPEN) or not (is_key or _is_name(name)):
        return found[0]
    return f"{sign}{name}={_MASK}"
