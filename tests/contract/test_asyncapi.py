"""docs/asyncapi.json is what the code says, what the standard allows, and what messages look like.

`asyncapi-3.0.0.schema.json` is the official schema: npm `@asyncapi/specs` 6.11.1, `schemas/3.0.0.json`, Apache-2.0,
unchanged.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from scripts import asyncapi, contracts, services

from lms.kernel.cloudevents import encode_headers
from lms.kernel.event import Envelope, Prerequisite

SCHEMA = Path(__file__).parent / "asyncapi-3.0.0.schema.json"
SHA256 = "d4571a420e6ffb7fcc7066c95a6db1202f299a3c51daa103d0706bf30f95e626"
DOCUMENT: dict[str, Any] = json.loads(asyncapi.FILE.read_text(encoding="utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]


def valid(schema: Any, value: Any) -> None:
    """Check a value against a schema that may refer to the document's components."""
    jsonschema.Draft202012Validator(
        {"allOf": [schema], "components": DOCUMENT["components"]},
        format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
    ).validate(value)


def test_the_document_is_what_the_code_says() -> None:
    assert asyncapi.text() == asyncapi.FILE.read_text(encoding="utf-8"), "docs/asyncapi.json; run `make contracts`."


def test_the_document_is_valid_by_the_official_schema_and_a_wrong_one_is_not() -> None:
    official = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(official)
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    wrong = json.loads(json.dumps(DOCUMENT))
    wrong["channels"]["leave.payroll.v1"]["bindings"]["kafka"]["partitions"] = "24"
    wrong["operations"]["requests.publishes.leave.payroll.v1"]["action"] = "publish"
    assert len(list(validator.iter_errors(wrong))) >= 2


def test_the_vendored_schema_is_unchanged() -> None:
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == SHA256


def references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for value in node.values():
                yield from references(value)
        case list():
            for value in node:
                yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_every_topic_is_a_channel_with_its_partitions_and_its_retention() -> None:
    declared = {one.name: one for service in services.load() for one in service.topics()}
    channels = {one["address"]: one for one in DOCUMENT["channels"].values()}
    letters = {name for name in declared if name.startswith("dlq.")}
    assert set(channels) == declared.keys() - letters | {"dlq.{service}.{consumer}"}
    for name in declared.keys() - letters:
        binding = channels[name]["bindings"]["kafka"]
        assert binding["partitions"] == declared[name].partitions
        assert binding["topicConfiguration"]["retention.ms"] == declared[name].retention_ms
    enums = DOCUMENT["channels"]["dlq"]["parameters"]
    for name in letters:
        _, service, consumer = name.split(".", 2)
        assert service in enums["service"]["enum"], name
        assert consumer in enums["consumer"]["enum"], name


def test_every_event_is_a_message_of_its_topic() -> None:
    for _, topic, model, _ in contracts.published():
        name = f"{model.TYPE}.v{model.SCHEMA_VERSION}"
        assert DOCUMENT["channels"][topic]["messages"][name] == {"$ref": f"#/components/messages/{name}"}


def test_the_fact_of_a_restore_is_a_message_of_every_topic_that_anybody_publishes_to() -> None:
    published = {topic for service in services.load() for topic in service.publishes}
    named = {topic for topic, one in DOCUMENT["channels"].items() if "log.restored.v1" in one["messages"]}
    assert named == published


@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - {"dead-letter"}))
def test_the_examples_are_valid_also_with_a_field_more(name: str) -> None:
    message = MESSAGES[name]
    assert message["examples"]
    for example in message["examples"]:
        valid(message["payload"], example["payload"])
        valid(message["payload"], {**example["payload"], "a_field_of_tomorrow": 1})
        with pytest.raises(jsonschema.ValidationError):
            valid(message["payload"], {})


@pytest.mark.parametrize("copies", [1, 24])
def test_the_headers_are_those_that_the_kernel_writes(copies: int) -> None:
    envelope = Envelope(
        event_id="e", source="requests", type="absence.confirmed", schema_version=1, stream="absences-a", version=3,
        log_epoch=1, key="a", time=datetime.now(UTC), data={}, correlation_id="c", causation_id="c", traceparent="t",
        actor="b", on_behalf_of="p", prerequisites=(Prerequisite("t", "s", 1),), copies=copies,
    )  # fmt: skip
    headers = encode_headers(envelope)
    valid(MESSAGES["absence.confirmed.v1"]["headers"], headers)
    optional = {"ce_copies"} if copies == 1 else set()
    assert headers.keys() == asyncapi.HEADERS["properties"].keys() - optional
    with pytest.raises(jsonschema.ValidationError):
        valid(MESSAGES["absence.confirmed.v1"]["headers"], {**headers, "ce_type": "absence.revoked"})
    for name, header in asyncapi.HEADERS["properties"].items():
        valid(header, header["examples"][0])
        assert header["description"], name


def test_an_operation_names_only_messages_that_its_reader_reads() -> None:
    reading = DOCUMENT["operations"]["balances.life-of-request.reads.leave.requests.v1"]
    read = {one["$ref"].rpartition("/")[2] for one in reading["messages"]}
    assert "leave.confirmed.v1" in read
    assert "leave.decision-lapsed.v1" not in read
    recorded = DOCUMENT["operations"]["audit.record.reads.leave.payroll.v1"]
    assert len(recorded["messages"]) == len(DOCUMENT["channels"]["leave.payroll.v1"]["messages"])
