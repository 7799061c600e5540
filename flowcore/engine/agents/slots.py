"""Number of an agent's tasks that run in a process.

In: tasks that begin, wait, end, or hang. Out: whether there is room for another.
"""

import threading

__all__ = ["Places"]


class Places:
    """The places of one agent; tasks that wait for others do not count, calls that hang do."""

    def __init__(self, most: int) -> None:
        """Allow so many."""
        self._most = most
        self._busy = 0
        self._hung = 0
        self._changed = threading.Condition()

    @property
    def hung(self) -> int:
        """Calls whose tasks have ended, and that have not come back."""
        return self._hung

    @property
    def are_all_hung(self) -> bool:
        """True if every slot is held by a task that hangs."""
        return self._hung >= self._most

    def wait_free(self, timeout: float) -> bool:
        """Wait for a free place."""
        with self._changed:
            return self._changed.wait_for(lambda: self._busy < self._most, timeout)

    def take(self) -> None:
        """Take one; whoever goes on after a wait does not have to wait again."""
        with self._changed:
            self._busy += 1

    def give(self) -> None:
        """Give one back."""
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def hang(self) -> None:
        """Note that a call keeps its place though its task has ended."""
        with self._changed:
            self._hung += 1

    def come_back(self) -> None:
        """Give the place of a call that hung back."""
        with self._changed:
            self._hung -= 1
        self.give()
