"""What may change in a released contract: only optional fields may be added."""

from typing import Any


def breaking_changes(released: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """Return what a consumer of the released contract would trip over in the current one; empty when nothing."""
    return _compare("", released, current, released.get("$defs", {}), current.get("$defs", {}))


def _compare(
    path: str,
    old: dict[str, Any],
    new: dict[str, Any],
    old_definitions: dict[str, Any],
    new_definitions: dict[str, Any],
) -> list[str]:
    old, new = _resolve(old, old_definitions), _resolve(new, new_definitions)
    changes = [
        f"{path or '/'}: {word} was {old.get(word)!r}, is {new.get(word)!r}"
        for word in ("type", "format", "const", "enum")
        if old.get(word) != new.get(word)
    ]
    if [_resolve(one, old_definitions) for one in old.get("anyOf", [])] != [
        _resolve(one, new_definitions) for one in new.get("anyOf", [])
    ]:
        changes.append(f"{path or '/'}: the alternatives (anyOf) changed")
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    required_before, required_now = set(old.get("required", ())), set(new.get("required", ()))
    changes += [f"{path}/{name}: was removed" for name in sorted(old_fields.keys() - new_fields.keys())]
    changes += [
        f"{path}/{name}: is new and required" for name in sorted((new_fields.keys() - old_fields.keys()) & required_now)
    ]
    changes += [
        f"{path}/{name}: was always there and is now optional"
        for name in sorted((required_before - required_now) & new_fields.keys())
    ]
    for name in sorted(old_fields.keys() & new_fields.keys()):
        changes += _compare(f"{path}/{name}", old_fields[name], new_fields[name], old_definitions, new_definitions)
    if "items" in old or "items" in new:
        changes += _compare(
            f"{path}/items", old.get("items", {}), new.get("items", {}), old_definitions, new_definitions
        )
    return changes


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = definitions[reference.rpartition("/")[2]]
    return found
