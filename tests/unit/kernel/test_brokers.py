"""How a client is told where the brokers are, and who one is there."""

import ssl

import pytest
from aiokafka.errors import KafkaError

from lms.kernel.kafka import connection, ping
from lms.kernel.settings import BadSettings, KernelSettings, load

GIVEN = {
    "redis_url": "redis://localhost:6379/0",
    "jwt_public_key": "-" * 40,
    "database_url": "mysql://lms:x@localhost:3306/lms",
    "encryption_key": "k" * 32,
}


def test_addresses_alone_are_brokers_that_ask_for_nobody() -> None:
    assert connection("a:9092,b:9092") == {"bootstrap_servers": "a:9092,b:9092"}


def test_a_name_and_a_password_go_over_tls() -> None:
    found = connection("sasl+ssl://balances-kafka:p%40ss@a:9093,b:9093")
    assert isinstance(found.pop("ssl_context"), ssl.SSLContext)
    assert found == {
        "bootstrap_servers": "a:9093,b:9093",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "balances-kafka",
        "sasl_plain_password": "p@ss",
    }


async def test_a_broker_that_wants_a_name_is_asked_at_its_address_whether_it_answers() -> None:
    with pytest.raises((KafkaError, OSError)):
        await ping("sasl+ssl://user:password@127.0.0.1:1,127.0.0.1:2")


@pytest.mark.parametrize("brokers", ["kafka://a:9092", "sasl+ssl://a:9093", "sasl+ssl://user@a:9093"])
def test_anything_else_is_refused_with_the_form_to_write(brokers: str) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        connection(brokers)
    with pytest.raises(BadSettings, match="KAFKA_BOOTSTRAP_SERVERS: write host:port"):
        load(KernelSettings, **GIVEN, kafka_bootstrap_servers=brokers)


def test_the_password_is_not_shown_with_the_settings() -> None:
    settings = load(KernelSettings, **GIVEN, kafka_bootstrap_servers="sasl+ssl://user:hidden@a:9093?ca=/etc/ca.crt")
    assert "hidden" not in repr(settings)
