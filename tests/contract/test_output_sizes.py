"""The sizes of outputs are told without the outputs."""

from flowcore.ports.store import Outcome
from tests.contract.harness import RUN, Harness, make_plan


def test_sizes_are_those_of_the_outputs_that_exist(it: Harness) -> None:
    it.submit(make_plan([[], [], []]))
    for node, blob in ((0, b"\xc0"), (2, b"\xc5" + bytes(300))):
        claim = it.claim(node)
        assert claim is not None
        it.store.settle(claim.ticket, Outcome(kind="succeeded", output=blob))
    assert it.reader.sizes(RUN) == {0: 1, 2: 301}
    assert it.reader.sizes(RUN, [2, 1]) == {2: 301}
    assert it.reader.sizes(RUN, []) == {}
    assert it.reader.sizes("nobody") == {}
    assert it.reader.sizes("nobody", [0]) == {}
    everything = list(range(20_000))
    assert it.reader.sizes(RUN, everything) == {0: 1, 2: 301}
