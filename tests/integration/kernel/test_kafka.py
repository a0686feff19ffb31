"""Clients of a real broker leave nothing behind, however they end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from lms.cli.home import any_free_port
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare, end, ends_of


@pytest.fixture(autouse=True)
async def nothing_runs_afterwards() -> AsyncIterator[None]:
    """Wait until no task is left that the test did not find."""
    before = asyncio.all_tasks()
    yield
    async with asyncio.timeout(30):
        while others := {one for one in asyncio.all_tasks() - before if one is not asyncio.current_task()}:
            await asyncio.wait(others, timeout=0.1)


@pytest.mark.parametrize("group", [None, "lms.test.leaving"])
async def test_connections_are_closed_although_a_fetch_is_cancelled_before_it_began(
    kafka_bootstrap: str, group: str | None
) -> None:
    topic = f"test.ending.{new_id()}"
    await declare(kafka_bootstrap, [Topic(topic, partitions=1)])
    client = AIOKafkaConsumer(topic, bootstrap_servers=kafka_bootstrap, group_id=group)
    await client.start()
    connections = list(client._client._conns.values())
    assert any(one.connected() for one in connections)
    client._fetcher._pending_tasks.add(asyncio.get_running_loop().create_task(asyncio.Event().wait()))
    await end(client)
    assert not any(one.connected() for one in connections)


async def test_connections_are_closed_when_the_loop_ends_before_the_client(kafka_bootstrap: str) -> None:
    client = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap)
    await client.start()
    connections = list(client._client._conns.values())
    stopping = asyncio.Event()

    async def hang() -> None:
        stopping.set()
        await asyncio.Event().wait()

    client._fetcher.close, close_fetcher = hang, client._fetcher.close
    before = asyncio.all_tasks()
    ending = asyncio.create_task(end(client))
    await stopping.wait()
    for task in asyncio.all_tasks() - before - {ending}:
        task.cancel()
    await ending
    await close_fetcher()
    assert not any(one.connected() for one in connections)


async def test_connections_are_closed_when_a_client_is_given_up_while_it_asks_who_is_in_the_cluster(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AIOKafkaConnection] = []
    asking, given_up = asyncio.Event(), asyncio.Event()
    send = AIOKafkaConnection.send

    async def send_later(connection: AIOKafkaConnection, request: Any, *more: Any, **others: Any) -> Any:
        opened.append(connection)
        if isinstance(request, MetadataRequest):
            asking.set()
            await given_up.wait()
        return await send(connection, request, *more, **others)

    monkeypatch.setattr(AIOKafkaConnection, "send", send_later)
    looking = asyncio.create_task(ends_of(kafka_bootstrap, []))
    await asking.wait()
    looking.cancel()
    asyncio.get_running_loop().call_later(0.05, given_up.set)
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert opened
    assert not any(one.connected() for one in opened)


async def test_a_producer_that_finds_no_broker_leaves_nothing_behind() -> None:
    producer = Producer(f"127.0.0.1:{any_free_port()}", client_id="test")
    with pytest.raises(KafkaConnectionError):
        await producer.send_all([Message("test.nowhere", "key", "value", {})])
    await producer.stop()
