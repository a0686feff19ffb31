"""A consumer that is slow has bounded memory and tells how far it is behind."""

from datetime import UTC, datetime

import psutil
from sqlalchemy import text
from tests.integration.kernel.bank import Deposited, topic_of
from tests.integration.kernel.town import PATIENCE, Copy, Town
from tests.waiting import becomes

from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope
from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer

LETTERS = 250_000
DEPOSITS = 600
"""Together 150 MB."""
MORE = 100 * 1024**2
"""Bytes that the consumer may take besides what it has at rest."""


def deposit(town: Town, number: int) -> Message:
    account, version = f"a{number % 12}", number // 12 + 1
    around = Envelope(
        event_id=new_id(), source="test", type=Deposited.TYPE, schema_version=1, stream=f"account-{account}",
        version=version, log_epoch=1, key=account, time=datetime.now(UTC), data={}, correlation_id="c",
        causation_id="c",
    )  # fmt: skip
    value = Deposited(account=account, minutes=1, text="x" * LETTERS).model_dump_json()
    return Message(topic_of("bank", town.suffix), account, value, encode_headers(around))


async def test_a_consumer_with_far_more_before_it_than_it_may_have_in_memory_takes_it_bit_by_bit(town: Town) -> None:
    count = await town.start("count")
    process = psutil.Process(count.pid)
    at_rest = process.memory_info().rss
    most = 0

    async def lags() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return await count.metric("consumer_lag_events") >= DEPOSITS and await count.metric("consumer_lag_seconds") > 0

    async def has_counted_all() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        return await town.counted() == DEPOSITS

    producer = Producer(town.kafka, client_id="test")
    await has_joined(count)
    async with town.databases["count"].transaction() as connection:  # so slow that it stands
        await connection.execute(text("SELECT * FROM consumer_offsets FOR UPDATE"))
        for begin in range(0, DEPOSITS, 12):
            await producer.send_all([deposit(town, number) for number in range(begin, begin + 12)])
        await becomes(lags, "the consumer does not tell that it lags", PATIENCE)
    await becomes(has_counted_all, "not everything is counted", PATIENCE)
    await producer.stop()
    assert count.kills == 0
    assert most - at_rest < MORE, f"it took {(most - at_rest) / 1024**2:.0f} MB more"


async def has_joined(copy: Copy) -> None:
    async def joined() -> bool:
        return await copy.metric("consumer_rebalances_total") > 0

    await becomes(joined, "the consumer has no partitions", PATIENCE)
