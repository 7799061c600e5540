"""The ten flows of examples/gallery, each on real workers and real data."""

import csv
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flowcore import ExecutionResult, Flow, Run, Schedules
from flowcore.run.event import EventType
from flowcore.run.status import NodeState
from tests.engine import PATIENCE, Engine, poll, running_engine
from tests.services import running_valkey

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "examples" / "gallery"


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """Serve pages on the loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class Model(BaseHTTPRequestHandler):
    """A scripted model: says which files it was shown."""

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(size))
        shown = asked["messages"][-1]["content"]
        words = (
            f"Asked {shown.rpartition('Question: ')[2]} with {shown.count('[')} passages".split()
        )
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]} for word in words
        ]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        text = "".join(f"data: {json.dumps({**head, **chunk})}\n\n" for chunk in chunks)
        body = f"{text}data: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose workers find the gallery, may reach the loopback, and have a model there."""
    home = tmp_path_factory.mktemp("gallery")
    with (
        serving(Model) as model,
        running_valkey() as url,
        running_engine(url, home, http_allow="127.0.0.1", heartbeat="0.25") as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYTHONPATH", str(GALLERY))
        patch.setenv("OPENAI_BASE_URL", f"{model}/v1")
        patch.setenv("OPENAI_API_KEY", "none")
        engine.workers()
        yield engine


def _run(engine: Engine, name: str, **given: Any) -> ExecutionResult:
    flow = Flow.load(GALLERY / f"{name}.yaml")
    return flow.run(given, session=engine.session, timeout=PATIENCE)


def test_etl_loads_every_good_line_once_however_often_it_runs(
    engine: Engine, tmp_path: Path
) -> None:
    folder, database = tmp_path / "sales", tmp_path / "sales.db"
    folder.mkdir()
    wanted = dict.fromkeys(("north", "south"), 0.0)
    for number in range(9):
        with (folder / f"day{number}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["day", "shop", "product", "amount"])
            for line in range(20):
                shop = "north" if line % 2 else "south"
                rows.writerow([number, shop, "tea", line + number])
                wanted[shop] += line + number
            rows.writerow([number, "north", "tea", "much"])
    for _ in range(2):
        result = _run(engine, "etl", folder=str(folder), database=str(database))
        assert result.error is None
        assert result.output == {"rows": 180, "bad": 9, "by_shop": wanted}
    empty = _run(engine, "etl", folder=str(tmp_path), database=str(database))
    assert "there is no CSV file" in str(empty.error)


def test_links_finds_the_broken_links_of_a_site_it_is_served(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(
        '<a href="a.html">a</a> <a href="gone.html">gone</a> <img src="no.png"> <a href="#x">x</a>'
    )
    (tmp_path / "a.html").write_text('<a href="index.html">home</a> <a href="gone.html">too</a>')
    with serving(partial(Quiet, directory=str(tmp_path))) as site:
        result = _run(engine, "links", site=f"{site}/")
        assert result.error is None
        broken = {one["url"].removeprefix(site): one for one in result.output["broken"]}
        assert result.output["checked"] == 5
        assert {url: one["status"] for url, one in broken.items()} == {
            "/gone.html": 404,
            "/no.png": 404,
        }
        named = {page.removeprefix(site) for page in broken["/gone.html"]["on"]}
        assert {"/", "/a.html"} <= named


def test_thumbnails_are_made_of_all_pictures_but_the_damaged_ones(
    engine: Engine, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, size in enumerate([(400, 200), (50, 300), (20, 20)]):
        Image.new("RGB", size, (number * 90, 0, 0)).save(folder / f"p{number}.png")
    (folder / "damaged.jpg").write_bytes(b"no picture")
    result = _run(engine, "thumbnails", folder=str(folder), out=str(out), size=100)
    assert result.error is None
    assert (result.output["pictures"], result.output["damaged"]) == (3, 1)
    made = [one for one in result.outputs["shrink"] if one]
    sizes = []
    for one in made:
        with Image.open(one["to"]) as picture:
            sizes.append(picture.size)
    assert sizes == [(100, 50), (17, 100), (20, 20)]
    assert Path(result.output["page"]).read_text().count("<img") == 3


def test_search_ranks_the_documents_of_this_project(engine: Engine) -> None:
    result = _run(engine, "search", folder=str(ROOT / "docs"), query="circuit breaker bulkhead")
    assert result.error is None
    assert Path(result.output[0]["file"]).name in {"resilience.md", "0017-resilience.md"}
    scores = [one["score"] for one in result.output]
    assert scores == sorted(scores, reverse=True)
    assert len(result.outputs["index"]) == len(result.outputs["shards"]) > 1


def test_pi_throws_darts_until_it_is_exact_enough(engine: Engine) -> None:
    result = _run(engine, "pi", error=0.02, seed=7)
    assert result.error is None
    assert result.output["error"] < 0.02
    assert abs(result.output["pi"] - math.pi) < 0.05
    assert result.output["darts"] == 2000 * (2 ** result.output["round"] - 1)
    assert result.output["round"] > 2


def test_expenses_are_paid_by_rule_or_by_somebody(engine: Engine, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    small = _run(engine, "expenses", who="ada", amount=40, ledger=str(ledger))
    assert small.outputs["pay"] == {"paid": 40, "to": "ada", "by": "rule"}
    flow = Flow.load(GALLERY / "expenses.yaml")

    def large() -> Run:
        given = {"who": "ada", "amount": 900, "ledger": str(ledger)}
        run = flow.enqueue(given, session=engine.session)
        poll(lambda: run.record().nodes["ask"].state is NodeState.WAITING, what="the question")
        return run

    yes, no = large(), large()
    yes.approve(by="boss")
    assert yes.wait(PATIENCE).outputs["pay_large"] == {"paid": 900, "to": "ada", "by": "boss"}
    no.reject()
    assert no.wait(PATIENCE).outputs["refuse"] == {"refused": 900, "to": "ada"}
    assert len(ledger.read_text().splitlines()) == 3


def test_a_booking_stands_or_is_undone(engine: Engine, tmp_path: Path) -> None:
    book = tmp_path / "book.json"
    good = _run(engine, "booking", traveller="ada", book=str(book))
    assert good.error is None
    kept = json.loads(book.read_text())
    assert sorted(kept["reserved"]) == ["ada-car", "ada-flight", "ada-hotel"]
    assert kept["told"][-1] == "trip of ada: succeeded"
    bad = _run(engine, "booking", traveller="bob", book=str(book), full="car")
    assert bad.error == "node 'car': LookupError: no car is left"
    kept = json.loads(book.read_text())
    assert sorted(kept["reserved"]) == ["ada-car", "ada-flight", "ada-hotel"]
    assert kept["told"][4:] == [
        *("reserved flight", "reserved hotel", "released hotel", "released flight"),
        *("sorry, bob: no car is left", "trip of bob: failed"),
    ]


def test_rag_answers_from_the_nearest_passages_token_by_token(engine: Engine) -> None:
    flow = Flow.load(GALLERY / "rag.yaml")
    given = {"folder": str(ROOT / "docs"), "question": "How does a circuit breaker open and close?"}
    handle = flow.enqueue(given, session=engine.session)
    result = handle.wait(PATIENCE)
    assert result.error is None
    assert result.output["answer"].startswith("Asked How does a circuit breaker open and close?")
    assert "resilience.md" in " ".join(result.output["files"])
    tokens = [event for event in handle.events() if event.type is EventType.NODE_TOKEN]
    assert len(tokens) > 5


def test_backup_runs_on_its_schedule_and_keeps_the_last_copies(
    engine: Engine, tmp_path: Path
) -> None:
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    flow = Flow.load(GALLERY / "backup.yaml")
    flow.deploy(session=engine.session)
    schedules = Schedules(session=engine.session)
    given = {"folder": str(folder), "out": str(out), "at": "${{ scheduled_for }}", "keep": 2}
    schedules.put("nightly", "backup", cron="30 2 * * *", zone="Europe/Berlin", input=given)
    try:
        results = [schedules.run_now("nightly").wait(PATIENCE) for _ in range(3)]
        assert [result.error for result in results] == [None] * 3
        assert results[-1].output["removed"] == 1
    finally:
        schedules.remove("nightly")
    assert len(list(out.glob("data-*.tar.gz"))) == 2
    missing = _run(engine, "backup", folder=str(tmp_path / "none"), out=str(out))
    assert "NotADirectoryError" in str(missing.error)


def test_reuse_runs_the_same_part_on_both_inputs(engine: Engine) -> None:
    result = _run(engine, "reuse", left="To be, or not to be", right="to be! be")
    assert result.error is None
    assert result.output == {"to": 1, "be": 2}
