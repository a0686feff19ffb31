"""The kernel on a Kafka that takes clients by TLS and password, each with the rights that the cluster gives it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed, TopicAuthorizationFailedError
from scripts import k8s
from tests import secured_kafka
from tests.integration.kernel.test_consumer import COUNT, Counted, Deposited, World, add, tables
from tests.secured_kafka import OF_THE_CLUSTER, TOPICS_USER, Rights, Secured
from tests.waiting import becomes

from lms.kernel.consumer import Reactor, dead_letter_topic
from lms.kernel.kafka import Message, NotDeleted, Producer, Topic, declare, ends_of, ping, recreate
from lms.kernel.service import Runtime, Service
from lms.kernel.settings import KernelSettings

pytestmark = pytest.mark.servers

BANK = Service(name="bank", publishes={"leave.bank.v1": (Counted,)})
COUNTS = Service(
    name="counts",
    deciders=(COUNT,),
    publishes={"leave.counts.v1": (Counted,)},
    consumers=(Reactor("count", tuple(BANK.publishes), {Deposited: add}),),
)
RESTORING: list[k8s.Manifest] = [
    {"resource": {"type": "topic", "name": one, "patternType": "literal"}, "operations": ["Create", "Delete"]}
    for one in (*COUNTS.publishes, dead_letter_topic(COUNTS.name, "count"))
]
"""What docs/recovery.md adds for as long as topics are made anew."""
RIGHTS: Rights = {
    TOPICS_USER: OF_THE_CLUSTER[TOPICS_USER],
    **{f"{one.name}-kafka": k8s.acls(one) for one in (BANK, COUNTS)},
    "counts-restoring": [*k8s.acls(COUNTS), *RESTORING],
}


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    async with secured_kafka.started(tmp_path_factory.mktemp("secured"), RIGHTS) as found:
        yield found


async def test_a_service_lives_behind_tls_and_passwords_with_no_more_than_its_rights(
    secured: Secured, settings_of: Callable[..., KernelSettings]
) -> None:
    (bank,), (counts,) = BANK.publishes, COUNTS.publishes
    dead = dead_letter_topic(COUNTS.name, "count")
    await declare(secured.brokers(TOPICS_USER), [Topic(one, partitions=3) for one in (bank, counts, dead)])
    object.__setattr__(COUNT, "topic", counts)
    own = secured.brokers("counts-kafka")
    settings = settings_of("brokers", tables, kafka_bootstrap_servers=own)
    producer = Producer(secured.brokers("bank-kafka"), client_id="test")
    runtime = Runtime(COUNTS, settings)
    world = World(bank, counts, settings, producer, [runtime])
    await runtime.start(worker=True)
    try:
        await world.send(world.deposit("a", 1, 60), world.deposit("b", 1, -1), world.deposit("a", 2, 30))
        await world.caught_up(3)
        assert await world.totals() == {"a": (90, 2)}

        async def published() -> bool:
            ends = await ends_of(own, [counts])
            return sum(ends.values()) == 2

        await becomes(published, "what was counted is not on the topic")
        assert sum((await ends_of(secured.brokers(TOPICS_USER), [dead])).values()) == 1
    finally:
        await world.stop()
        await producer.stop()


async def test_nobody_writes_to_a_topic_without_the_right(secured: Secured) -> None:
    (bank,) = BANK.publishes
    await declare(secured.brokers(TOPICS_USER), [Topic(bank, partitions=3)])
    producer = Producer(secured.brokers("counts-kafka"), client_id="test")
    with pytest.raises(TopicAuthorizationFailedError, match=bank):
        await producer.send_all([Message(bank, "key", "value", {})])


async def test_topics_are_made_anew_by_who_may_and_others_are_told_that_they_may_not(secured: Secured) -> None:
    (counts,) = COUNTS.publishes
    topics = [Topic(one["resource"]["name"], partitions=3) for one in RESTORING]
    await declare(secured.brokers(TOPICS_USER), topics)
    own = secured.brokers("counts-kafka")
    producer = Producer(own, client_id="test")
    await producer.send_all([Message(counts, "key", "value", {})])
    await producer.stop()
    async with asyncio.timeout(10):
        with pytest.raises(NotDeleted, match=f"may not delete .*{counts}"):
            await recreate(own, topics)
    await recreate(secured.brokers("counts-restoring"), topics)
    assert set((await ends_of(own, [counts])).values()) == {0}


async def test_a_wrong_password_is_told_as_one(secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
    brokers = secured.brokers("bank-kafka", "not-the-password")
    with pytest.raises(SaslAuthenticationFailed, match="invalid credentials"):
        await ping(brokers)
    with pytest.raises(KafkaConnectionError):
        await Producer(brokers, client_id="test").send_all([Message("leave.bank.v1", "key", "value", {})])
    assert "invalid credentials with SASL mechanism SCRAM-SHA-512" in caplog.text


async def test_without_tls_or_an_authority_that_is_known_nobody_gets_in(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    for brokers in (secured.address, secured.brokers("bank-kafka").partition("?")[0]):
        with pytest.raises((KafkaError, OSError)):
            await ping(brokers)
        with pytest.raises(KafkaConnectionError):
            await Producer(brokers, client_id="test").send_all([Message("leave.bank.v1", "key", "value", {})])
    assert "certificate verify failed" in caplog.text
