"""What a URL says is taken alike by all who read it: redis-py, kombu, Celery."""

from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport import redis

from flowcore.assembly.runtime import build_runtime, place
from flowcore.assembly.settings import Settings, SettingsError
from flowcore.stores.redis.connection.connect import connect


def _store(url: str) -> dict[str, Any]:
    given: dict[str, Any] = connect(url).connection_pool.connection_kwargs
    return given


#: A URL, the database, the password.
GOOD: list[tuple[str, int, str | None]] = [
    ("redis://h", 0, None),
    ("redis://h:1/3", 3, None),
    ("redis://u:p%40ss%23@h:1/3", 3, "p@ss#"),
    ("rediss://:p@h:1/2", 2, "p"),
    ("rediss://h:1/2?ssl_cert_reqs=none", 2, None),
    ("unix:///run/r.sock", 0, None),
    ("unix:///run/r.sock?db=3", 3, None),
]


@pytest.mark.parametrize(("url", "db", "password"), GOOD, ids=[one[0] for one in GOOD])
def test_runs_messages_and_results_go_to_one_database(
    url: str, db: int, password: str | None, tmp_path: Any
) -> None:
    settings = Settings.from_env({"FLOWCORE_REDIS_URL": url, "FLOWCORE_HOME": str(tmp_path)})
    app: Any = build_runtime(settings, url).app
    store = _store(url)
    assert (store.get("db", 0), store.get("password")) == (db, password)
    results = app.backend.connparams
    assert (results["db"], results["password"]) == (db, password)
    with app.connection_for_read() as connection:
        broker = _broker(connection)
    assert (broker["db"], broker.get("password")) == (db, password)


def _broker(connection: Any) -> Any:
    """Where kombu would connect to; a channel that connects to nothing works it out."""
    channel: Any = object.__new__(redis.Channel)
    channel.connection = SimpleNamespace(client=connection, default_port=6379)
    return channel._connparams()


def test_a_certificate_is_looked_at_by_all_unless_the_url_says_otherwise() -> None:
    assert place("rediss://h").url == "rediss://h?ssl_cert_reqs=required"
    assert place("rediss://h?ssl_ca_certs=/ca").url == (
        "rediss://h?ssl_ca_certs=/ca&ssl_cert_reqs=required"
    )
    assert place("rediss://h?ssl_cert_reqs=none").url == "rediss://h?ssl_cert_reqs=none"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h/1?foo=1", "no option 'foo'; with redis:// there is none"),
        ("redis://h?decode_responses=true", "no option 'decode_responses'"),
        ("redis://h?socket_timeout=2", "no option 'socket_timeout'"),
        ("redis://h/0?db=5", "a database's number after the host"),
        ("redis://h/2?db=2", "a database's number after the host"),
        ("redis://h?password=x", "user and password before the host"),
        ("redis://h?ssl_cert_reqs=none", "no option 'ssl_cert_reqs'"),
        ("rediss://h?ssl_cert_reqs=never", "ssl_cert_reqs=required, optional, none"),
        ("rediss://h?ssl=true", "no option 'ssl'"),
        ("unix:///run/r.sock?db=x", "a database's number"),
        ("unix:///run/r.sock?foo", "no option 'foo'"),
        ("redis://h/0#x", "it is written %23"),
    ],
)
@pytest.mark.parametrize("name", ["FLOWCORE_REDIS_URL", "FLOWCORE_BROKER_URL"])
def test_an_option_that_one_of_them_would_drop_is_refused(name: str, url: str, words: str) -> None:
    with pytest.raises(SettingsError, match="expected") as error:
        Settings.from_env({name: url})
    assert words in str(error.value)
