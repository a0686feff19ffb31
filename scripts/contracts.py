"""Write the contracts: one JSON Schema with an example for each event version, from the producers' models.

`make contracts` writes `shared/contracts/<service>/<event>.v<N>.json`; tests/contract checks that the files are what
the models say, that a released contract stays and only ever gains optional fields, and that every consumer can read
every example. `python scripts/contracts.py release` notes what stands there as released.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lms.kernel.event import Event
from lms.kernel.recovery import EXAMPLE as RESTORED
from lms.kernel.recovery import Restored
from scripts import compatibility, services

KERNEL = "kernel"
"""Whose the contract is of a fact that every service publishes."""

EVERY_TOPIC = "*"
FOLDER = Path(__file__).parents[1] / "shared" / "contracts"


def contract(service: str, topic: str, model: type[Event], example: Event) -> dict[str, Any]:
    """Return the contract of one event: its JSON Schema, the topic it travels on, and an example."""
    schema = model.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = f"{service}/{model.TYPE}.v{model.SCHEMA_VERSION}"
    schema["title"] = model.TYPE
    schema["x-topic"] = topic
    schema["examples"] = [example.model_dump(mode="json")]
    return schema


def published() -> Iterator[tuple[str, str, type[Event], Event]]:
    """Yield every event that anybody publishes: its service, its topic, its model and its example."""
    for service in services.load():
        examples = {type(example): example for example in service.examples}
        for topic, models in service.publishes.items():
            for model in models:
                if model not in examples:
                    raise LookupError(f"{service.name}: EXAMPLES in events.py lacks one for {model.__name__}; add it.")
                yield service.name, topic, model, examples[model]


def on_topics() -> Iterator[tuple[str, str, type[Event], Event]]:
    """Yield what `published` yields, and the kernel's own fact, which is on every topic."""
    yield from published()
    yield KERNEL, EVERY_TOPIC, Restored, RESTORED


def generate() -> dict[Path, str]:
    """Return the text of every contract by its path under `shared/contracts`."""
    return {
        Path(service) / f"{model.TYPE}.v{model.SCHEMA_VERSION}.json": json.dumps(
            contract(service, topic, model, example), indent=2, sort_keys=True, ensure_ascii=False
        )
        + "\n"
        for service, topic, model, example in on_topics()
    }


def kept(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Return the contracts of a folder by their ids, those of older versions too."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    return {schema["$id"]: schema for schema in schemas}


def release() -> int:
    """Note the contracts as released, unless a consumer of what was released before would trip over them."""
    changes = compatibility.broken(compatibility.released(), kept())
    if changes:
        print("Not released, for consumers would trip over it:", *changes, sep="\n", file=sys.stderr)
        return 1
    compatibility.RELEASED.write_text(compatibility.text_of(kept()), encoding="utf-8")
    print(f"{compatibility.RELEASED}: {len(kept())} contracts")
    return 0


def main() -> int:
    """Write what the models say. Files of older versions stay: their events are in the log for ever."""
    if sys.argv[1:] == ["release"]:
        return release()
    for path, text in generate().items():
        target = FOLDER / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    print(f"{FOLDER}: {sum(1 for _ in FOLDER.rglob('*.json'))} contracts")  # a command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
