"""Write docs/asyncapi.json: one AsyncAPI 3.0 document of every topic, from each service's literal wiring.

`make contracts` writes it; tests/contract checks that it is what the code says and what the standard allows.
"""

import copy
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lms.kernel.consumer import Consumer, Recorder, dead_letter_topic
from lms.kernel.kafka import Topic
from lms.kernel.service import Service
from scripts import contracts, services

FILE = Path(__file__).parents[1] / "docs" / "asyncapi.json"

DESCRIPTION = """\
Everything that LMS publishes on Kafka. Each message is one fact in CloudEvents' binary mode: its value is JSON, all
else is a header. A payroll team needs the channel `leave.payroll.v1` alone; `docs/payroll.md` shows how to subscribe,
and `examples/payroll` is a subscriber to copy.

**What you have seen.** Every fact belongs to a stream (`ce_stream`), in which versions (`ce_streamversion`) count from
1 without gaps. A fact may come again, at whatever offset. Remember the last (`ce_logepoch`, `ce_streamversion`) of each
stream, in the transaction of what you make of it: a fact whose pair is not above it was seen before. A version that is
not the next one means that something is missing: stop. A higher epoch than any before means that LMS was restored to an
earlier moment and the topic was made anew: read every partition from its first offset again, where what you have seen
is skipped, until `log.restored`. What you hold of a stream of that partition beyond the version that you met again in
front of it never happened.

**Order.** Within a stream, and so within a partition. Between topics there is none.

**Evolution.** Ignore fields that you do not know, and count the versions of types that you do not know. Fields are only
ever added; anything else is a new version of the type (`ce_dataschema`).

**Personal text** is sealed with a key that its person can have destroyed: `sealed` opens for a few services only.
"""

CHANNELS = {
    "leave.directory.v1": (
        "Who works here",
        "Employees, departments, locations, work schedules, holiday calendars, delegations.",
        "The employee's id; for a delegation the delegator's; else the thing's own id.",
    ),
    "leave.requests.v1": (
        "What becomes of the leave that people ask for",
        "Requests with their revisions, decisions and cancellations, as the leave book has the last word on them.",
        "The employee's id.",
    ),
    "leave.payroll.v1": (
        "What payroll has to book",
        "Confirmed absences, their corrections and revocations, as lines that add up; and the months that are closed.",
        "The employee's id; `monthly` for `period.closed`, of which a copy stands in every partition.",
    ),
    "leave.balances.v1": (
        "Leave accounts",
        "Grants, accruals, reservations, debits and credits of every account; leave types and policies.",
        "The employee's id; for leave types and policies their own.",
    ),
    "leave.approvals.v1": (
        "Who decides, and how",
        "The approval case of each revision of a request.",
        "The employee's id.",
    ),
    "leave.audit.v1": (
        "Signed tree heads of the audit log",
        "With them anybody can tell whether the log was rewritten, or its tail cut off.",
        "The log's id.",
    ),
}
"""Of each topic: its title, what is on it, and what its key is."""

DEAD_LETTERS = "dlq"

_ID = "019306a0-0000-7000-8000-0000000000e1"


def document() -> dict[str, Any]:
    """Return the document."""
    wired = services.load()
    unknown = sorted({topic for service in wired for topic in service.publishes} - CHANNELS.keys())
    if unknown:
        raise LookupError(f"scripts/asyncapi.py: CHANNELS lacks {', '.join(unknown)}; say what is on it.")
    messages = {_name(schema): _message(schema) for schema in _contracts()}
    on_topic = {
        topic: [_name(one) for one in _contracts() if one["x-topic"] in {topic, contracts.EVERY_TOPIC}]
        for topic in CHANNELS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "LMS: facts on Kafka",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The broker of an installation.",
                "variables": {
                    "bootstrap": {
                        "default": "localhost:9092",
                        "description": "`KAFKA_BOOTSTRAP_SERVERS`; `lms status` shows that of an embedded system.",
                    }
                },
            }
        },
        "channels": {
            **{one.name: _channel(one, on_topic[one.name], wired) for one in _topics(wired)},
            DEAD_LETTERS: _dead_letters(wired),
        },
        "operations": dict(_operations(wired, on_topic)),
        "components": {
            "messages": {**messages, "dead-letter": _dead_letter()},
            "schemas": {"headers": HEADERS, **_schemas()},
            "correlationIds": {
                "correlation": {
                    "description": "The same for all facts that one request led to, in whichever service.",
                    "location": "$message.header#/ce_correlationid",
                }
            },
        },
    }


def _contracts() -> Iterator[dict[str, Any]]:
    for service, topic, model, example in contracts.on_topics():
        yield {**contracts.contract(service, topic, model, example), "x-service": service}


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$id"]).partition("/")[2]


def _topics(wired: tuple[Service, ...]) -> list[Topic]:
    """Return what the services declare, without dead letters."""
    declared = {one.name: one for service in wired for one in service.topics() if not one.name.startswith("dlq.")}
    return [declared[name] for name in sorted(declared)]


# Channels and operations ----------------------------------------------------------------------------------------------


def _channel(topic: Topic, messages: list[str], wired: tuple[Service, ...]) -> dict[str, Any]:
    title, description, key = CHANNELS[topic.name]
    streams = [
        f"`{decider.category}-…`" for service in wired for decider in service.deciders if decider.topic == topic.name
    ]
    return {
        "address": topic.name,
        "title": title,
        "description": f"{description}\n\nThe key: {key} The streams: {', '.join(streams)}.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {one: {"$ref": f"#/components/messages/{one}"} for one in messages},
        "bindings": _binding(topic),
    }


def _binding(topic: Topic) -> dict[str, Any]:
    return {
        "kafka": {
            "topic": topic.name,
            "partitions": topic.partitions,
            "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms},
            "bindingVersion": "0.5.0",
        }
    }


def _dead_letters(wired: tuple[Service, ...]) -> dict[str, Any]:
    consuming = [service for service in wired if service.consumers]
    consumers = sorted({consumer.name for service in consuming for consumer in service.consumers})
    return {
        "address": dead_letter_topic("{service}", "{consumer}"),
        "title": "Dead letters",
        "description": "What a consumer of LMS could not apply, as it came, with the reason. For operators.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": {
            "service": {"enum": [service.name for service in consuming], "description": "Who could not apply it."},
            "consumer": {"enum": consumers, "description": "Which of its consumers."},
        },
        "messages": {"dead-letter": {"$ref": "#/components/messages/dead-letter"}},
    }


def _operations(wired: tuple[Service, ...], on_topic: dict[str, list[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for service in wired:
        for topic in service.publishes:
            yield (
                f"{service.name}.publishes.{topic}",
                {
                    "action": "send",
                    "channel": {"$ref": f"#/channels/{topic}"},
                    "summary": f"`{service.name}` publishes: {CHANNELS[topic][0]}",
                },
            )
        for consumer in service.consumers:
            for topic in consumer.topics:
                read = _read(consumer, on_topic[topic])
                yield (
                    f"{service.name}.{consumer.name}.reads.{topic}",
                    {
                        "action": "receive",
                        "channel": {"$ref": f"#/channels/{topic}"},
                        "summary": f"`{consumer.name}` of `{service.name}` reads {topic}",
                        "messages": [{"$ref": f"#/channels/{topic}/messages/{one}"} for one in read],
                        "bindings": {
                            "kafka": {
                                "groupId": {"type": "string", "const": f"lms.{service.name}.{consumer.name}"},
                                "bindingVersion": "0.5.0",
                            }
                        },
                    },
                )


def _read(consumer: Consumer, messages: list[str]) -> list[str]:
    if isinstance(consumer, Recorder):
        return messages
    types = {model.TYPE for model in consumer.models()}
    return [one for one in messages if one.rpartition(".v")[0] in types]


# Messages -------------------------------------------------------------------------------------------------------------


def _message(schema: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(schema["description"]).partition("\n\n")
    source = {} if schema["x-service"] == contracts.KERNEL else {"ce_source": {"const": schema["x-service"]}}
    return {
        "name": schema["title"],
        "title": schema["title"],
        "summary": " ".join(summary.split()),
        **({"description": description} if description else {}),
        "contentType": "application/json",
        "headers": {
            "allOf": [
                {"$ref": "#/components/schemas/headers"},
                {
                    "type": "object",
                    "properties": {
                        "ce_type": {"const": schema["title"]},
                        **source,
                        "ce_dataschema": {"const": _name(schema)},
                    },
                },
            ]
        },
        "payload": {"$ref": f"#/components/schemas/{_name(schema)}"},
        "correlationId": {"$ref": "#/components/correlationIds/correlation"},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
        "examples": [{"name": "example", "payload": example} for example in schema["examples"]],
    }


def _schemas() -> dict[str, Any]:
    """Return the payloads and their parts, each part under the name of its service.

    They allow further fields: the models refuse them, whoever reads must not.
    """
    found: dict[str, Any] = {}
    for contract in _contracts():
        service = contract["x-service"]
        for name, part in contract.get("$defs", {}).items():
            found[f"{service}.{name}"] = _readable(part, service)
        payload = {key: contract[key] for key in ("type", "title", "description", "properties", "required")}
        found[_name(contract)] = _readable(payload, service)
    return dict(sorted(found.items()))


def _readable(schema: dict[str, Any], service: str) -> Any:
    def walk(node: Any) -> Any:
        match node:
            case {"$ref": str(reference)}:
                return {"$ref": f"#/components/schemas/{service}.{reference.rpartition('/')[2]}"}
            case dict():
                return {key: walk(value) for key, value in node.items() if key != "additionalProperties" or value}
            case list():
                return [walk(one) for one in node]
            case _:
                return node

    return walk(copy.deepcopy(schema))


def _header(description: str, example: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, "examples": [example], **more}


_HEADERS = {
    "ce_specversion": _header("The version of CloudEvents.", "1.0", const="1.0"),
    "ce_id": _header("The fact's own id; the same on every copy and repetition.", _ID),
    "ce_source": _header("The service that recorded the fact.", "requests"),
    "ce_type": _header("What happened.", "absence.confirmed"),
    "ce_time": _header("When it was recorded.", "2026-07-01T09:30:00.000000Z", format="date-time"),
    "ce_subject": _header("Whom or what it concerns: the message's key.", "019306a0-0000-7000-8000-000000000001"),
    "ce_dataschema": _header(
        "The type and version of the payload; `shared/contracts/<source>/<this>.json`.", "absence.confirmed.v1"
    ),
    "ce_stream": _header(
        "The stream that the fact belongs to, whole on one topic.", "absences-019306a0-0000-7000-8000-000000000001"
    ),
    "ce_streamversion": _header("Its place in the stream, from 1 without gaps.", "3", pattern="^[1-9][0-9]*$"),
    "ce_logepoch": _header(
        "Raised by each restore of LMS to an earlier moment; compare (epoch, version).", "1", pattern="^[1-9][0-9]*$"
    ),
    "ce_correlationid": _header("The same for all that one request led to.", "019306a0-0000-7000-8000-0000000000c1"),
    "ce_causationid": _header("The fact or request that led to this one.", "019306a0-0000-7000-8000-0000000000c2"),
    "content-type": _header("The value's.", "application/json", const="application/json"),
}
_OPTIONAL_HEADERS = {
    "ce_actor": _header(
        "The person or service account who asked for it; absent where LMS acted by itself.",
        "019306a0-0000-7000-8000-000000000002",
    ),
    "ce_onbehalfof": _header(
        "The person for whom the service account `ce_actor` acted; only outside production.",
        "019306a0-0000-7000-8000-000000000003",
    ),
    "traceparent": _header("The W3C trace.", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "ce_prerequisites": _header(
        "JSON: the foreign facts (topic, stream, version) that this one rests on.",
        '[["leave.balances.v1", "leave-type-annual", 1]]',
    ),
    "ce_copies": _header(
        "Only on a fact that stands in every partition: how many copies there are. Each stands behind all that was"
        " recorded before it, so whoever has read all copies has read all of that.",
        "24",
        pattern="^[1-9][0-9]*$",
    ),
}
HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "Headers are UTF-8 text; numbers are decimal digits.",
    "properties": {**_HEADERS, **_OPTIONAL_HEADERS},
    "required": list(_HEADERS),
}
"""What every fact carries."""


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "dead-letter",
        "title": "dead-letter",
        "summary": "A message that a consumer could not apply: its value and headers as they came, and why.",
        "headers": {
            "type": "object",
            "properties": {
                "lms-reason": _header("Why it could not be applied.", "ValueError: a negative amount"),
                "lms-topic": _header("The topic on which it was found.", "leave.requests.v1"),
                "lms-partition-no": _header("The partition in which it was found.", "7", pattern="^[0-9]+$"),
                "lms-offset": _header("Its offset there.", "4711", pattern="^[0-9]+$"),
            },
            "required": ["lms-reason", "lms-topic", "lms-partition-no", "lms-offset"],
        },
        "payload": {"description": "Whatever came."},
    }


def text() -> str:
    """Return the document as it stands in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the document."""
    FILE.write_text(text(), encoding="utf-8")
    print(f"{FILE}: {len(document()['channels'])} channels, {len(document()['components']['messages'])} messages")


if __name__ == "__main__":
    main()
