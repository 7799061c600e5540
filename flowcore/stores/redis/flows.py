"""The registry of deployed flows on Redis: one hash for a namespace, see lua/flows.

In: flows to deploy. Out: what is deployed.
"""

from dataclasses import asdict
from importlib import resources

import msgpack

from flowcore.ports.flows import DeployedFlow
from flowcore.ports.listing import Listing
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection

__all__ = ["RedisFlows"]

_NO_PLAN = -1


class RedisFlows:
    """Implements ``FlowRegistry``."""

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        """Keep the flows of a namespace; nothing is sent yet."""
        line, folder = (
            ScriptConnection(client),
            resources.files("flowcore.stores.redis") / "lua" / "flows",
        )
        self._client = client
        self._namespace = namespace
        self._deploy = Script(line, (folder / "deploy.lua").read_text())
        self._remove = Script(line, (folder / "remove.lua").read_text())

    def deploy(self, flow: DeployedFlow) -> bool:
        """Keep a flow under its name and version."""
        packed = msgpack.packb(asdict(flow))
        with translated():
            done = self._deploy(args=(self._namespace, flow.address, packed, flow.plan))
        if done == _NO_PLAN:
            raise KeyError(flow.plan)
        return bool(done)

    def find(self, name: str, version: str | None = None) -> DeployedFlow | None:
        """Return a version of a flow, the one deployed last when none is named."""
        if version is None:
            return next((flow for flow in self.flows() if flow.name == name), None)
        with translated():
            packed = self._client.hget(self._key, f"{name}@{version}")
        return None if packed is None else _read(packed)

    def flows(self) -> Listing[DeployedFlow]:
        """Return every version of every flow, the latest deployed first."""
        with translated():
            kept = self._client.hgetall(self._key)
        flows: Listing[DeployedFlow] = Listing()
        for address, packed in kept.items():
            with flows.reading(address):
                flows.append(_read(packed))
        flows.sort(key=lambda one: (-one.deployed, one.address))
        return flows

    def remove(self, name: str, version: str) -> bool:
        """Forget a version."""
        with translated():
            return bool(self._remove(args=(self._namespace, f"{name}@{version}")))

    @property
    def _key(self) -> str:
        return f"fc:flows:{self._namespace}"


def _read(packed: bytes) -> DeployedFlow:
    kept = msgpack.unpackb(packed)
    flow = DeployedFlow(**{**kept, "paths": tuple(kept["paths"])})
    float(flow.deployed), flow.name.encode()  # whatever else it may be, a list is sorted by these
    return flow
