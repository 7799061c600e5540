"""Errors about what runs outside: servers, brokers, stores; ``flowcore.errors`` draws the tree."""

from flowcore.errors.base import FlowcoreError

__all__ = [
    "BrokerUnreachableError",
    "PayloadStoreError",
    "ServiceError",
    "StoreFullError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "VersionMismatchError",
    "WrongServerError",
]


class ServiceError(FlowcoreError):
    """Something outside flowcore is missing or unwell."""

    code = "FC600"


class WrongServerError(ServiceError):
    """There is a server, but not one that could hold runs: a Cluster or a Sentinel."""

    code = "FC607"


class VersionMismatchError(ServiceError):
    """Clients, workers or runs are of a version of flowcore that does not go with this one."""

    code = "FC608"


class PayloadStoreError(ServiceError):
    """The store of large values refused, or cannot be reached."""

    code = "FC606"


class StoreUnreachableError(ServiceError):
    """The store cannot be reached.

    Attributes:
        is_worth_waiting: Whether who has something to write should ask again in a moment; not if
            it is one of several servers, and hangs: there are runs of others to go on with.
    """

    code = "FC601"

    is_worth_waiting = True


class BrokerUnreachableError(ServiceError):
    """Celery's broker cannot be reached, or does not let us in."""

    code = "FC603"


class StoreRefusedError(ServiceError):
    """The store does not let this client in, or not do what it has to do."""

    code = "FC604"


class StoreFullError(ServiceError):
    """The store has no room for new runs, or for anything at all."""

    code = "FC605"


class UnprotectedServerError(ServiceError):
    """A Redis on another machine lets everybody in: it has no password."""

    code = "FC609"
