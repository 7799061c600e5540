"""The directory of agents: who is there, and who was."""

from typing import Any

import pytest
import redis

from flowcore.agents.agent import Skill, agent
from flowcore.stores.redis.agents import RedisDirectory

pytestmark = [pytest.mark.integration]


@agent("echo", skills=[Skill(id="say", tags=("text",))], tags=["all"])
def echo(text: str) -> str:
    """Say it again."""
    return text


CARD: dict[str, Any] = echo.card(queue="a2a.echo")


def test_each_instance_has_a_note_until_it_leaves(redis_client: "redis.Redis") -> None:
    directory = RedisDirectory(redis_client)
    for instance in ("one", "two"):
        directory.post(CARD, instance=instance, keep=60)
        directory.post(CARD, instance=instance, keep=60)
    assert [(note.card, note.instance, note.alive) for note in directory.agents()] == [
        (CARD, "one", True),
        (CARD, "two", True),
    ]
    directory.leave("echo", "one")
    assert [note.instance for note in directory.agents()] == ["two"]


def test_who_does_not_renew_is_dead_and_then_forgotten(redis_client: "redis.Redis") -> None:
    directory = RedisDirectory(redis_client)
    directory.post(CARD, instance="late", keep=-1.0)
    (note,) = directory.agents()
    assert not note.alive
    directory.post(CARD, instance="late", keep=-10_000.0)
    assert directory.agents() == []
    assert redis_client.hlen("fc:a2a:cards") == 0


def test_projects_on_one_server_do_not_see_each_other(redis_client: "redis.Redis") -> None:
    RedisDirectory(redis_client, namespace="shop").post(CARD, instance="one", keep=60)
    assert RedisDirectory(redis_client).agents() == []
    assert len(RedisDirectory(redis_client, namespace="shop").agents()) == 1
