"""What cannot be a node is refused when it is decorated, in a sentence with a way out."""

import asyncio
import functools
import gc
import inspect
import json
import math
import operator
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from flowcore import Flow, node
from flowcore.errors import UsageError
from flowcore.graph.builder import FlowBuilder

app = Celery("unfit", set_as_current=False)


@app.task(name="shop.charge")
def charge(order: int) -> int:
    return order


class Caller:
    def __call__(self, a: int = 1) -> int:
        return a

    def method(self, x: int = 3) -> int:
        return x

    def of_this(this, x: int = 3) -> int:  # noqa: N805  (nobody has to say self)
        return x

    @classmethod
    def made(cls) -> int:
        return 1

    @staticmethod
    def static(x: int = 3) -> int:
        return x

    @property
    def size(self) -> int:
        return 1


def plain(x: int = 1) -> int:
    return x


async def later(x: int = 1) -> int:
    return x


async def stream() -> Any:
    yield 1


def chunks() -> Iterator[int]:
    yield 1


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def careless(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def rest(*values: int) -> int:
    return sum(values)


def first_and_rest(first: int, *others: int) -> int:
    return first


def anything(*args: Any, **kwargs: Any) -> None: ...


def by_place(a: int, /, b: int = 1) -> int:
    return a + b


fetch = node(plain)
wrapped = node(traced(later))
_TOP = "write a function at the top level of a module"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: "fetch", "not the text 'fetch'; for an id write @node\\(name=…\\)"),
        (lambda: 3, "this is an object of the class 'int': 3"),
        (object, "this is an object of the class 'object'"),
        (later, "'later' was called; decorate the function itself, without \\(\\)"),
        (chunks, "'chunks' was called; decorate the function itself"),
        (stream, "'stream' was called; decorate the function itself"),
        (lambda: inspect.getattr_static(Caller, "static"), "write @staticmethod above @node"),
        (lambda: inspect.getattr_static(Caller, "made"), "'Caller.made' is a class method"),
        (lambda: inspect.getattr_static(Caller, "size"), "'Caller.size' is a property"),
        (lambda: Caller().method, "'Caller.method' is a bound method"),
        (lambda: Caller.made, "'Caller.made' is a bound method"),
        (lambda: Caller.method, "'Caller.method' is a method, and a worker has not its object; "),
        (Caller, "an object of the class 'Caller': it has no name that a worker could"),
        (lambda: functools.partial(plain, 1), "'partial': it has no name that a worker could"),
        (lambda: operator.itemgetter(0), "'itemgetter': it has no name"),
        (lambda: str.upper, "'method_descriptor': it has no name"),
        (lambda: Caller, "'Caller' is a class; write a function .* that makes one"),
        (lambda: dict, "'dict' is a class"),
        (lambda: [].append, "'list.append' is a method of an object of the class 'list'"),
        (lambda: len, "builtins.len is Python's own; write a function"),
        (lambda: math.sqrt, "math.sqrt is Python's own"),
        (lambda: json.dumps, "json.dumps is Python's own"),
        (lambda: lambda x: x, "a lambda has no name .* write it as a function with 'def'"),
        (lambda: careless(plain), "'wrapper' is defined inside 'careless'.*functools.wraps"),
        (lambda: typing.overload(plain), "a stub of @overload; decorate the implementation below"),
        (lambda: charge, "'shop.charge' is a Celery task; .* write 'celery:shop.charge' for uses"),
        (lambda: fetch, "'plain' is a node already; for other policies write plain.configured"),
        (lambda: rest, "'rest' takes \\*values, which nothing can give.*write values: list"),
        (lambda: first_and_rest, "takes \\*others, which nothing can give"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_node_is_refused_with_a_way_out(make: Any, said: str) -> None:
    for decorate in (node, node(name="other", timeout="1s")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UsageError, match=said):
                decorate(make())
            gc.collect()


def test_a_function_inside_another_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'inner' is defined inside .* move it to the top level"):

        @node
        def inner() -> None: ...


def test_a_method_is_refused_where_it_is_written() -> None:
    with pytest.raises(UsageError, match="is a method, and a worker has not its object"):

        class Service:
            @node
            def fetch(self, x: int = 3) -> int:
                return x


SERVICE = """
from flowcore import node

class Service:
    @node
    def fetch({first}, x=3): return x
"""


def _run(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(text, module.__dict__)
    return module


@pytest.mark.parametrize("first", ["self", "cls", "this"])
def test_a_method_in_a_module_is_refused_whatever_its_first_parameter_is_called(
    first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.11 wraps what is raised when a class gets its attributes.
    with pytest.raises((UsageError, RuntimeError)) as raised:
        _run(SERVICE.format(first=first), "acme_service", monkeypatch)
    error = raised.value if isinstance(raised.value, UsageError) else raised.value.__cause__
    assert isinstance(error, UsageError)
    assert "'Service.fetch' is a method, and a worker has not its object" in str(error)


def test_a_static_method_is_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SERVICE.replace("    @node", "    @staticmethod\n    @node").format(first="y=1")
    service = _run(text, "acme_static", monkeypatch).Service
    with FlowBuilder("f") as flow:
        flow.add("a", service.fetch)
    assert flow.definition()["nodes"]["a"] == {"uses": "acme_static:Service.fetch"}
    assert service.fetch(2, x=5) == 5


def test_a_node_may_be_an_attribute_of_a_class() -> None:
    class Nodes:
        get = fetch

    assert Nodes.get(7) == 7
    assert Nodes().get(7) == 7


@pytest.mark.parametrize("function", [later, chunks, stream, anything, by_place, Caller.static])
def test_functions_that_can_be_nodes_are(function: Any) -> None:
    assert node(function).__wrapped__ is function


def test_what_is_cached_or_wrapped_by_name_can_be_a_node() -> None:
    assert node(functools.lru_cache(plain))(2) == 2
    assert node(functools.singledispatch(plain))(2) == 2
    assert asyncio.run(wrapped(3)) == 3


@pytest.mark.parametrize("unfit", ["task", "rest", "method"])
def test_a_flow_refuses_the_same_undecorated(unfit: str) -> None:
    given: Any = {"task": charge, "rest": rest, "method": Caller().method}[unfit]
    with FlowBuilder("f") as flow:
        for add in (
            lambda: flow.add("a", given),
            lambda: flow.add("b", plain, undo=given),
            lambda: flow.add("c", plain, fallback=given),
            lambda: flow.add("d", plain, for_each=given),
        ):
            with pytest.raises(UsageError, match=r"is a Celery task|nothing can give|bound method"):
                add()  # type: ignore[no-untyped-call]


OTHER = "def work(x=1): return x\n"


def test_a_wrapper_of_another_modules_function_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its name leads to the function alone: a worker would run it without the wrapper."""
    other = _run(OTHER, "acme_other", monkeypatch)
    with pytest.raises(UsageError, match="acme_other:work, which is there without the decorators"):
        node(traced(other.work))
    with FlowBuilder("f") as flow, pytest.raises(UsageError, match="without the decorators around"):
        flow.add("a", traced(other.work))
    assert node(other.work)(2) == 2


REBOUND = """
from flowcore import node
from functools import wraps

def traced(function):
    @wraps(function)
    def wrapper(x=1): return -function(x)
    return wrapper

def work(x=1): return x
work = node(traced(work))

@traced
@node
def outer(x=1): return x

@node
@traced
def inner(x=1): return x
"""


def test_in_its_own_module_a_wrapper_may_take_the_functions_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = _run(REBOUND, "acme_rebound", monkeypatch)
    with FlowBuilder("f") as flow:
        for name in ("work", "outer", "inner"):
            flow.add(name, getattr(module, name))
            assert getattr(module, name)(2) == -2
    assert flow.definition()["nodes"]["inner"] == {"uses": "acme_rebound:inner"}


def test_a_misspelt_option_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"@node has no option 'retires' .did you mean 'retry'"):
        node(retires=3)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"@node has no option 'xyz' .there are retry, timeout"):
        fetch.configured(xyz=3)


@pytest.mark.parametrize("as_main", [True, False])
def test_a_module_named_like_one_of_pythons_own_is_told_to_be_renamed(
    as_main: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "statistics.py"
    text = "from flowcore import node\n@node\ndef a(x=1): return x\n"
    file.write_text(text)
    name = "__main__" if as_main else "statistics"
    module = types.ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    said = "your statistics.py has the name of a module of the standard library: rename it"

    def build() -> None:
        exec(compile(text, str(file), "exec"), module.__dict__)
        Flow("f").add("a", module.a)

    with pytest.raises(UsageError, match=said):
        build()
