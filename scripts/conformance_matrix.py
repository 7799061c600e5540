"""Run the conformance suite on every backend there is; write what came of it.

``python scripts/conformance_matrix.py`` writes ``flowcore/backends/conformance.json``, from which
``BackendRegistry.get_info`` takes the features of built-in backends, and the matrix in
``docs/reference/backends.md``. A test holds both against the suite.
"""

import json
import sys
from pathlib import Path

from flowcore.backends import BackendRegistry
from flowcore.testing.conformance import Outcome, Report, run

ROOT = Path(__file__).parents[1]
DATA = ROOT / "flowcore/backends/conformance.json"
PAGE = ROOT / "docs/reference/backends.md"
BEGIN, END = "<!-- begin: conformance_matrix.py -->", "<!-- end -->"
MARKS = {Outcome.PASSED: "✅", Outcome.FAILED: "❌ failed", Outcome.UNSUPPORTED: "not supported"}


def tables(reports: dict[str, Report]) -> str:
    """Draw features by backend, then cases by backend."""
    names = list(reports)
    planned = [name for name in BackendRegistry.list_backends(all=True) if name not in names]
    head = "| {} | " + " | ".join([*names, *planned]) + " |"
    rule = "|---|" + "---|" * (len(names) + len(planned))
    rest = ["planned"] * len(planned)
    lines = [head.format("feature"), rule]
    features = {name: report.features() for name, report in reports.items()}
    for feature in features[names[0]]:
        cells = [MARKS[features[name][feature]] for name in names] + rest
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    lines += ["", head.format("case"), rule]
    for at, one in enumerate(reports[names[0]].results):
        cells = [MARKS[reports[name].results[at].outcome] for name in names] + rest
        lines.append(f"| {one.case} ({one.capability}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run, write, and say what failed."""
    reports = {name: run(name) for name in BackendRegistry.list_backends()}
    data = {
        name: {
            "features": {key: value.value for key, value in report.features().items()},
            "cases": {one.case: one.outcome.value for one in report.results},
        }
        for name, report in reports.items()
    }
    DATA.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{tables(reports)}\n{END}{after}", encoding="utf-8")
    for report in reports.values():
        print(report)
    return 0 if all(report.passed for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
