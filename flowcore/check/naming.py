"""The names of callables in a definition, and the three ways to judge them.

In: a name. Out: nothing, or the error that says why it may not be used. Not here: where names stand
(rules.uses), which modules may be named (nodes.permission).

- ``import``: what is named is imported and looked at; for definitions of somebody who may run code.
- ``listed``: by the name alone, against a list of modules.
- ``announced``: by the name alone, against what live workers say that they have.

The last two import nothing, and what neither lists nor workers name is refused: they are for
definitions that come over the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from flowcore.nodes.permission import Permission
from flowcore.nodes.resolve import RefusedError, UnresolvedError, resolve, split_reference
from flowcore.nodes.types.builtin import BUILTIN
from flowcore.nodes.types.celery_task import PREFIX

__all__ = ["Naming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """One of the three ways.

    Attributes:
        imports: Modules are imported.
        allowed: Prefixes of modules, and of tasks; None: the rule of ``nodes.permission``.
        announced: Names that workers have; None: nobody was asked.
        queues: Queues that workers serve; None: nobody was asked.
    """

    imports: bool = True
    allowed: frozenset[str] | None = None
    announced: frozenset[str] | None = None
    queues: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        resolve: bool,
        allowed: Iterable[str] | None,
        announced: Iterable[str] | None,
        queues: Iterable[str] | None = None,
    ) -> "Naming":
        """See ``check``."""
        return cls(
            imports=resolve and announced is None,
            allowed=None if allowed is None else frozenset(allowed),
            announced=None if announced is None else frozenset(announced),
            queues=None if queues is None else frozenset(queues),
        )

    @property
    def is_strict(self) -> bool:
        """True if unknown names are refused: the definition comes from a stranger."""
        return not self.imports and (self.allowed is not None or self.announced is not None)

    def judge(self, uses: str) -> None:
        """Judge one name.

        Raises:
            UnresolvedError: It names nothing that can be called, or what is not allowed.
        """
        if self.imports or ":" not in uses:
            resolve(uses, allowed=self.allowed)
        elif self.is_strict:
            self._judge_name(uses)

    def _judge_name(self, uses: str) -> None:
        if self.announced is not None and uses in self.announced:
            return
        if self.allowed is not None:
            if uses.startswith(PREFIX):
                resolve(uses, allowed=self.allowed)
                return
            module, attributes = split_reference(uses)
            if any(name.startswith("__") for name in attributes):
                raise RefusedError(f"'{uses}' is not allowed: it names what is internal to Python")
            if Permission.of(self.allowed).refusal(module) is None:
                return
        elif not uses.startswith(PREFIX):
            split_reference(uses)
        raise self._refused(uses)

    def _refused(self, uses: str) -> UnresolvedError:
        if self.announced is None:
            listed = ", ".join(sorted(self.allowed or ())) or "none"
            why = f"'{uses}' is not allowed: its module is not one of the allowed modules"
            return RefusedError(why, f"allowed here: {listed}")
        near = get_close_matches(uses, [*self.announced, *BUILTIN], n=1)
        hint = f"did you mean '{near[0]}'?" if near else "mark it with @node, and start a worker"
        return RefusedError(f"'{uses}' is not allowed: no live worker announces it", hint)
