"""A connection of the driver (aiomysql) that sends several statements at once, and takes apart what comes as it comes.

The driver awaits the stream twice for each row and for the description of each column, and reads every description
anew; with answers of a few rows that is most of what a statement costs. Here all that has arrived is taken apart at
once, and how a column's values are read is remembered by its description, byte for byte. The format is that of MySQL's
manual ("Client/Server Protocol, Text Resultset").
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any, NamedTuple

import aiomysql
from cachetools import LRUCache
from pymysql.connections import TEXT_TYPES
from pymysql.constants import COMMAND, CR, FIELD_TYPE
from pymysql.constants.SERVER_STATUS import SERVER_MORE_RESULTS_EXISTS
from pymysql.converters import convert_date, convert_datetime, through
from pymysql.err import MySQLError, OperationalError, raise_mysql_exception
from pymysql.protocol import FieldDescriptorPacket

_Converter = Callable[[bytes], Any]

_AT_ONCE = 256 * 1024
_LONGEST_PACKET = 0xFFFFFF
"""One of that length is continued in the next."""

_OK, _NULL, _EOF, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_EOF_LENGTH = 9
_BINARY = 63
_LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
"""How many bytes a number has, or a text's length, behind a first byte that says so."""

_converters: LRUCache[bytes, tuple[_Converter, ...]] = LRUCache(1000)


class Answer(NamedTuple):
    """What came of a statement: its rows, None where it is no query, and how many rows it concerned."""

    rows: list[tuple[Any, ...]] | None
    rowcount: int


class Part(NamedTuple):
    """A statement of a round trip; `about` is its SQL without values.

    `refused` returns what is to be raised for its failure, None for the driver's error itself.
    """

    text: str
    about: str
    refused: Callable[[MySQLError], Exception | None] = lambda _: None


_COMMIT = Part("COMMIT", "COMMIT")


class Connection(aiomysql.Connection):  # type: ignore[misc]  # aiomysql ships no types
    """The driver's connection, with a place for statements that wait for the next round trip of their transaction.

    What waits is sent in front of whatever is sent next, by whomever, or with the commit: the server executes
    everything in the order in which it was said. A rollback forgets it. `failed` is the statement that failed last.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.waiting: list[Part] = []
        self.failed = _COMMIT

    async def ask(self, parts: Sequence[Part]) -> list[Answer]:
        """Send what waits, and these statements, in one round trip; return the answers to these.

        The first statement that fails is the last that was executed. Raises what its part says, else the MySQLError.
        """
        waiting, self.waiting = self.waiting, []
        sent = [*waiting, *parts]
        if not sent:
            return []
        answers: list[Answer] = []
        try:
            await self._execute_command(COMMAND.COM_QUERY, ";".join([one.text for one in sent]).encode())
            await _read(self, _Answers(self, answers))
        except asyncio.CancelledError:
            self._close_on_cancel()  # as the driver does: the rest would answer the next query
            raise
        except MySQLError as error:
            self.failed = sent[len(answers)]
            other = self.failed.refused(error)
            if other is not None:
                raise other from error
            raise
        return answers[len(waiting) :]

    async def query(self, sql: str, unbuffered: bool = False) -> int:  # noqa: FBT001, FBT002  # the driver's own
        """Send a statement of the driver's, behind what waits."""
        if self.waiting:
            await self.ask(())
        concerned: int = await super().query(sql, unbuffered)
        return concerned

    async def commit(self) -> None:
        """Send what waits, and commit. Should anything fail, all is rolled back."""
        try:
            await self.ask((_COMMIT,))
        except Exception:
            with suppress(MySQLError):  # a lost connection has rolled back by itself
                await self.rollback()
            raise

    async def rollback(self) -> None:
        """Forget what waits, and roll back."""
        self.waiting = []
        await super().rollback()


async def connect(**how: Any) -> Connection:
    """Open a connection, as aiomysql.connect does."""
    connection = Connection(**how)
    await connection._connect()  # noqa: SLF001  # aiomysql has no other way to open one of its own
    return connection


async def _read(raw: Connection, answers: "_Answers") -> None:
    """Read until the last answer is complete."""
    rest, sequence, long = b"", 1, b""
    while not answers.complete:
        try:
            arrived = await raw._reader.read(_AT_ONCE)  # noqa: SLF001  # nobody else has it
        except OSError as error:
            raise _lost(raw) from error
        if not arrived:
            raise _lost(raw)
        data, at = rest + arrived if rest else arrived, 0
        while len(data) - at >= 4:  # noqa: PLR2004  # three bytes of length, and a number
            length = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            end = at + 4 + length
            if end > len(data):
                break
            if data[at + 3] != sequence:
                raise _lost(raw)
            sequence = (sequence + 1) & 0xFF
            packet, at = data[at + 4 : end], end
            if length == _LONGEST_PACKET:
                long += packet
                continue
            answers.take(long + packet if long else packet)
            long = b""
        rest = data[at:]


def _lost(raw: Connection) -> OperationalError:
    raw.close()
    return OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")


class _Answers:
    """Takes packets, one after the other, until all answers are complete."""

    def __init__(self, raw: Connection, into: list[Answer]) -> None:
        self.complete = False
        self._raw = raw
        self._into = into
        self._columns = 0
        self._descriptions: list[bytes] = []
        self._converters: tuple[_Converter, ...] | None = None
        self._rows: list[tuple[Any, ...]] = []

    def take(self, packet: bytes) -> None:
        """Take the next packet. Raises the MySQLError that it may be."""
        kind = packet[0]
        if kind == _ERROR:
            raise_mysql_exception(packet)
        if self._converters is not None:
            if kind == _EOF and len(packet) < _EOF_LENGTH:
                self._end(Answer(self._rows, len(self._rows)), packet, 3)
            else:
                self._rows.append(_row(packet, self._converters))
        elif len(self._descriptions) < self._columns:
            self._descriptions.append(packet)
        elif self._columns:  # the end of the descriptions
            self._converters = self._reading()
        elif kind == _OK:
            concerned, at = _number(packet, 1)
            _, at = _number(packet, at)  # the id that was given last
            self._end(Answer(None, concerned), packet, at)
        else:
            self._columns, _ = _number(packet, 0)

    def _end(self, answer: Answer, packet: bytes, at: int) -> None:
        status = packet[at] | packet[at + 1] << 8
        self._raw.server_status = status
        self._into.append(answer)
        self.complete = not status & SERVER_MORE_RESULTS_EXISTS
        self._columns, self._descriptions, self._converters, self._rows = 0, [], None, []

    def _reading(self) -> tuple[_Converter, ...]:
        described = b"".join(self._descriptions)
        found = _converters.get(described)
        if found is None:
            found = _converters[described] = tuple(_converter(self._raw, one) for one in self._descriptions)
        return found


def _number(packet: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it."""
    first = packet[at]
    if first < _NULL:
        return first, at + 1
    end = at + 1 + _LENGTHS[first]
    return int.from_bytes(packet[at + 1 : end], "little"), end


def _row(packet: bytes, converters: tuple[_Converter, ...]) -> tuple[Any, ...]:
    values: list[Any] = []
    at = 0
    for convert in converters:
        length = packet[at]
        at += 1
        if length == _NULL:
            values.append(None)
            continue
        if length > _NULL:
            length, at = _number(packet, at - 1)
        values.append(convert(packet[at : at + length]))
        at += length
    return tuple(values)


def _converter(raw: Connection, description: bytes) -> _Converter:
    """Return how the values of a column are read: as the driver does."""
    column = FieldDescriptorPacket(description, raw.encoding)
    if column.type_code == FIELD_TYPE.JSON:
        return bytes.decode
    if column.type_code in TEXT_TYPES and column.charsetnr == _BINARY:
        return bytes
    if column.type_code in _FASTER:
        return _FASTER[column.type_code]
    convert = raw.decoders.get(column.type_code, through)
    return bytes.decode if convert is through else lambda value: convert(value.decode())


def _instant(value: bytes) -> Any:
    text = value.decode()
    with suppress(ValueError):
        return datetime.fromisoformat(text)  # without a zone, as the column is
    return convert_datetime(text)


def _day(value: bytes) -> Any:
    text = value.decode()
    with suppress(ValueError):
        return date.fromisoformat(text)
    return convert_date(text)


_FASTER: dict[int, _Converter] = {
    FIELD_TYPE.TINY: int,
    FIELD_TYPE.SHORT: int,
    FIELD_TYPE.LONG: int,
    FIELD_TYPE.INT24: int,
    FIELD_TYPE.LONGLONG: int,
    FIELD_TYPE.DATETIME: _instant,
    FIELD_TYPE.TIMESTAMP: _instant,
    FIELD_TYPE.DATE: _day,
}
