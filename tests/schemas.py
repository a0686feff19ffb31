"""Schemas that the tests of services stand on, made on the real database."""

from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.engine import make_url

from lms.kernel.keyring import DDL
from lms.kernel.migrations import migrate
from lms.kernel.schema import log, metadata
from lms.kernel.service import Service


def with_keyring(url: str, *, emptied: bool = False) -> str:
    """Have a keyring on the server of a schema, on request without a key; return the schema's URL."""
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    with engine.begin() as connection:
        connection.execute(text("CREATE DATABASE IF NOT EXISTS keyring"))
        if connection.scalar(text("SHOW TABLES FROM keyring LIKE 'data_keys'")) is None:
            connection.execute(text(DDL))
        if emptied:
            connection.execute(text("DELETE FROM keyring.data_keys"))
    engine.dispose()
    return url


def migrated(service: Service, url: str) -> str:
    """Bring a service's schema up to date, with a keyring beside it; return its URL."""
    with_keyring(url)
    assert service.migrations is not None
    migrate(service.migrations, url)
    return url


def emptied(url: str, *own: MetaData) -> str:
    """Give a schema the kernel's tables, and a test's own, all empty; return the URL."""
    engine = create_engine(make_url(url).set(drivername="mysql+pymysql"))
    for one in (*own, metadata):
        one.drop_all(engine)
        one.create_all(engine)
    with engine.begin() as connection:
        connection.execute(log.insert().values(id=1, log_epoch=1))
    engine.dispose()
    return url
