"""Envelopes on the wire: CloudEvents 1.0 in Kafka's binary mode.

The value is the event's JSON; everything else is a header. Besides the standard's attributes there are our
extensions: `stream`, `streamversion`, `logepoch`, `correlationid`, `causationid`, `actor`, `onbehalfof`,
`prerequisites` and, on a fact that stands in every partition of its topic, `copies`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import orjson

from lms.kernel.event import Envelope, Prerequisite

Headers = dict[str, str]

PARTITION_HEADER = "lms-partition"
"""In an outbox row's headers only: the partition to write to, for facts that go to every partition."""

LONGEST_STREAM = 160
LONGEST_ID = 80
LARGEST_NUMBER = 2**31 - 1
"""What the tables have room for that say how far a stream was seen: a message with more is no event of ours."""

COPIES_HEADER = "ce_copies"
"""On a fact that stands in every partition: how many there are. All copies have one id and one stream version."""


class MalformedMessage(ValueError):
    """A Kafka message that is no event of ours; the text says which header or part is wrong."""


def encode_headers(envelope: Envelope) -> Headers:
    """Return the Kafka headers of an event; the value is its data and the key `envelope.key`."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": envelope.event_id,
        "ce_source": envelope.source,
        "ce_type": envelope.type,
        "ce_time": envelope.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "ce_subject": envelope.key,
        "ce_dataschema": f"{envelope.type}.v{envelope.schema_version}",
        "ce_stream": envelope.stream,
        "ce_streamversion": str(envelope.version),
        "ce_logepoch": str(envelope.log_epoch),
        "ce_correlationid": envelope.correlation_id,
        "ce_causationid": envelope.causation_id,
        "content-type": "application/json",
    }
    if envelope.actor is not None:
        headers["ce_actor"] = envelope.actor
    if envelope.on_behalf_of is not None:
        headers["ce_onbehalfof"] = envelope.on_behalf_of
    if envelope.traceparent is not None:
        headers["traceparent"] = envelope.traceparent
    if envelope.prerequisites:
        headers["ce_prerequisites"] = orjson.dumps([tuple(one) for one in envelope.prerequisites]).decode()
    if envelope.copies > 1:
        headers[COPIES_HEADER] = str(envelope.copies)
    return headers


def is_further_copy(partition: int, copies: int) -> bool:
    """Say whether a message in a partition is a fact with so many copies, and not its first one.

    Only the first counts: two members of a group that read copies at the same moment could not tell from the stream's
    version that they are one fact.
    """
    return copies > 1 and partition != 0


def decode(headers: Iterable[tuple[str, bytes]], value: bytes | None) -> Envelope:
    """Return the envelope of a Kafka message. Raises MalformedMessage, naming what is wrong."""
    found = {name: raw.decode("utf-8", "replace") for name, raw in headers}
    try:
        data = orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        raise MalformedMessage(f"The value is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise MalformedMessage(f"The value is a JSON {type(data).__name__}, not an object.")
    try:
        schema = found["ce_dataschema"]
        return Envelope(
            event_id=_plain(found["ce_id"], LONGEST_ID),
            source=found["ce_source"],
            type=found["ce_type"],
            schema_version=int(schema.rpartition(".v")[2]),
            stream=_plain(found["ce_stream"], LONGEST_STREAM),
            version=_counted(found["ce_streamversion"]),
            log_epoch=_counted(found["ce_logepoch"]),
            key=found["ce_subject"],
            time=datetime.fromisoformat(found["ce_time"]),
            data=data,
            correlation_id=found["ce_correlationid"],
            causation_id=found["ce_causationid"],
            traceparent=found.get("traceparent"),
            actor=found.get("ce_actor"),
            on_behalf_of=found.get("ce_onbehalfof"),
            prerequisites=tuple(
                Prerequisite(str(topic), _plain(str(stream), LONGEST_STREAM), _counted(version))
                for topic, stream, version in orjson.loads(found.get("ce_prerequisites", "[]"))
            ),
            copies=int(found.get(COPIES_HEADER, "1")),
        )
    except KeyError as error:
        raise MalformedMessage(f"The header {error.args[0]} is missing.") from error
    except (ValueError, TypeError) as error:
        raise MalformedMessage(f"A header does not parse: {error}") from error


def _plain(text: str, longest: int) -> str:
    """Return a name by which the database looks: it compares ASCII with ASCII only, and fails for anything else."""
    if not text.isascii() or not 0 < len(text) <= longest:
        raise ValueError(f"{text[:40]!r} is no name of at most {longest} ASCII characters")
    return text


def _counted(text: str | int) -> int:
    """Return a version or epoch: a whole number from 1 on."""
    number = int(text)
    if not 0 < number <= LARGEST_NUMBER:
        raise ValueError(f"{number} is not between 1 and {LARGEST_NUMBER}")
    return number
