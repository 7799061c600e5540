"""The time limits of a store that no setting has changed.

In: nothing. Out: seconds and counts. Not here: reading settings (assembly.settings), obeying them
(stores).
"""

__all__ = ["DISPATCH_LEASE", "LEASE", "MAX_LOST", "RETENTION"]

#: A running node whose worker has not renewed for this long is taken over (s).
LEASE = 6.0
#: A dispatched node that nobody has claimed for this long is published again (s).
DISPATCH_LEASE = 5.0
#: A finished run is kept for this long (s).
RETENTION = 7 * 86400.0
#: A node that has lost its worker more often is failed: a dead letter.
MAX_LOST = 3
