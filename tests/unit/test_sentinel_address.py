"""The one URL that names Sentinels, the primary and its passwords."""

import pytest

from flowcore.assembly.runtime import place
from flowcore.assembly.settings import Settings, SettingsError
from flowcore.stores.redis.connection.sentinel import SentinelAddress, is_sentinel


def test_a_short_url_has_defaults() -> None:
    assert SentinelAddress.parse("sentinel://one/mymaster") == SentinelAddress(
        hosts=(("one", 26379),), name="mymaster"
    )


def test_every_part_is_read() -> None:
    url = "redis+sentinel://ann:p%40ss:x@one:1,[::1]:2,10.0.0.3/my%20name/4"
    read = SentinelAddress.parse(f"{url}?sentinel_username=bob&sentinel_password=s%26t")
    assert read == SentinelAddress(
        hosts=(("one", 1), ("::1", 2), ("10.0.0.3", 26379)),
        name="my name",
        db=4,
        username="ann",
        password="p@ss:x",
        sentinel_username="bob",
        sentinel_password="s&t",
    )
    assert read.login == {"username": "ann", "password": "p@ss:x"}
    assert read.sentinel_login == {"username": "bob", "password": "s&t"}


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("one:26379", "the name of the primary after the hosts"),
        ("one:26379/", "the name of the primary after the hosts"),
        ("/mymaster", "hosts separated by commas"),
        ("one:26379,/mymaster", "hosts separated by commas"),
        ("one:port/mymaster", "hosts separated by commas"),
        ("one:99999/mymaster", "hosts separated by commas"),
        ("one/mymaster/zero", "a database's number after the name"),
        ("one/mymaster?ssl=true", "no option 'ssl'; there are sentinel_password"),
    ],
)
@pytest.mark.parametrize("variable", ["FLOWCORE_REDIS_URL", "FLOWCORE_BROKER_URL"])
def test_a_bad_url_says_what_is_accepted(variable: str, rest: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: f"sentinel://ann:secret@{rest}"})
    assert expected in str(caught.value)
    assert variable in str(caught.value)
    assert "secret" not in str(caught.value)


def test_settings_keep_the_url_as_it_was() -> None:
    url = "sentinel://one,two/mymaster/1"
    settings = Settings.from_env({"FLOWCORE_REDIS_URL": url})
    assert (settings.redis_url, settings.broker_url) == (url, url)
    assert is_sentinel(url)
    assert not is_sentinel("redis://one")


def test_celery_gets_a_url_for_each_sentinel_and_the_name_beside_it() -> None:
    made = place("sentinel://ann:p%40ss@one:1,[::1]:2/mymaster/4?sentinel_password=s")
    assert made.url == "sentinel://ann:p%40ss@one:1/4;sentinel://ann:p%40ss@[::1]:2/4"
    assert made.options["master_name"] == "mymaster"
    assert made.options["sentinel_kwargs"]["password"] == "s"
    assert made.backend_options["master_name"] == "mymaster"
    assert not made.quorum


def test_a_place_of_rabbitmq_has_quorum_queues_and_confirms() -> None:
    made = place("amqp://guest@rabbit//")
    assert made.url == "amqp://guest@rabbit//"
    assert made.quorum
    assert made.options["confirm_publish"] is True


def test_a_socket_is_spelled_as_kombu_does() -> None:
    assert place("unix:///run/valkey.sock").url == "redis+socket:///run/valkey.sock"
    assert place("rediss://cache/1").url == "rediss://cache/1?ssl_cert_reqs=required"
