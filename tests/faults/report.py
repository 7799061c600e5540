"""The report of a campaign, for people and for machines.

In: findings. Out: one line, ``report.md`` and ``report.json``.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults import recovery
from tests.faults.campaign import Findings
from tests.faults.recovery import percentile

__all__ = ["last_line", "write_report"]


def last_line(findings: Findings) -> str:
    """The campaign in one line."""
    p50, p99 = _percentiles(findings)
    return (
        f"{findings.runs} runs, {len(findings.done)} faults: {len(findings.lost)} lost, "
        f"{len(findings.stuck)} stuck, {len(findings.wrong)} wrong, "
        f"{len(findings.orphans)} orphan keys; recovery p50 {p50:.1f} s, p99 {p99:.1f} s"
    )


def write_report(
    directory: Path, *, seed: int, command: str, findings: Findings, control: Findings | None
) -> Path:
    """Write both files and return the one for people."""
    directory.mkdir(parents=True, exist_ok=True)
    data = {"seed": seed, "campaign": _data(findings), "control": control and _data(control)}
    (directory / "report.json").write_text(json.dumps(data, indent=2) + "\n", "utf-8")
    text = directory / "report.md"
    text.write_text(_text(command, findings, control), "utf-8")
    return text


def _percentiles(findings: Findings) -> tuple[float, float]:
    seconds = [found for found, _ in findings.recoveries]
    return percentile(seconds, 0.5), percentile(seconds, 0.99)


def _data(findings: Findings) -> dict[str, Any]:
    plain = {name: value for name, value in vars(findings).items() if name not in ("done", "blows")}
    faults = [
        {"family": f.family, "title": f.title, "at": f.at, "over": f.over, "proof": f.proof}
        for f in findings.done
    ]
    return {**plain, "clean": findings.clean, "faults": faults}


def _text(command: str, findings: Findings, control: Findings | None) -> str:
    p50, p99 = _percentiles(findings)
    by_fault: dict[str, list[float]] = {}
    for seconds, title in findings.recoveries:
        by_fault.setdefault(title, []).append(seconds)
    counts = Counter(f"{fault.family} {fault.title}" for fault in findings.done)
    rows = [
        f"| {title} | {count} | {len(by_fault.get(title, []))} | "
        f"{percentile(by_fault.get(title, []), 0.5):.1f} | "
        f"{max(by_fault.get(title, []), default=0):.1f} |"
        for title, count in sorted(counts.items())
    ]
    begun = findings.done[0].at if findings.done else 0.0
    lines = [
        "# Campaign of faults",
        "",
        f"`{command}`: {last_line(findings)}",
        "",
        "## Invariants",
        "",
        "| invariant | found |",
        "|---|---|",
        f"| every accepted run exists | {len(findings.lost)} lost |",
        f"| every accepted run is terminal | {len(findings.stuck)} stuck |",
        f"| all is as in a fault-free run, each node recorded once | {len(findings.wrong)} wrong |",
        f"| nothing is left after retention | {len(findings.orphans)} orphan keys |",
        f"| each worker consumes again | {'yes' if findings.consuming else 'NO'} |",
        f"| clients meet no errors but flowcore's own | {len(findings.foreign)} others |",
        f"| each fault has hit | {len(findings.missed)} have not |",
        "",
        f"- {findings.executions} executions, {findings.repeated} of them repeats",
        f"- {findings.sent_again} runs sent again, because a power loss had undone them",
        f"- {findings.unacked} messages of dead workers wait for kombu's visibility timeout",
        f"- {findings.seconds:.0f} s in all",
        "",
        "## Recovery",
        "",
        *(recovery.__doc__ or "").strip().splitlines()[4:],
        "",
        f"{len(findings.recoveries)} nodes hit: p50 {p50:.1f} s, p99 {p99:.1f} s.",
        "",
        "| fault | times | nodes hit | p50 (s) | most (s) |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "## Faults, and how it is known that they hit",
        "",
        *(f"- {f.at - begun:.1f} s, {f.family} {f.title}: {f.proof}" for f in findings.done),
        *(f"- skipped: {text}" for text in findings.skipped),
        *(f"- missed: {text}" for text in findings.missed),
        "",
    ]
    for name in ("lost", "stuck", "wrong", "orphans", "foreign"):
        if found := getattr(findings, name):
            lines += [f"## {name.capitalize()}", "", *(f"- {text}" for text in found), ""]
    if control is not None:
        lines += [
            "## Control: the same without a janitor, and with leases that never run out",
            "",
            f"{control.runs} runs, {len(control.done)} faults: {len(control.stuck)} stuck. "
            + ("It fails, as it must." if control.stuck else "IT DID NOT FAIL: nothing is proven."),
            "",
            *(f"- {f.family} {f.title}: {f.proof}" for f in control.done),
            "",
        ]
    return "\n".join(lines)
