"""The services of this repository, for the scripts and tests that look at all of them."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lms.kernel.service import Service

NAMES = ("directory", "requests", "balances", "approvals", "audit", "notifications", "gateway")


def load() -> "tuple[Service, ...]":
    """Return the literal wiring of every service."""
    return tuple(importlib.import_module(f"lms.{name}.main").SERVICE for name in NAMES)
