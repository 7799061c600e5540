"""What people type: commands, options, flows, inputs. No server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flowcore.cli.arguments import read_flow, seconds
from flowcore.cli.inputs import parse_input
from flowcore.cli.main import ALIASES, COMMANDS, main
from flowcore.errors import DefinitionError, UsageError

NAMES = [name for name, _, _ in COMMANDS] + list(ALIASES)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_loaded_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"flowcore {name}" in shown
    assert "--help" in shown


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "flowcore 0.1.0\n"


def test_help_lists_every_command_but_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    probe = (
        "import sys; from flowcore.cli.main import main; main(['run', '--help']); main(['--help']);"
        "print(sorted({'celery', 'rich', 'redis', 'pydantic'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    for name, _, text in COMMANDS:
        assert f"  {name}" in run.stdout
        assert text in run.stdout
    assert run.stdout.endswith("[]\n")


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert "'run'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["run", "x.yaml", "--bogus"],
        ["status"],
        ["dev", "nowhere"],
        ["worker", "-Q", " ,"],
        [],
    ],
)
def test_bad_usage_is_exit_code_2(words: list[str]) -> None:
    assert main(words) == 2


def test_completion_knows_the_commands_and_their_options() -> None:
    for line, wanted in (("flowcore ins", "inspect"), ("flowcore run --conc", "--concurrency")):
        run = subprocess.run(
            [sys.executable, "-c", "from flowcore.cli.main import main; main()"],
            env={
                "_FLOWCORE_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split()) - 1),
                "PATH": "/bin",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert wanted in run.stdout, run.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (['{"a": 1}'], {"a": 1}),
        (["[1, 2]"], [1, 2]),
        (
            ["n=1", "t=text", 'o={"x": null}', "e="],
            {"n": 1, "t": "text", "o": {"x": None}, "e": ""},
        ),
        (['{"a": 1, "b": 2}', "a=3"], {"a": 3, "b": 2}),
        (["q=a=b"], {"q": "a=b"}),
        (["n=NaN"], {"n": "NaN"}),
        (['"k=v"'], "k=v"),
    ],
)
def test_inputs_are_json_or_pairs(words: list[str], expected: Any) -> None:
    assert parse_input(words) == expected


_DECLARED = {
    "text": {"type": "string"},
    "long": {"type": "string", "minLength": 10},
    "maybe": {"type": ["string", "null"]},
    "either": {"type": ["string", "number"]},
    "word": {"enum": ["1.10", "2"]},
    "any_of": {"anyOf": [{"type": "string"}, {"type": "boolean"}]},
    "count": {"type": "integer"},
    "free": True,
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("text=1.10", "1.10"),
        ("text=123", "123"),
        ("text=true", "true"),
        ("text=null", "null"),
        ("text=1e5", "1e5"),
        ("text=[1]", "[1]"),
        ('text={"a": 1}', '{"a": 1}'),
        ("text=123456789012345678901234567890", "123456789012345678901234567890"),
        ('text="quoted"', "quoted"),
        ("text=02134", "02134"),
        ("long=1.10", "1.10"),
        ("maybe=null", None),
        ("maybe=1.10", "1.10"),
        ("either=1.10", 1.1),
        ("word=1.10", "1.10"),
        ("any_of=1.10", "1.10"),
        ("any_of=true", True),
        ("count=3", 3),
        ("count=3.5", 3.5),
        ("free=1.10", 1.1),
        ("undeclared=1.10", 1.1),
    ],
)
def test_an_input_that_is_declared_as_text_is_what_was_typed(word: str, expected: Any) -> None:
    value = parse_input([word], _DECLARED)[word.partition("=")[0]]
    assert value == expected
    assert type(value) is type(expected)


def test_json_that_was_given_whole_keeps_its_types() -> None:
    assert parse_input(['{"text": 1.10}'], _DECLARED) == {"text": 1.1}


def test_an_input_may_stand_in_a_file(project: Path) -> None:
    (project / "in.json").write_text('{"a": [1]}')
    assert parse_input(["@in.json", "b=2"]) == {"a": [1], "b": 2}


@pytest.mark.parametrize("word", ["{bad", "@missing.json", "NaN", "1e999", "just text"])
def test_a_bad_input_says_how_to_write_it(word: str, project: Path) -> None:
    with pytest.raises(UsageError, match=r"-i|cannot read"):
        parse_input([word])


def test_several_inputs_have_to_be_maps() -> None:
    with pytest.raises(UsageError, match="merged by name"):
        parse_input(["[1]", "a=1"])


def test_a_closed_stdin_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="stdin is closed"):
        parse_input(["@-"])


def test_durations_are_read_or_refused() -> None:
    assert seconds(None) is None
    assert seconds("1m30s") == 90
    with pytest.raises(UsageError):
        seconds("soon")


def test_a_flow_may_be_a_file(project: Path) -> None:
    (project / "f.yaml").write_text("id: f\nnodes: {a: {uses: start}}\n")
    given = read_flow("f.yaml")
    assert given.plan().flow == "f"
    assert given.paths == (project,)
    assert sys.path[0] == str(project)


def test_a_flow_may_be_an_object_of_a_script_or_of_a_module(project: Path) -> None:
    script = (
        "from flowcore import Flow, node\n@node\ndef one(): return 1\n"
        "with Flow('made') as flow:\n    one.step()\nother = 1\n"
    )
    (project / "made_here.py").write_text(script)
    assert read_flow("made_here.py:flow").plan().policies[0].uses == "made_here:one"
    assert read_flow("made_here:flow").plan().flow == "made"
    for wrong, why in (
        ("made_here:other", "names a int"),
        ("made_here:nothing", "names nothing"),
        ("gone.py:flow", "no file"),
        ("no_such_module_here:flow", "no module"),
    ):
        with pytest.raises(UsageError, match=why):
            read_flow(wrong)


def test_a_script_with_one_flow_needs_no_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = "from flowcore import Flow\n"
    one = "flow = Flow('made')\nflow.add('a', 'start')\nsame = flow\n"
    (project / "one_here.py").write_text(begin + one)
    (project / "two_here.py").write_text(begin + one + "other = Flow('x')\n")
    (project / "none_here.py").write_text(begin)
    assert read_flow("one_here.py").plan().flow == "made"
    assert read_flow(str(project / "one_here.py")).plan().flow == "made"
    assert main(["validate", "one_here.py"]) == 0
    with pytest.raises(UsageError, match=r"2 Flow objects \(flow, other\).*two_here.py:flow"):
        read_flow("two_here.py")
    with pytest.raises(UsageError, match="no Flow object"):
        read_flow("none_here.py")
    for wrong in ("gone.py", "x" * 300 + ".py", "not-a-name.py"):
        with pytest.raises(UsageError):
            read_flow(wrong)


def test_a_module_that_raises_is_the_users_to_see(project: Path) -> None:
    (project / "broken_here.py").write_text("x = 1 / 0\n")
    with pytest.raises(UsageError, match=r"ZeroDivisionError.*line 1"):
        read_flow("broken_here:flow")


def test_a_syntax_error_is_shown_where_it_is(project: Path) -> None:
    (project / "typo_here.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(UsageError, match=r"SyntaxError.*typo_here.py, line 2"):
        read_flow("typo_here:flow")


def test_what_a_module_prints_while_it_is_imported_is_no_data(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "chatty_here.py").write_text("print('hello')\ndef f(): return 1\n")
    (project / "f.yaml").write_text('nodes: {a: {uses: "chatty_here:f"}}\n')
    assert main(["validate", "f.yaml", "-o", "json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["valid"]
    assert "hello" in shown.err


def test_a_link_to_itself_is_a_file_that_cannot_be_read(project: Path) -> None:
    (project / "loop.yaml").symlink_to("loop.yaml")
    with pytest.raises(DefinitionError, match="cannot read the file"):
        read_flow("loop.yaml")
    (project / "loop.py").symlink_to("loop.py")
    with pytest.raises(UsageError, match="no file"):
        read_flow("loop.py:flow")


def test_a_missing_file_is_a_definition_error_with_a_suggestion(project: Path) -> None:
    (project / "flow.yaml").write_text("")
    with pytest.raises(DefinitionError, match=r"did you mean 'flow.yaml'"):
        read_flow("flwo.yaml")


def test_validate_shows_every_problem_and_gives_them_as_data(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "good.yaml").write_text("nodes: {a: {uses: start}}\n")
    (project / "bad.yaml").write_text("nodes:\n  a: {uses: start, needs: [b]}\n  c: {use: start}\n")
    assert main(["validate", "good.yaml"]) == 0
    assert capsys.readouterr().out == "good.yaml: ok (1 node)\n"
    assert main(["validate", "good.yaml", "bad.yaml", "-o", "json"]) == 2
    good, bad = json.loads(capsys.readouterr().out)
    assert good["valid"]
    assert [problem["line"] for problem in bad["problems"]] == [2, 3, 3]
    assert all(problem["code"].startswith("FC2") for problem in bad["problems"])
    assert main(["validate", "bad.yaml"]) == 2
    assert "bad.yaml:2:" in capsys.readouterr().out


def test_what_is_not_imported_is_not_checked(project: Path) -> None:
    (project / "f.yaml").write_text("nodes: {a: {uses: 'no_such_module_here:f'}}\n")
    assert main(["validate", "f.yaml"]) == 2
    assert main(["validate", "f.yaml", "--no-resolve"]) == 0


@pytest.mark.parametrize(
    ("form", "mark"),
    [
        ("ascii", "| a |"),
        ("mermaid", "flowchart"),
        ("dot", "digraph"),
        ("svg", "<svg"),
        ("canvas", "chain("),
    ],
)
def test_a_flow_is_drawn_in_every_form(
    form: str, mark: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "f.yaml").write_text("nodes: {a: {uses: start}, b: {uses: end, needs: [a]}}\n")
    assert main(["graph", "f.yaml", "-f", form]) == 0
    assert mark in capsys.readouterr().out
    assert main(["graph", "f.yaml", "-f", form, "-O", "picture"]) == 0
    assert mark in (project / "picture").read_text()


def test_a_file_that_cannot_be_written_is_a_sentence(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "-O", "no/such/place.json"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "nodes" in json.loads(capsys.readouterr().out)["properties"]


def test_backends_lists_planned_ones_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends", "-o", "json"]) == 0
    found = {row["name"]: row["status"] for row in json.loads(capsys.readouterr().out)}
    assert found["native"] == "stable"
    assert {"langgraph", "crewai", "a2a"} <= set(found)


def test_a_node_type_is_explained_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "approval", "-o", "jsonl"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["type"], told["status"]) == ("approval", "there")
    assert "on_reject" in told["does"]


def test_wfformat_is_imported_as_yaml(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = {"name": "t", "id": "t1", "parents": [], "children": [], "runtimeInSeconds": 5}
    document = {"name": "w", "schemaVersion": "1.4", "workflow": {"tasks": [task]}}
    (project / "trace.json").write_text(json.dumps(document))
    words = ["import", "wfformat", "trace.json", "--critical-path", "2s", "-O", "flow.yaml"]
    assert main([*words, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"flow": "w", "nodes": 1, "file": "flow.yaml"}
    assert read_flow("flow.yaml").plan().params[0]["seconds"] == 2
    assert main(["import", "wfformat", "trace.json", "-o", "jsonl"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["id"] == "w"
    assert main(["import", "wfformat", "gone.json"]) == 2
