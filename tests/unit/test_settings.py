"""Settings: defaults, parsing, and errors that name the variable, the value and the remedy."""

import inspect
import re
from pathlib import Path

import pytest

from flowcore.assembly import settings as module
from flowcore.assembly.settings import Settings, SettingsError, data_home, split_urls
from flowcore.errors import FlowcoreError
from flowcore.stores.inmemory.runs.store import InMemoryStore
from flowcore.stores.redis.runs.leases import Leases
from tests.commands.values import SETTINGS

NOTHING = {"HOME": "/home/ann"}


def test_stores_have_the_defaults_of_settings() -> None:
    settings = Settings.from_env(NOTHING)
    leases = Leases()
    assert leases.lease == settings.lease
    assert leases.dispatch == settings.dispatch_lease
    assert leases.retention == settings.retention
    assert leases.max_lost == settings.max_lost
    of_memory = inspect.signature(InMemoryStore).parameters
    for name in ("lease", "dispatch", "retention", "max_lost"):
        assert of_memory[name].default == getattr(leases, name)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env(NOTHING) == Settings(
        redis_url=None,
        broker_url=None,
        home=Path("/home/ann/.local/share/flowcore"),
        queue="flowcore",
        namespace="",
        lease=6.0,
        heartbeat=1.5,
        stalled=15.0,
        dispatch_lease=5.0,
        max_lost=3,
        retention=604_800.0,
        agents=(),
        allowed_modules=(),
        http_allow=(),
        max_event=65_536,
        payloads=None,
        payload_threshold=262_144,
        max_output=None,
        work_first=True,
        secrets=(),
        secret_names=(),
        secrets_dir=None,
        callbacks=(),
        replicas=0,
        unprotected_redis=False,
        capture_print=False,
        log_level="INFO",
    )


def test_every_variable_is_read(tmp_path: Path) -> None:
    read = Settings.from_env(
        {
            "FLOWCORE_REDIS_URL": "rediss://user:secret@cache:6380/1",
            "FLOWCORE_BROKER_URL": "amqp://rabbit//",
            "FLOWCORE_HOME": str(tmp_path),
            "FLOWCORE_QUEUE": "night",
            "FLOWCORE_NAMESPACE": "shop:eu",
            "FLOWCORE_LEASE": "10",
            "FLOWCORE_HEARTBEAT": "5",
            "FLOWCORE_DISPATCH_LEASE": "0.5",
            "FLOWCORE_MAX_LOST": "1",
            "FLOWCORE_RETENTION": "3600",
            "FLOWCORE_ALLOWED_MODULES": "shop.nodes, billing,",
            "FLOWCORE_HTTP_ALLOW": "localhost, 10.0.0.0/8",
            "FLOWCORE_PAYLOADS": "s3://bucket/runs/",
            "FLOWCORE_PAYLOAD_THRESHOLD": "4096",
            "FLOWCORE_MAX_OUTPUT": "1024",
            "FLOWCORE_MAX_EVENT": "512",
            "FLOWCORE_WORK_FIRST": "off",
            "FLOWCORE_SECRET": "the new one of ours, the old one of ours",
            "FLOWCORE_SECRETS": "API_KEY, STRIPE_*",
            "FLOWCORE_SECRETS_DIR": str(tmp_path),
            "FLOWCORE_CALLBACKS": "audit, shop.hooks:Metrics",
            "FLOWCORE_REPLICAS": "1",
            "FLOWCORE_UNPROTECTED_REDIS": "on",
            "FLOWCORE_CAPTURE_PRINT": "on",
            "FLOWCORE_LOG_LEVEL": "debug",
        }
    )
    assert read == Settings(
        redis_url="rediss://user:secret@cache:6380/1",
        broker_url="amqp://rabbit//",
        home=tmp_path,
        queue="night",
        namespace="shop:eu",
        lease=10.0,
        heartbeat=5.0,
        stalled=15.0,
        dispatch_lease=0.5,
        max_lost=1,
        retention=3600.0,
        agents=(),
        allowed_modules=("shop.nodes", "billing"),
        http_allow=("localhost", "10.0.0.0/8"),
        payloads="s3://bucket/runs",
        payload_threshold=4096,
        max_output=1024,
        max_event=512,
        work_first=False,
        secrets=("the new one of ours", "the old one of ours"),
        secret_names=("API_KEY", "STRIPE_*"),
        secrets_dir=tmp_path,
        callbacks=("audit", "shop.hooks:Metrics"),
        replicas=1,
        unprotected_redis=True,
        capture_print=True,
        log_level="DEBUG",
    )


def test_the_broker_is_the_redis_unless_told_otherwise() -> None:
    read = Settings.from_env({**NOTHING, "FLOWCORE_REDIS_URL": "redis://cache"})
    assert read.broker_url == "redis://cache"


def test_several_servers_share_the_runs_and_the_first_is_the_broker() -> None:
    listed = "redis://a:6379/0, rediss://ann:x@b/1 ,unix:///run/c,d.sock,"
    read = Settings.from_env({**NOTHING, "FLOWCORE_REDIS_URL": listed})
    assert read.redis_url is not None
    assert split_urls(read.redis_url) == [
        "redis://a:6379/0",
        "rediss://ann:x@b/1",
        "unix:///run/c,d.sock",
    ]
    assert read.broker_url == "redis://a:6379/0"


def test_a_secret_is_shown_nowhere() -> None:
    kept = Settings.from_env({**NOTHING, "FLOWCORE_SECRET": "correct horse battery"})
    assert kept.secrets == ("correct horse battery",)
    assert "horse" not in repr(kept)
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, "FLOWCORE_SECRET": "correct horse battery,horse"})
    assert "horse" not in str(caught.value)
    assert "FLOWCORE_SECRET='***': expected secrets of at least 16" in str(caught.value)


def test_an_empty_value_counts_as_unset() -> None:
    names = [line.split()[0] for line in (module.__doc__ or "").splitlines() if "FLOWCORE_" in line]
    empty = {name: " " for name in names if name.startswith("FLOWCORE_")}
    assert "FLOWCORE_LEASE" in empty
    assert Settings.from_env({**NOTHING, **empty}) == Settings.from_env(NOTHING)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("FLOWCORE_REDIS_URL", "localhost:6379", "redis://"),
        ("FLOWCORE_REDIS_URL", "amqp://rabbit", "redis://"),
        ("FLOWCORE_REDIS_URL", "redis://", "a host name"),
        ("FLOWCORE_REDIS_URL", "unix://", "a socket's path"),
        ("FLOWCORE_REDIS_URL", "redis://here:99999", "a URL"),
        ("FLOWCORE_REDIS_URL", "redis://here/main", "a database's number"),
        ("FLOWCORE_REDIS_URL", "redis://a,b:6379", "each starting with redis://"),
        ("FLOWCORE_REDIS_URL", "redis://a,redis://a", "each server once"),
        ("FLOWCORE_BROKER_URL", "http://rabbit", "amqp://"),
        ("FLOWCORE_HOME", __file__, "a directory"),
        ("FLOWCORE_HOME", "~no-such-user/x", "a directory"),
        ("FLOWCORE_QUEUE", "a queue", "characters"),
        ("FLOWCORE_NAMESPACE", "{tag}", "characters"),
        ("FLOWCORE_LEASE", "soon", "seconds"),
        ("FLOWCORE_LEASE", "0", "greater than 0"),
        ("FLOWCORE_LEASE", "nan", "greater than 0"),
        ("FLOWCORE_HEARTBEAT", "3.5", "at most half of FLOWCORE_LEASE, here 3 seconds"),
        ("FLOWCORE_DISPATCH_LEASE", "-1", "greater than 0"),
        ("FLOWCORE_MAX_LOST", "0", "at least 1"),
        ("FLOWCORE_MAX_LOST", "2.5", "whole number"),
        ("FLOWCORE_MAX_LOST", "٣", "whole number"),
        ("FLOWCORE_RETENTION", "inf", "greater than 0"),
        ("FLOWCORE_ALLOWED_MODULES", "shop nodes", "dotted module names"),
        ("FLOWCORE_HTTP_ALLOW", "http://localhost", "hosts and networks separated by commas"),
        ("FLOWCORE_HTTP_ALLOW", "10.0.0.0/99", "hosts and networks separated by commas"),
        ("FLOWCORE_PAYLOADS", "disk", "redis, off, file:///path, or a URL for fsspec"),
        ("FLOWCORE_PAYLOADS", "s3://", "redis, off, file:///path, or a URL for fsspec"),
        ("FLOWCORE_PAYLOADS", "file://here", "three slashes"),
        ("FLOWCORE_PAYLOAD_THRESHOLD", "0", "at least 1"),
        ("FLOWCORE_MAX_OUTPUT", "16MiB", "digits only"),
        ("FLOWCORE_LOG_LEVEL", "LOUD", "DEBUG, INFO"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_what_is_accepted(
    name: str, value: str, accepted: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}={value!r}: expected ")
    assert accepted in problem
    assert caught.value.code == "FC602"
    assert isinstance(caught.value, FlowcoreError)


def test_all_bad_values_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, "FLOWCORE_LEASE": "x", "FLOWCORE_MAX_LOST": "y"})
    assert len(caught.value.problems) == 2
    assert all(problem in str(caught.value) for problem in caught.value.problems)


def test_a_password_is_not_shown_in_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, "FLOWCORE_REDIS_URL": "http://ann:secret@cache"})
    assert "secret" not in str(caught.value)


def test_a_short_lease_brings_a_short_heartbeat() -> None:
    assert Settings.from_env({**NOTHING, "FLOWCORE_LEASE": "2"}).heartbeat == 0.5


def test_the_data_home_follows_flowcore_home_then_xdg_then_home(tmp_path: Path) -> None:
    xdg = {**NOTHING, "XDG_DATA_HOME": "/data"}
    assert data_home({**xdg, "FLOWCORE_HOME": str(tmp_path)}) == tmp_path
    assert data_home(xdg) == Path("/data/flowcore")
    assert data_home({**NOTHING, "XDG_DATA_HOME": "relative"}) == data_home(NOTHING)
    assert data_home(NOTHING) == Path("/home/ann/.local/share/flowcore")


def test_every_setting_is_in_the_reference() -> None:
    reference = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
    source = inspect.getsource(module)
    names = set(re.findall(r"FLOWCORE_[A-Z_]+", source))
    assert names
    assert {name for name in names if f"`{name}`" not in reference} == set()


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("FLOWCORE_LEASE", "1e300", "100 years"),
        ("FLOWCORE_LEASE", "5e-324", "from 0.001"),
        ("FLOWCORE_RETENTION", "9" * 400, "100 years"),
        ("FLOWCORE_STALLED", "1_000", "seconds"),
        ("FLOWCORE_MAX_LOST", "9" * 5000, "at most 1,000,000"),
        ("FLOWCORE_MAX_LOST", "1000001", "at most 1,000,000"),
        ("FLOWCORE_MAX_EVENT", "99999999999999999999", "at most 67,108,864"),
        ("FLOWCORE_PAYLOAD_THRESHOLD", "99999999999999999999", "at most 4,294,967,295"),
        ("FLOWCORE_MAX_OUTPUT", "9" * 30, "at most 4,294,967,295"),
        ("FLOWCORE_REPLICAS", "1001", "at most 1,000"),
        ("FLOWCORE_HOME", "/" + "h" * 300, "a directory"),
        ("FLOWCORE_SECRETS_DIR", "/" + "h" * 300, "a directory"),
        *((name, "a\udcff", "UTF-8") for name in SETTINGS),
        *((name, "x" * 40_000, "at most 32,768 characters") for name in SETTINGS),
    ],
)
def test_every_value_is_bounded_and_a_refusal_is_short(
    name: str, value: str, accepted: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, name: value})
    assert accepted in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "url",
    ["redis://[oops", "redis://h/0?foo=1", "redis://:6379x", "amqp://x y/", "redis://h:port/0"],
)
def test_of_a_malformed_url_only_what_can_be_no_password_is_shown(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({**NOTHING, "FLOWCORE_REDIS_URL": url})
    assert url not in str(caught.value)
    assert "***" in str(caught.value)
