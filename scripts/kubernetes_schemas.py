"""Make the JSON Schemas that kubeconform reads: those of Kubernetes from one folder, custom resources from another.

A schema's file is `<kind>-<group>-<version>.json`, in small letters. Unknown fields are refused wherever the definition
does not say that it keeps them, as `kubectl` with strict validation does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

_RESOURCE = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object"},
}


def strict(schema: Any) -> Any:
    """Return a structural schema as a JSON Schema that refuses fields which it does not name."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: {name: strict(one) for name, one in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes-") and key != "default"
    }
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
        found.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_ended:
        found["additionalProperties"] = False
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def schemas(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schema of each version of a definition by its file name."""
    spec = definition["spec"]
    kind, group = spec["names"]["kind"].lower(), spec["group"]
    found = {}
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] = {**schema.get("properties", {}), **_RESOURCE}
        found[f"{kind}-{group}-{version['name']}.json".lower()] = schema
    return found


def core(source: Path, target: Path) -> None:
    """Copy the schemas of Kubernetes itself, so that they find each other as files beside each other."""
    for path in source.glob("*.json"):
        schema = json.loads(path.read_text(encoding="utf-8").replace('"/api/_definitions.json', '"_definitions.json'))
        schema.pop("$id", None)
        (target / path.name).write_text(json.dumps(schema), encoding="utf-8")


def main() -> int:
    """Make the schemas: KUBERNETES DEFINITIONS TARGET."""
    kubernetes, definitions, target = (Path(one) for one in sys.argv[1:])
    target.mkdir(parents=True, exist_ok=True)
    core(kubernetes, target)
    for path in sorted(definitions.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document.get("kind") == "CustomResourceDefinition":
                for name, schema in schemas(document).items():
                    (target / name).write_text(json.dumps(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
