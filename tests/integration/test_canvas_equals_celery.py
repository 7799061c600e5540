"""Canvases that are imported come to what Celery makes of them, or are refused.

Each canvas runs twice: on a real Celery worker, and as the flow that the importer writes of it.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging
from kombu.utils.json import dumps, loads

from flowcore.graph.dump import to_yaml
from flowcore.graph.load import load_text
from flowcore.importers.canvas import CanvasError, from_canvas
from flowcore.testing import Flows
from tests.services import running_valkey

#: Celery's own calls of redis-py, in a worker that is a thread of this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Make = Callable[[Any], Any]


def _given(canvas: Any, *args: Any, **kwargs: Any) -> Any:
    """A canvas with arguments of its own; ``clone`` keeps those of chords alone."""
    canvas["args"] = args
    canvas["kwargs"] |= kwargs
    return canvas


def _seen(*args: Any, **kwargs: Any) -> Any:
    """What a task was given, as plain data that names its types."""
    return ["seen", _named(list(args)), _named(kwargs)]


def _named(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return f"{type(value).__name__}:{value}"


def _leave_logging_alone(**_: Any) -> None:
    """Celery configures no logging where somebody has connected to this signal."""


@pytest.fixture(scope="module")
def task() -> Iterator[Any]:
    """A task that gives back what it was given, and a worker that runs it."""
    with running_valkey() as url:
        place = url.replace("unix://", "socket://")
        results = f"celery.backends.redis:RedisBackend+{place}"
        app = Celery("shop", broker=f"redis+{place}", set_as_current=False)
        app.conf.update(result_backend=results)
        app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)
        seen = app.task(name="shop.seen")(_seen)
        # A worker would set the level of this process's logging, for all tests after it.
        setup_logging.connect(_leave_logging_alone)
        try:
            with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
                yield seen
        finally:
            setup_logging.disconnect(_leave_logging_alone)


_CANVASES: dict[str, Make] = {
    "a task": lambda t: t.s(1, 2, key=3),
    "a chain": lambda t: chain(t.s(1), t.s(2), t.si(3)),
    "a chain with arguments": lambda t: _given(chain(t.s(1), t.s(2)), 10, 20),
    "a chain whose first task is immutable": lambda t: _given(chain(t.si(1), t.s(2)), 10),
    "a chain led by a group": lambda t: chain(group(t.s(1), t.s(2)), t.s(3)),
    "a chain led by a group, with arguments": lambda t: chain(group(t.s(1), t.s(2)), t.s(3)).clone(
        (10,)
    ),
    "a group": lambda t: group(t.s(1), t.si(2)),
    "a chord": lambda t: chord([t.s(1), t.s(2)], t.s(3)),
    "a chord with arguments": lambda t: chord([t.s(1), t.si(2)], t.s(3)).clone((10,)),
    "a chord of one": lambda t: chord([t.s(1)], t.s(3)),
    "a chord of chains": lambda t: chord([chain(t.s(1), t.s(2)), t.s(3)], t.s(4)),
    "a chord of chains with arguments": lambda t: chord(
        [chain(t.s(1), t.s(2)), t.s(3)], t.s(4)
    ).clone((10,)),
    "a chord without header": lambda t: chord([], t.s(3)),
    "a chord without header in a chain": lambda t: chain(t.s(1), chord([], t.s(3)), t.s(4)),
    "an empty group within": lambda t: chain(t.s(1), group([]), t.s(2)),
    "an empty group first": lambda t: _given(chain(group([]), t.s(2)), 10),
    "a chain in a chain": lambda t: chain(chain(t.s(1), t.s(2)), t.s(3)),
    "a countdown that is over": lambda t: t.s(1).set(countdown=-1),
    "dates and the like": lambda t: t.s(
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 2),  # noqa: DTZ001  (a naive one arrives as that)
        dt.date(2026, 1, 2),
        dt.time(1, 2, 3),
        Decimal("1.10"),
        uuid.UUID(int=7),
        b"text",
        b"\xff\x00",
        nested={"at": [Decimal("2.50")]},
    ),
    "texts that look like expressions": lambda t: t.s("${{ a }}", k={"x": "$${{ b }}"}),
}


@pytest.mark.parametrize("name", _CANVASES)
def test_an_imported_canvas_comes_to_what_celery_makes_of_it(task: Any, name: str) -> None:
    canvas = _CANVASES[name](task)
    expected = canvas.apply_async().get(timeout=30)
    assert _flow_output(_CANVASES[name](task)) == _named(expected)


def _flow_output(canvas: Any) -> Any:
    text = to_yaml(from_canvas(canvas))
    tree: Any = load_text(text, name="canvas.yaml").tree
    flows = Flows()
    flows.task("shop.seen", lambda *args, **kwargs: _seen(*_revived(args), **_revived(kwargs)))
    result = flows.run(tree)
    assert result.error is None, result.error
    output = result.output
    # Several ends come by name, in the order of the canvas; Celery gives a group's as a list.
    return list(output.values()) if isinstance(output, dict) else output


def _revived(value: Any) -> Any:
    """Read back what Celery's worker reads back: kombu's own decoder."""
    return loads(dumps(value))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda t: chain(t.s(1), group(_given(chain(t.s(2), t.s(3)), 9), t.s(4))),
            "or of a part of a canvas",
        ),
        (
            lambda t: chain(t.s(1), chord([t.s(2), t.s(2)], t.s(3)).clone((9,))),
            "or of a part of a canvas",
        ),
        (lambda t: _given(group(t.s(1), t.s(2)), 9), "or of a part of a canvas"),
        (
            lambda t: group(t.s(1), chord([t.s(1), t.s(2)], t.s(3)).clone((9,))),
            "or of a part of a canvas",
        ),
        (lambda t: _given(chain(t.s(1), t.s(2)), x=1), "not given 'x'"),
        (lambda t: chord([t.s(1)], t.s(2), kwargs={"x": 1}), "not given 'x'"),
        (lambda t: _given(chain(t.map([1]), t.s(2)), 9), "takes no arguments"),
        (lambda t: chain(t.s(1), chord([t.s(2)], t.s(3), immutable=True)), "immutable"),
        (lambda t: t.s({1, 2}), "shop.seen: an argument of type set"),
        (lambda t: t.s(key=[object()]), "shop.seen: an argument of type object"),
        (lambda t: t.s(float("nan")), "shop.seen: an argument of type float"),
        (lambda t: group([]), "without tasks"),
    ],
    ids=[str(number) for number in range(12)],
)
def test_what_a_flow_would_do_otherwise_is_refused_with_its_reason(
    task: Any, make: Make, reason: str
) -> None:
    with pytest.raises(CanvasError, match=reason):
        from_canvas(make(task))
