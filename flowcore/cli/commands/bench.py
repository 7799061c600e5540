"""``flowcore bench``: measure the engine against Celery alone, on this machine.

In: what to measure. Out: tables, or one JSON value. Not here: measuring (bench).
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

import typer

from flowcore.bench.dags import STANDARD
from flowcore.bench.harness import MODES
from flowcore.bench.suite import NOOP, QUICK, Options, Section, measure
from flowcore.cli.commands.run import Pool
from flowcore.cli.exit_codes import ExitCode
from flowcore.cli.output import Format, Output, Quiet, note, show_object, table
from flowcore.errors import UsageError

__all__ = ["bench"]

_FULL_REPEAT = 3
_MIB = 2**20


def bench(  # noqa: PLR0917  (typer calls it, by name)
    dags: Annotated[
        str | None,
        typer.Option(
            "--dags",
            metavar="NAMES",
            help=f"Flows, by comma: chainN, fanN, layeredLxW, nshapeN, treeN; "
            f"default: {','.join(STANDARD)}.",
        ),
    ] = None,
    modes: Annotated[
        str | None,
        typer.Option(
            "--modes", metavar="NAMES", help=f"{','.join(MODES)}: how nodes travel; default: grain."
        ),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(
            "--nodes", metavar="KINDS", help="noop, or how long nodes sleep; default: noop,5ms."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="SECTIONS",
            help=f"{','.join(Section)}; default: {','.join(QUICK)}.",
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            "--repeat", min=1, max=1000, help="Runs of each flow; the middle one is shown."
        ),
    ] = None,
    tasks: Annotated[
        int,
        typer.Option("--tasks", min=1, max=10_000_000, help="No-op Celery tasks of one ceiling."),
    ] = 1000,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, max=1000, help="Nodes at once; default: cores.")
    ] = None,
    pool: Annotated[Pool, typer.Option("--pool", help="Celery's pool.")] = Pool.PREFORK,
    full: Annotated[
        bool, typer.Option("--full", help="Everything, in all modes, at full size.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    quiet: Quiet = False,
    output: Output = Format.TABLE,
) -> int:
    """Measure the engine against the ceiling: independent no-op Celery tasks on the same worker.

    Starts a server and a worker of its own and removes them again; quote ratios, never seconds of
    two machines. FLOWCORE_REDIS_URL is not used.

    Example: flowcore bench --dags chain1000 --modes grain,one-message --repeat 3
    """
    options = Options(
        dags=_words(dags, STANDARD),
        modes=_words(modes, tuple(MODES) if full else ("grain",)),
        nodes=_words(nodes, (NOOP, "5ms")),
        repeat=repeat or (_FULL_REPEAT if full else 1),
        tasks=tasks,
        slots=slots or max(2, os.cpu_count() or 2),
        pool=pool.value,
        full=full,
    )
    chosen = _sections(_words(only, tuple(Section) if full else QUICK))
    report = measure(replace(options, sections=chosen), lambda line: note(line, quiet=quiet))
    form = Format.JSON if json and output is Format.TABLE else output
    show_object(form, report, "\n".join(_tables(report)))
    return ExitCode.OK


def _words(given: str | None, default: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return default
    return tuple(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))


def _sections(names: tuple[str, ...]) -> tuple[Section, ...]:
    if odd := [name for name in names if name not in set(Section)]:
        msg = f"the benchmark has no section {odd[0]!r}; use {', '.join(Section)}"
        raise UsageError(msg)
    return tuple(Section(name) for name in names)


def _tables(report: dict[str, Any]) -> Iterable[str]:
    """Each section as people read it."""
    if "dags" in report:
        yield (
            f"ceiling: {report['ceiling_tasks_per_s']:.0f} no-op Celery tasks/s "
            f"({report['ceiling_consumed_tasks_per_s']:.0f} when all are published before)"
            f"{_cost(report['ceiling_cpu_s_per_task'])}\n"
        )
        yield _throughput(report["dags"])
    if "latency" in report:
        yield _latency(report["latency"])
    if "streaming" in report:
        yield _streaming(report["streaming"])
    if "small_runs" in report:
        yield _small_runs(report["small_runs"])
    if "metg" in report:
        yield _metg(report["metg"])
    if "memory" in report:
        yield _memory(report["memory"])
    if "growth" in report:
        yield _growth(report["growth"])


def _cost(seconds: float | None) -> str:
    return "" if seconds is None else f", {_ms(seconds)} ms of CPU a task"


def _throughput(dags: dict[str, Any]) -> str:
    titles = ("flow", "mode", "nodes", "nodes/s", "x ceiling", "of ideal", "CPU ms/node")
    more = ("commands/node", "bytes/node", "kept/node", "message", "worker MiB", "Redis MiB")
    rows: list[list[str]] = []
    for name, figures in dags.items():
        # The first mode's figures stand at the top.
        modes = {"": figures} | {mode: figures[mode] for mode in MODES if mode in figures}
        for mode, found in modes.items():
            rows += _flow_rows(name, mode, found)
    return table([*titles, *more], rows)


def _flow_rows(name: str, mode: str, figures: dict[str, Any]) -> Iterable[list[str]]:
    kinds = {NOOP: figures} if "nodes_per_s" in figures else {}
    kinds |= {
        key: value
        for key, value in figures.items()
        if isinstance(value, dict) and "share_of_ideal" in value
    }
    for kind, found in kinds.items():
        share, ratio = found.get("share_of_ideal"), found.get("ratio")
        yield [
            name,
            mode,
            kind,
            f"{found['nodes_per_s']:.0f}",
            "" if ratio is None else f"{ratio:.2f}",
            "" if share is None else f"{share:.0%}",
            _ms(found["cpu_s_per_node"]),
            f"{found['redis_commands_per_node']:.1f}",
            f"{found['redis_bytes_per_node']:.0f}",
            f"{found['redis_memory_bytes_per_node']:.0f}",
            f"{found['message_bytes']}",
            _mib(found["worker_peak_bytes"]),
            _mib(found["redis_peak_bytes"]),
        ]


def _latency(found: dict[str, Any]) -> str:
    rows = [
        [name.replace("_", " "), mode, _ms(spread["p50_s"]), _ms(spread["p99_s"])]
        for mode, figures in found.items()
        for name, spread in figures.items()
    ]
    return table(["latency, ms", "mode", "p50", "p99"], rows)


def _streaming(found: dict[str, Any]) -> str:
    rows = [
        [
            mode,
            _ms(each["first_token"]["p50_s"]),
            _ms(each["first_token"]["p99_s"]),
            _ms(each["token"]["p50_s"]),
            f"{each['events_per_s']:.0f}",
            str(each["events_lost"]),
        ]
        for mode, each in found.items()
    ]
    heads = ["streaming", "first token p50, ms", "p99", "later ones p50", "events/s", "lost"]
    return table(heads, rows)


def _small_runs(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{each['runs']} of {each['nodes_per_run']} nodes",
            mode,
            f"{each['runs_per_s']:.0f}",
            f"{each['nodes_per_s']:.0f}",
            f"{each['submitted_runs_per_s']:.0f}",
        ]
        for mode, each in found.items()
    ]
    return table(["small runs", "mode", "runs/s", "nodes/s", "submitted/s"], rows)


def _metg(found: dict[str, Any]) -> str:
    rows = [
        [name, mode, "not reached" if each["metg_s"] is None else _ms(each["metg_s"])]
        for mode, patterns in found.items()
        for name, each in patterns.items()
    ]
    return table(["pattern", "mode", "METG(50 %), ms"], rows)


def _memory(found: dict[str, Any]) -> str:
    rows = [
        [
            mode,
            str(point["nodes"]),
            _mib(point["worker_bytes"]),
            _mib(point["redis_bytes"]),
        ]
        for mode, each in found.items()
        for point in each["points"]
    ]
    slopes = "".join(
        f"{mode}: {each['worker_bytes_per_node'] or 0:.0f} bytes of the worker and "
        f"{each['redis_bytes_per_node']:.0f} of Redis for each node more\n"
        for mode, each in found.items()
    )
    return table(["memory", "nodes so far", "worker MiB", "Redis MiB"], rows) + slopes


def _growth(found: dict[str, Any]) -> str:
    steps = ("compile", "submit", "run", "cpu")
    rows: list[list[str]] = []
    for mode, shapes in found.items():
        for shape, each in shapes.items():
            for point in each["points"]:
                times = (point.get(f"{step}_s") for step in steps)
                shown = (_us(time and time / point["nodes"]) for time in times)
                sent = f"{point['messages_per_node']:.2f}"
                rows.append([shape, mode, str(point["nodes"]), *shown, sent])
            for title in ("exponent", "last_exponent"):
                powers = (each[title].get(step) for step in steps)
                shown = ("" if power is None else f"{power:.2f}" for power in powers)
                rows.append([shape, mode, title.replace("_", " "), *shown, ""])
    titles = ["growth", "mode", "nodes", *(f"{step} us/node" for step in steps)]
    return table([*titles, "messages/node"], rows)


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.0f}"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.2f}"


def _mib(size: int | None) -> str:
    return "" if size is None else f"{size / _MIB:.0f}"
