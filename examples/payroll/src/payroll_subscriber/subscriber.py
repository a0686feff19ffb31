"""Reads the topic into the store and writes the files of complete months, until told to stop."""

import asyncio
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from payroll_subscriber import files
from payroll_subscriber.store import Message, Store

BATCH = 500
"""Messages that are taken in one transaction, at most."""


async def run(
    store: Store, folder: Path, *, bootstrap_servers: str, topic: str, once: bool = False, stop: asyncio.Event
) -> None:
    """Follow the topic until `stop` is set, or with `once` until what was there at the start has been read.

    Where it stands is in the store, together with what it has made of it, and not in Kafka. Raises what `Store.apply`
    raises, and KafkaError when the broker cannot be reached at the start.
    """
    deliver(store, folder)
    client = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        # In production add what your broker asks for: security_protocol, sasl_mechanism, sasl_plain_username, …
    )
    await client.start()
    try:
        ends = await client.end_offsets(client.assignment())  # all partitions: it belongs to no group
        offsets = store.begin({one.partition: end for one, end in ends.items()})
        for one in ends:
            client.seek(one, offsets[one.partition])
        while not stop.is_set() and not (once and await _reached(client, ends)):
            fetched = await client.getmany(timeout_ms=500, max_records=BATCH)
            messages = [
                Message(record.partition, record.offset, record.headers, record.value)
                for records in fetched.values()
                for record in records
            ]
            if messages:
                if not store.apply(messages):
                    for one in client.assignment():
                        client.seek(one, 0)
                deliver(store, folder)
    finally:
        await client.stop()


def deliver(store: Store, folder: Path) -> None:
    """Write the files of all months that are complete and have none yet.

    Killed between writing a file and noting it, the next process writes the same bytes again.
    """
    for period in store.undelivered():
        path = files.write(folder, period, store.lines_of(period))
        print(f"{path.name} is written", flush=True)  # noqa: T201  # what a job says
        store.delivered(period)


async def _reached(client: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    for one, end in ends.items():
        if await client.position(one) < end:
            return False
    return True
