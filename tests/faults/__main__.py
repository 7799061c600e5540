"""The campaign of faults: ``make faults``, or ``python -m tests.faults``.

In: arguments. Out: a report, and a last line that says it all; the exit code is 0 only if every
invariant holds, each fault is proven to have hit, and the control without protection has failed.
"""

import argparse
import faulthandler
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.campaign import Findings, Options, run_campaign
from tests.faults.report import last_line, write_report
from tests.faults.schedule import CONTROL, INNER, KINDS, schedule
from tests.faults.world import Times

__all__ = ["main"]

_BEGAN = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and its control."""
    options = _parser().parse_args(arguments)
    # Where does it hang? kill -USR1 tells.
    faulthandler.register(signal.SIGUSR1)
    known = (*KINDS, *INNER * 2) if options.inner else KINDS
    wanted = [kind for kind in known if not options.only or kind.family in options.only]
    kinds = tuple(kind for kind in wanted if kind.missing() is None)
    with tempfile.TemporaryDirectory(prefix="flowcore-faults-") as home:
        findings = run_campaign(
            Path(home) / "campaign",
            Options(
                seed=options.seed,
                runs=options.runs,
                kinds=schedule(options.seed, options.faults, kinds=kinds),
                times=Times(freeze=options.freeze),
                inner=options.inner,
                say=_say,
            ),
        )
        findings.skipped = [
            f"{kind.family} {kind.title}: {why}" for kind in wanted if (why := kind.missing())
        ]
        control = None if options.no_control else _control(Path(home), options.seed)
        if options.keep:
            _keep(Path(home), options.report)
    command = (
        f'make faults ARGS="--seed {options.seed} --runs {options.runs} --faults {options.faults}"'
    )
    report = write_report(
        options.report, seed=options.seed, command=command, findings=findings, control=control
    )
    _tell(findings, control)
    print(f"report: {report}")
    print(last_line(findings))
    return 0 if findings.clean and (control is None or control.stuck) else 1


def _control(home: Path, seed: int) -> Findings:
    """The same engine without what protects it, under faults that need protection."""
    _say("control: no janitor, no end of leases")
    return run_campaign(
        home / "control",
        Options(
            seed=seed,
            runs=12,
            kinds=list(CONTROL),
            times=Times(freeze=1.0, protected=False),
            patience=5.0,
            say=_say,
        ),
    )


def _tell(findings: Findings, control: Findings | None) -> None:
    for name in ("skipped", "missed", "lost", "stuck", "wrong", "orphans", "foreign"):
        for text in getattr(findings, name)[:20]:
            print(f"{name}: {text}")
    if not findings.consuming:
        print("the workers do not all consume any more")
    if control is not None:
        verdict = "as it must be" if control.stuck else "so this campaign proves nothing"
        stuck = f"{len(control.stuck)} of {control.runs} runs stuck"
        print(f"control without protection: {stuck}, {verdict}")


def _say(text: str) -> None:
    print(f"{time.monotonic() - _BEGAN:6.1f} s  {text}", flush=True)


def _keep(home: Path, report: Path) -> None:
    for log in home.glob("*/*.log"):
        target = report / f"{log.parent.name}-{log.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(log.read_bytes())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--freeze", type=float, default=30.0, help="seconds of a stopped server")
    parser.add_argument("--only", nargs="*", default=[], help="families, such as F1 F7")
    parser.add_argument("--inner", type=float, default=0.0, help="share of flows of flows")
    parser.add_argument("--report", type=Path, default=Path("build/faults"), help="a directory")
    parser.add_argument("--no-control", action="store_true", help="leave the control out")
    parser.add_argument("--keep", action="store_true", help="keep logs beside the report")
    return parser


if __name__ == "__main__":
    sys.exit(main())
