"""Which forms of REDIS_URL there are."""

import pytest
from redis.asyncio.sentinel import SentinelConnectionPool

from lms.kernel.cache import connect


def test_one_server_is_connected_to_by_its_address() -> None:
    pool = connect("redis://:secret@cache:6380/3").connection_pool
    assert {name: pool.connection_kwargs[name] for name in ("host", "port", "db", "password")} == {
        "host": "cache", "port": 6380, "db": 3, "password": "secret",
    }  # fmt: skip


def test_a_group_is_connected_to_through_its_sentinels() -> None:
    pool = connect("redis+sentinel://:s%40cret@a:26379,b:26380/lms/2").connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "lms"
    assert [
        (one.connection_pool.connection_kwargs["host"], one.connection_pool.connection_kwargs["port"])
        for one in pool.sentinel_manager.sentinels
    ] == [("a", 26379), ("b", 26380)]
    assert (pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == ("s@cret", 2)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://a:26379", "redis+sentinel://a/lms/0", "redis+sentinel://a:26379/lms/x"]
)
def test_another_form_is_refused_with_the_right_ones(url: str) -> None:
    with pytest.raises(ValueError, match=r"write redis://"):
        connect(url)
