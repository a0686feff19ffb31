"""The load generator: wrk, a C program that leaves the cores to what it measures."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 32
SCRIPT = Path(__file__).with_name("requests.lua")


class Prepared(NamedTuple):
    """A request before it is sent; no key and no body where they are empty."""

    token: str
    key: str = ""
    body: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run; `refused` counts every answer that is no success."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


class Unanswered(Exception):
    """Requests were refused or broke: the rate then measures something else."""


async def hammer(
    url: str, method: str, path: str, requests: Sequence[Prepared], *, seconds: float, connections: int = CONNECTIONS
) -> Outcome:
    """Send the requests, round and round, as fast as the answers come. Raises Unanswered if any is not a success."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as file:
        file.writelines(f"{one.token}\t{one.key or '-'}\t{one.body or '-'}\n" for one in requests)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            "wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(SCRIPT), url,
            "--", method, path, file.name,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    said = output.decode()
    found = next((line for line in said.splitlines() if line.startswith("RESULT ")), None)
    if found is None:
        raise Unanswered(f"wrk said nothing of use: {said[-800:]}")
    outcome = Outcome(**json.loads(found.removeprefix("RESULT ")))
    if outcome.refused or outcome.broken or not outcome.requests:
        raise Unanswered(f"{method} {path}: {outcome}")
    return outcome
