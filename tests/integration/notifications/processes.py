"""Notifications as processes of a test's own: `python processes.py worker|streams SUFFIX`.

The topics are the test's own too, and have the suffix in their names; without one they are everybody's.
"""

import asyncio
import sys
from dataclasses import replace

from lms.kernel.service import Service, run
from lms.kernel.settings import load
from lms.notifications import streams
from lms.notifications.consumers import FACTS, TELLING
from lms.notifications.main import SERVICE
from lms.notifications.settings import Settings


def service(suffix: str) -> Service:
    """Return the service on other topics than everybody's, where there is a suffix."""
    if not suffix:
        return SERVICE
    topics = tuple(f"{topic}.{suffix}" for topic in FACTS.topics)
    consumers = (replace(FACTS, topics=topics), replace(TELLING, topics=topics))
    return replace(SERVICE, name=f"notifications-{suffix}", consumers=consumers)


def streams_name(suffix: str) -> str:
    """Return the name that the streams of a test go by."""
    return f"streams-{suffix}" if suffix else streams.NAME


if __name__ == "__main__":
    part, suffix = sys.argv[1:]
    if part == "worker":
        run(service(suffix), ["--role", "worker"])
    else:
        sys.exit(asyncio.run(streams.serve(load(Settings), streams_name(suffix))))
