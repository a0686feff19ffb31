"""Check files of Config Connector resources against their models: a line for each fault, and exit code 1 with any.

Runs in the environment of `scripts/deployment-tools`, which has the models (cnrm-pydantic-models, MIT, from Google's
own definitions). A kind without a model is a fault too.
"""

import importlib
import sys
from pathlib import Path

import yaml
from pydantic import ValidationError


def faults(path: Path) -> list[str]:
    """Return what is wrong with the resources of a file."""
    found = []
    for resource in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        where = f"{path.name}: {resource['kind']} {resource['metadata']['name']}"
        try:
            model = importlib.import_module(f"cnrm_pydantic_models.{resource['kind'].lower()}").Model
        except ModuleNotFoundError:
            found.append(f"{where}: there is no model of this kind")
            continue
        try:
            model.model_validate(resource)
        except ValidationError as error:
            found += [f"{where}: {'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    return found


def main() -> int:
    """Check every file."""
    found = [one for path in sys.argv[1:] for one in faults(Path(path))]
    print("\n".join(found) if found else "every resource fits its model")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
