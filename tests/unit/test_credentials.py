"""What looks like a credential is masked where people look, and warned of; references are not."""

from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.server_urls import redacted
from flowcore.assembly.settings import Settings, SettingsError
from flowcore.check.warnings import find_warnings
from flowcore.cli.main import main
from flowcore.graph.load import load_text
from flowcore.nodes.credentials import find_credentials, mask_text, masked
from flowcore.testing.flows import Flows

PASSWORD = "pw-Canary-42"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://u:{PASSWORD}@h/x?a=1", "https://u:***@h/x?a=1"),
        (f"https://{PASSWORD}@h/", "https://***@h/"),
        (f"redis://:{PASSWORD}@h:6379/0", "redis://:***@h:6379/0"),
        (f"https://h/?api_key={PASSWORD}&b=2", "https://h/?api_key=***&b=2"),
        (
            f"https://h/?b=2&X-Amz-Signature={PASSWORD}#top",
            "https://h/?b=2&X-Amz-Signature=***#top",
        ),
        (f"https://h/?key={PASSWORD * 2}", "https://h/?key=***"),
        (f"Bearer {PASSWORD}", "Bearer ***"),
        (f"it sent basic {PASSWORD}==", "it sent basic ***"),
        ("sk-proj-" + "a1B2" * 8, "***"),
        (
            f"https://hooks.slack.com/services/T0/B0/{PASSWORD}",
            "https://hooks.slack.com/services/***",
        ),
        (
            f"https://u:{PASSWORD}@hooks.slack.com/services/T0/B0/xyz",
            "https://u:***@hooks.slack.com/services/***",
        ),
        (
            f"https://discord.com/api/webhooks/12/{PASSWORD}?wait=1",
            "https://discord.com/api/webhooks/***?wait=1",
        ),
        (
            f"https://canary.discordapp.com/api/v10/webhooks/12/{PASSWORD}",
            "https://canary.discordapp.com/api/v10/webhooks/***",
        ),
        (f"https://api.telegram.org/bot12:{PASSWORD}/send", "https://api.telegram.org/***"),
        (
            f"https://acme.webhook.office.com/webhookb2/{PASSWORD}/x",
            "https://acme.webhook.office.com/webhookb2/***",
        ),
        ("ghp_" + "a1B2" * 9, "***"),
        ("AKIAABCDEFGHIJKLMNOP", "***"),
    ],
)
def test_a_credential_in_a_text_is_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown
    assert mask_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/path?page=2&next_page_token=abc&sort=key",
        "https://u:${{ secrets.P }}@h/?token=${{ secrets.T }}",
        "https://${{ secrets.P }}@h/",
        "https://hooks.slack.com/services/${{ secrets.HOOK }}",
        "https://slack.com/api/chat.postMessage",
        "https://discord.com/channels/12/34567890",
        "Bearer ${{ secrets.T }}",
        "write to ann@example.org: a = b; the token is lost",
        "x == 'a' && y != 'key=b'",
        "https://h/?key=name",
    ],
)
def test_a_text_without_one_stays(text: str) -> None:
    assert mask_text(text) == text


def test_names_say_what_is_one() -> None:
    given: dict[str, Any] = {
        "headers": {"Authorization": "x", "X-Api-Key": "x", "Cookie": "x", "Accept": "json"},
        "json": [{"client_secret": "x", "accessToken": "x", "name": "x"}],
        "api_key": "${{ secrets.KEY }}",
        "max_tokens": 5,
        "password": "",
    }
    assert masked(given) == {
        "headers": {"Authorization": "***", "X-Api-Key": "***", "Cookie": "***", "Accept": "json"},
        "json": [{"client_secret": "***", "accessToken": "***", "name": "x"}],
        "api_key": "${{ secrets.KEY }}",
        "max_tokens": 5,
        "password": "",
    }
    assert list(find_credentials(given)) == [
        ("headers", "Authorization"),
        ("headers", "X-Api-Key"),
        ("headers", "Cookie"),
        ("json", 0, "client_secret"),
        ("json", 0, "accessToken"),
    ]


FLOW = f"""\
config: {{llm: {{model: m, api_key: {PASSWORD}}}}}
nodes:
  a:
    uses: http
    with:
      url: https://u:{PASSWORD}@example.org/
      headers: {{X: "${{{{ secrets.X }}}}"}}
  b:
    uses: parallel
    branches: {{c: {{uses: end, with: {{token: {PASSWORD}}}}}}}
  d:
    uses: workflow
    flow: {{nodes: {{e: {{uses: end, with: {{password: {PASSWORD}}}}}}}}}
"""


def test_every_place_of_a_definition_is_warned_of() -> None:
    found = find_warnings(load_text(FLOW, name="x.yaml"))
    assert [".".join(map(str, one.path)) for one in found] == [
        "config.llm.api_key",
        "nodes.a.with.url",
        "nodes.b.branches.c.with.token",
        "nodes.d.flow.nodes.e.with.password",
    ]
    assert {one.code for one in found} == {"FC262"}


def test_validate_warns_and_is_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    assert main(["validate", str(path)]) == 0
    told = capsys.readouterr().out
    assert f"{path}:6:12: warning FC262: this looks like a credential" in told
    assert told.endswith("flow.yaml: ok (3 nodes)\n")


def test_an_error_with_a_url_is_recorded_without_its_password(flows: Flows) -> None:
    flows.fail("a", ValueError(f"cannot reach postgres://u:{PASSWORD}@db/x"))
    result = flows.run({"nodes": {"a": {"uses": "end"}}})
    assert "cannot reach postgres://u:***@db/x" in (result.error or "")
    assert PASSWORD not in repr(flows.record(result.run_id))


def test_a_url_that_http_refuses_is_shown_without_its_password(flows: Flows) -> None:
    node = {"uses": "http", "with": {"url": "${{ inputs.url }}"}}
    result = flows.run({"nodes": {"a": node}}, {"url": f"ftp://u:{PASSWORD}@h/"})
    assert PASSWORD not in (result.error or "")


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{PASSWORD}@h:1",
        f"redis://u:{PASSWORD}@h:port/0",
        f"redis://u:pw/{PASSWORD}@h/0",
        f"redis://u:pw@{PASSWORD}@h:x/0",
        f"redis:/:{PASSWORD}@h/0",
        f"redis//:{PASSWORD}@h/0",
        f":{PASSWORD}@h:6379",
        f"{PASSWORD}@h",
        f"redis://h/x?password={PASSWORD}",
        f"sentinel://h/?sentinel_password={PASSWORD}",
        f"redis://:{PASSWORD}@h/0,redis://:{PASSWORD}@h/0",
        f"redis://[::1:{PASSWORD}@h/0",
        f"redis://h:{PASSWORD}@/0",
        f"sentinel://:{PASSWORD}@h:x/name",
        f"amqp://u:{PASSWORD}@h:port//",
    ],
)
def test_a_setting_that_is_refused_never_shows_its_password(url: str) -> None:
    for name in ("FLOWCORE_REDIS_URL", "FLOWCORE_BROKER_URL", "FLOWCORE_PAYLOADS"):
        assert PASSWORD not in redacted(url)
        assert PASSWORD not in _refusal(name, url)


def _refusal(name: str, url: str) -> str:
    """What is said of a bad setting; nothing of a good one."""
    try:
        Settings.from_env({name: url})
    except SettingsError as error:
        return f"{error} {error!r}"
    return ""
