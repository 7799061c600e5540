"""Write down what the campaigns of ``make deep`` came to: docs/deep-campaigns.md.

In: what pytest has written with ``--junitxml`` under FLOWCORE_DEEP=1, and the tests' own text,
which names the sizes (``count(sample, full)``) and the seeds. Out: the page. Not here: campaigns.
"""

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/deep-campaigns.md"

HEAD = """# Deep campaigns

Each campaign has two sizes: a seeded sample in the normal suite, and the full size, which
`make deep` tries. This page is what `make deep` has left of a run (`scripts/deep_report.py`).

Commit `{commit}`, {begun} UTC: {cases} cases, {failed} failed, {skipped} skipped, {seconds:,.0f} s.

*Cases* are those of pytest; *size* is what the test takes from `count(sample, full)`, in the order
of its text: tries within a case, examples, kills, or seconds of an outage. *Seeds* are those of its
random numbers; a name stands for one seed a case.

| campaign | cases | size | seeds | seconds | outcome |
|---|---:|---|---|---:|---|
"""

TAIL = """
The other tests of these files have one size: {others:,} cases, passed.
"""

#: Calls whose argument is a patience, and no size of anything.
_PATIENCE = frozenset({"join", "timeout"})


@dataclass
class Campaign:
    """One test function and all its cases."""

    module: str
    test: str
    seconds: float = 0.0
    outcomes: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The file, seen from the root."""
        return self.module.replace(".", "/") + ".py"

    @property
    def outcome(self) -> str:
        """The outcome of all cases."""
        told = [
            f"{times} of {len(self.outcomes)} {word}"
            for word in ("failed", "skipped")
            if (times := self.outcomes.count(word))
        ]
        return ", ".join(told) or "passed"


def campaigns(reports: list[Path]) -> list[Campaign]:
    """Read reports; of a case that is in two of them, the later report counts."""
    cases: dict[tuple[str, str], ET.Element] = {}
    for report in reports:
        for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  (our own)
            cases[case.get("classname", ""), case.get("name", "")] = case
    found: dict[tuple[str, str], Campaign] = {}
    for (module, name), case in cases.items():
        test = name.partition("[")[0]
        campaign = found.setdefault((module, test), Campaign(module=module, test=test))
        campaign.seconds += float(case.get("time", "0"))
        campaign.outcomes.append(_outcome(case))
    return [found[key] for key in sorted(found)]


def begun(reports: list[Path]) -> str:
    """Tell when the first of the reports was begun."""
    suites = (
        suite
        for report in reports
        for suite in ET.parse(report).getroot().iter("testsuite")  # noqa: S314
    )
    return min(suite.get("timestamp", "") for suite in suites)[:16].replace("T", " ")


def sizes_and_seeds(source: str, test: str) -> tuple[list[str], list[str]]:
    """Find the full sizes and the seeds in a test and in what it names within its module."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    sizes: dict[str, None] = {}
    seeds: dict[str, None] = {}
    for call in _calls(tree, test):
        name = ast.unparse(call.func)
        if name == "count" and len(call.args) == 2:
            sizes[_word(call.args[1], constants)] = None
        elif name in {"random.Random", "Random"} and call.args:
            seeds[_word(call.args[0], constants)] = None
        elif name == "given":
            seeds["Hypothesis"] = None
    return list(sizes), list(seeds)


def page(reports: list[Path], *, commit: str, root: Path = ROOT) -> str:
    """Draw the page."""
    rows, others = [], 0
    found = campaigns(reports)
    for one in found:
        file = root / one.path
        source = file.read_text("utf-8") if file.exists() else ""
        sizes, seeds = sizes_and_seeds(source, one.test)
        if not sizes and one.outcome == "passed":
            others += len(one.outcomes)
            continue
        title = one.test.removeprefix("test_").replace("_", " ")
        cells = (
            f"{title} (`{one.path}`)",
            str(len(one.outcomes)),
            ", ".join(sizes) or "-",
            ", ".join(seeds) or "-",
            f"{one.seconds:.1f}",
            one.outcome,
        )
        rows.append("| " + " | ".join(cells) + " |\n")
    outcomes = [outcome for one in found for outcome in one.outcomes]
    head = HEAD.format(
        commit=commit,
        begun=begun(reports),
        cases=f"{len(outcomes):,}",
        failed=outcomes.count("failed"),
        skipped=outcomes.count("skipped"),
        seconds=sum(one.seconds for one in found),
    )
    return head + "".join(rows) + TAIL.format(others=others)


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _calls(tree: ast.Module, test: str) -> Iterator[ast.Call]:
    """Yield the calls in a test, and in the functions, classes and constants that it names."""
    parts = _parts(tree)
    waiting, seen = [test], {test}
    while waiting:
        for part in parts.get(waiting.pop(0), ()):
            patience: set[ast.AST] = set()
            for node in ast.walk(part):
                if isinstance(node, ast.Call):
                    if isinstance(node.func, ast.Attribute) and node.func.attr in _PATIENCE:
                        patience.update(node.args)
                    if node not in patience:
                        yield node
                name = getattr(node, "id", None) or getattr(node, "arg", None)
                if isinstance(name, str) and name in parts and name not in seen:
                    seen.add(name)
                    waiting.append(name)


def _parts(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Give the statements of a module by the names that they bind."""
    parts: dict[str, list[ast.stmt]] = {}
    for part in tree.body:
        names = [part.name] if isinstance(part, ast.FunctionDef | ast.ClassDef) else []
        if isinstance(part, ast.Assign | ast.AnnAssign):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            names = [
                node.id
                for target in targets
                for node in ast.walk(target)
                if isinstance(node, ast.Name)
            ]
        for name in names:
            parts.setdefault(name, []).append(part)
    return parts


def _word(value: ast.expr, constants: dict[str, ast.expr]) -> str:
    if isinstance(value, ast.Name) and value.id in constants:
        value = constants[value.id]
    if isinstance(value, ast.Constant) and isinstance(value.value, int):
        return f"{value.value:,}"
    return f"`{ast.unparse(value)}`"


def main(argv: list[str] | None = None) -> int:
    """Read the command line; write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("reports", nargs="+", type=Path, help="what --junitxml has written")
    parser.add_argument("--commit", help="the commit that was tried (default: the current one)")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    told = parser.parse_args(argv)
    commit = told.commit or _current_commit()
    told.page.write_text(page(told.reports, commit=commit), encoding="utf-8")
    print(f"wrote {told.page}")
    return 0


def _current_commit() -> str:
    argv = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
