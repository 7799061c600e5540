"""Circuit breakers on Redis. See lua/breakers/enter.lua for what is kept.

In: how attempts ended. Out: the scripts' answers.
"""

from importlib import resources

from flowcore.ports.breaker import Circuit, Verdict
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection

__all__ = ["RedisBreakers"]


class RedisBreakers:
    """Implements ``Breakers``."""

    def __init__(self, client: Client) -> None:
        """Use ``client``."""
        line, folder = (
            ScriptConnection(client),
            resources.files("flowcore.stores.redis") / "lua" / "breakers",
        )
        self._enter = Script(line, (folder / "enter.lua").read_text())
        self._leave = Script(line, (folder / "leave.lua").read_text())

    def enter(self, circuit: Circuit, holder: str) -> float | None:
        """Ask whether an attempt may begin."""
        arguments = (_key(circuit), holder, _micros(circuit.reset_after), circuit.trials)
        with translated():
            wait: int = self._enter(args=arguments)
        return None if wait < 0 else wait / 1e6

    def leave(self, circuit: Circuit, holder: str, verdict: Verdict) -> str | None:
        """Say how an attempt ended."""
        times = (_micros(circuit.within), _micros(circuit.reset_after))
        arguments = (_key(circuit), holder, verdict or "", circuit.failures, *times, circuit.trials)
        with translated():
            change: bytes = self._leave(args=arguments)
        return change.decode() or None


def _key(circuit: Circuit) -> str:
    return f"fc:{{circuit:{circuit.name}}}"


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
