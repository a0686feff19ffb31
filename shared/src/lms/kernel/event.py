"""Events: what a service records and publishes, and how a consumer sees it again.

An `Event` is a fact in the past tense, frozen, with a literal type name and a schema version. A `ForeignEvent` is a
consumer's own slim model of somebody else's event. An `Envelope` is what travels around either of them: identity,
stream position, causality. A `Codec` writes a service's own events and reads every version it ever wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Lifts the data of one schema version to the next: a pure dict → dict function."""


class Event(BaseModel):
    """A fact that this service records; subclasses name it literally and never rename it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    TYPE: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int] = 1


class ForeignEvent(BaseModel):
    """A consumer's copy of another service's event, with only the fields that the consumer reads."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    TYPE: ClassVar[str]
    SCHEMA_VERSIONS: ClassVar[frozenset[int]] = frozenset({1})


class Prerequisite(NamedTuple):
    """A foreign fact that an event rests on: a reactor holds the event until it has seen that version."""

    topic: str
    stream: str
    version: int


class StreamVersion(NamedTuple):
    """Where a stream of `topic` stands after a command."""

    topic: str
    stream: str
    version: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """What surrounds an event: its identity, its place in its stream, and what caused it.

    `version` counts from 1 without gaps within `stream`; positions of one stream compare as (`log_epoch`, `version`),
    where the epoch rises with each point-in-time restore of the producer. `data` is the event's JSON as a dict. `actor`
    is who really acted, None for the system itself; where that is a service account that acted for a person,
    `on_behalf_of` is the person. `copies` is how often it stands on Kafka: once, by its key, or once in every partition
    of the topic.
    """

    event_id: str
    source: str
    type: str
    schema_version: int
    stream: str
    version: int
    log_epoch: int
    key: str
    time: datetime
    data: dict[str, Any]
    correlation_id: str
    causation_id: str
    traceparent: str | None = None
    actor: str | None = None
    on_behalf_of: str | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    copies: int = 1

    @property
    def in_the_name_of(self) -> str | None:
        """Whose doing it was in the eyes of the business: the person acted for, else the actor."""
        return self.on_behalf_of or self.actor


class UnknownEventType(LookupError):
    """The log holds an event that no model of this service can read: a deployment older than its log."""


class Codec:
    """Encodes a service's events to JSON and decodes every version that it ever wrote."""

    def __init__(
        self, events: Sequence[type[Event]], upcasters: Mapping[tuple[str, int], Upcaster] | None = None
    ) -> None:
        self._models = {model.TYPE: model for model in events}
        if len(self._models) != len(events):
            raise ValueError("Two event models share one TYPE; every fact needs a name of its own.")
        self._upcasters = dict(upcasters or {})

    def encode(self, event: Event) -> str:
        """Return the event's JSON text."""
        if event.TYPE not in self._models:
            raise UnknownEventType(f"{event.TYPE} is not listed in this service's EVENTS; add it there.")
        return event.model_dump_json()

    def decode(self, type_: str, schema_version: int, data: str | bytes | dict[str, Any]) -> Event:
        """Return the event as its newest model, lifted version by version where it is older.

        Raises UnknownEventType for a type or version that this service does not know.
        """
        model = self._models.get(type_)
        if model is None:
            raise UnknownEventType(f"No model for event type {type_!r}: this deployment is older than its log.")
        if schema_version == model.SCHEMA_VERSION:
            return model.model_validate(data) if isinstance(data, dict) else model.model_validate_json(data)
        fields = data if isinstance(data, dict) else orjson.loads(data)
        for version in range(schema_version, model.SCHEMA_VERSION):
            upcaster = self._upcasters.get((type_, version))
            if upcaster is None:
                raise UnknownEventType(f"No upcaster lifts {type_} from version {version}; add one.")
            fields = upcaster(fields)
        if schema_version > model.SCHEMA_VERSION:
            raise UnknownEventType(
                f"{type_} version {schema_version} is newer than this deployment ({model.SCHEMA_VERSION})."
            )
        return model.model_validate(fields)
