"""Print the gateway's OpenAPI document, made from the services' routers without starting any."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lms.gateway.openapi import whole
from lms.kernel.http import document
from scripts import services


def generate() -> dict[str, Any]:
    """Return the document that the gateway gives when every service answers."""
    documents = {one.name: document(f"LMS {one.name}", one.routers) for one in services.load() if one.routers}
    own = documents.pop("gateway")
    return whole(documents, own)


if __name__ == "__main__":
    print(json.dumps(generate(), indent=2))
