"""What may change in a released contract: only optional fields may be added.

`tests/contract/released.json` holds the contracts as they were last released. The version of an event that is not there
yet may still change; what is there stays for ever, for it is in the log and on the topics of whoever runs LMS.
`python scripts/contracts.py release` moves it, and refuses what would break a consumer.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RELEASED = Path(__file__).parents[1] / "tests" / "contract" / "released.json"

_WORDS = ("type", "format", "const", "enum", "x-topic")
_SAID = frozenset({"title", "description", "examples"})
"""What of a schema is for people, and may change at any time."""

Contracts = Mapping[str, dict[str, Any]]
"""Contracts by their ids, such as `directory/department.created.v1`."""


def released() -> dict[str, dict[str, Any]]:
    """Return the contracts as they were last released."""
    found: dict[str, dict[str, Any]] = json.loads(RELEASED.read_text(encoding="utf-8"))
    return found


def text_of(contracts: Contracts) -> str:
    """Return the file of released contracts: one a line, without what is said for people."""
    lines = [
        f"{json.dumps(name)}: {json.dumps(_bare(contracts[name]), sort_keys=True, ensure_ascii=False)}"
        for name in sorted(contracts)
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def broken(before: Contracts, now: Contracts) -> list[str]:
    """Return what a consumer of the contracts of before would trip over now; empty when nothing."""
    found = []
    for name, contract in before.items():
        if name in now:
            found += [f"{name}: {change}" for change in breaking_changes(contract, now[name])]
        else:
            found.append(f"{name}: is gone")
    return found


def _bare(schema: Any, *, named: bool = False) -> Any:
    """Return a schema without what is said for people; `named`: its words are the names of fields."""
    match schema:
        case dict():
            return {
                word: _bare(value, named=word in {"properties", "$defs"} and not named)
                for word, value in schema.items()
                if named or word not in _SAID
            }
        case list():
            return [_bare(one) for one in schema]
        case _:
            return schema


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
        for word in _WORDS
        if old.get(word) != new.get(word)
    ]
    choices, choices_now = old.get("anyOf", []), new.get("anyOf", [])
    if len(choices) != len(choices_now):
        changes.append(f"{path or '/'}: the alternatives (anyOf) changed")
    else:
        for one, one_now in zip(choices, choices_now, strict=True):
            changes += _compare(path, one, one_now, old_definitions, new_definitions)
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
    for word in ("items", "additionalProperties"):
        part, part_now = old.get(word), new.get(word)
        if isinstance(part, dict) and isinstance(part_now, dict):
            changes += _compare(f"{path}/{word}", part, part_now, old_definitions, new_definitions)
        elif part != part_now:
            changes.append(f"{path or '/'}: {word} was {part!r}, is {part_now!r}")
    return changes


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = definitions[reference.rpartition("/")[2]]
    return found
