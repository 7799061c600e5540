"""A cache goes by its name and the arguments: of code that has changed since it knows nothing."""

from typing import Any

from flowcore import node
from flowcore.testing import Flows

SAYS = {"version": 1}


@node
def quote(item: str) -> str:
    return f"{item}, version {SAYS['version']}"


def _flow(**cache: Any) -> dict[str, Any]:
    uses = f"{__name__}:quote"
    return {
        "nodes": {"q": {"uses": uses, "with": {"item": "tea"}, "cache": {"ttl": "1h", **cache}}}
    }


def test_an_output_counts_until_its_time_is_over_or_its_name_has_changed(flows: Flows) -> None:
    SAYS["version"] = 1
    assert flows.run(_flow()).output == "tea, version 1"
    SAYS["version"] = 2
    assert flows.run(_flow()).output == "tea, version 1"
    assert flows.run(_flow(name="quotes-2")).output == "tea, version 2"
    flows.advance("2h")
    assert flows.run(_flow()).output == "tea, version 2"
