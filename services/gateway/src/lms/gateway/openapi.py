"""One OpenAPI document for the whole API: the union of the services' own. Pure."""

from collections.abc import Mapping
from typing import Any

DESCRIPTION = (
    "The API of LMS. Every answer carries X-Request-ID; refusals are application/problem+json. Commands take an "
    "Idempotency-Key; a GET with the Consistency-Token of a command shows its effect. A list that takes a "
    "Cache-Control may be some seconds old, unless that says `no-cache`."
)

_EVENTS: dict[str, Any] = {
    "/api/v1/events": {
        "get": {
            "tags": ["live updates"],
            "summary": "Live updates",
            "description": (
                "Server-sent events for the caller: `ready`, then `changed` with the resources below /api/v1 that may "
                'read differently now, as in `{"changed": ["balances"]}`. Nothing else is said; read them again. '
                "The stream ends with the access token. After a pause between two streams read everything again."
            ),
            "operationId": "events",
            "security": [{"bearer": []}],
            "responses": {"200": {"description": "The stream", "content": {"text/event-stream": {}}}},
        }
    }
}
_BALANCE: dict[str, Any] = {
    "description": "What it would leave; null while balances does not answer",
    "anyOf": [{"$ref": "#/components/schemas/BalancePreview"}, {"type": "null"}],
}


def whole(documents: Mapping[str, dict[str, Any]], own: dict[str, Any]) -> dict[str, Any]:
    """Return the union, with what the gateway answers itself (`own`) and what it adds to the services' answers."""
    document = union({**documents, "gateway": own})
    document["paths"] = dict(sorted({**document["paths"], **_EVENTS}.items()))
    completed = document["components"].get("schemas", {}).get("PreviewAnswer")
    if completed is not None:
        completed["properties"]["balance"] = _BALANCE
        completed["required"].append("balance")
    return document


def union(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the union of the services' documents, by service name.

    A component that services define differently under one name gets the service's name in front.
    """
    renamed = _renamed(documents)
    paths: dict[str, Any] = {}
    components: dict[str, dict[str, Any]] = {}
    for service in sorted(documents):
        document = documents[service]
        references = {
            f"#/components/{kind}/{name}": f"#/components/{kind}/{_prefixed(service, name)}"
            for kind, name in renamed
            if name in document.get("components", {}).get(kind, {})
        }
        paths.update(_rewritten(document.get("paths", {}), references))
        for kind, found in document.get("components", {}).items():
            for name, definition in found.items():
                own = _prefixed(service, name) if (kind, name) in renamed else name
                components.setdefault(kind, {})[own] = _rewritten(definition, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LMS", "version": "1", "description": DESCRIPTION},
        "paths": dict(sorted(paths.items())),
        "components": {kind: dict(sorted(found.items())) for kind, found in sorted(components.items())},
    }


def _renamed(documents: Mapping[str, dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the components (kind, name) that differ between services, or refer to one that does."""
    definitions: dict[tuple[str, str], list[Any]] = {}
    for document in documents.values():
        for kind, found in document.get("components", {}).items():
            for name, definition in found.items():
                definitions.setdefault((kind, name), []).append(definition)
    shared = {key: found for key, found in definitions.items() if len(found) > 1}
    differing = {key for key, found in shared.items() if any(one != found[0] for one in found)}
    while True:
        marks = {f"#/components/{kind}/{name}" for kind, name in differing}
        more = {key for key, found in shared.items() if key not in differing and _refers(found[0], marks)}
        if not more:
            return differing
        differing |= more


def _refers(node: Any, marks: set[str]) -> bool:
    match node:
        case dict():
            return node.get("$ref") in marks or any(_refers(one, marks) for one in node.values())
        case list():
            return any(_refers(one, marks) for one in node)
    return False


def _rewritten(node: Any, references: Mapping[str, str]) -> Any:
    match node:
        case dict():
            return {key: _rewritten(one, references) for key, one in node.items()}
        case list():
            return [_rewritten(one, references) for one in node]
        case str():
            return references.get(node, node)
    return node


def _prefixed(service: str, name: str) -> str:
    return f"{service.capitalize()}{name}"
