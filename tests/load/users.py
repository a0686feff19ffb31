"""The guide's load test: 100 users, then 200; 95 of 100 answers within a second, and fewer than one in 100 fails.

Each user looks at balances and requests, and every now and then asks for a day off or takes one back, with a second's
thought in between. `make load` runs the guide's stages (35 minutes), `make bench` a short form.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import orjson
from tests.load.door import Door
from tests.load.measure import Figure, Section, ceiling, floor, percentile

from lms.kernel.ids import new_id

THOUGHT_SECONDS = 1.0


@dataclass(frozen=True)
class Stage:
    """Over so many seconds the number of users changes evenly to `users`."""

    seconds: float
    users: int


GUIDE = (Stage(300, 100), Stage(600, 100), Stage(300, 200), Stage(600, 200), Stage(300, 0))
"""The production guide's stages."""

SHORT = (Stage(5, 100), Stage(10, 100), Stage(5, 200), Stage(10, 200), Stage(2, 0))


@dataclass
class Answers:
    """How long answers took, in seconds, and how many were none or refused."""

    taken: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def users(door: Door, stages: tuple[Stage, ...] = SHORT) -> Section:
    """Let users come and go by the stages."""
    answers, numbers, began = Answers(), count(), time.monotonic()
    async with aiohttp.ClientSession(door.system.url, connector=aiohttp.TCPConnector(limit=0)) as session:
        working: list[asyncio.Task[None]] = []
        for wanted in _plan(stages, began):
            while len(working) < wanted:
                working.append(asyncio.create_task(_use(door, session, answers, next(numbers))))
            while len(working) > wanted:
                working.pop().cancel()
            await asyncio.sleep(0.1)
        for one in working:
            one.cancel()
    elapsed = time.monotonic() - began
    most = max(stage.users for stage in stages)
    kinds = sorted(set(answers.failed))[:3]
    return Section(
        f"Up to {most} users",
        f"The production guide's load test over {elapsed / 60:.1f} minutes, in stages of"
        f" {', '.join(str(one.users) for one in stages)} users through the gateway, each with a second's thought"
        " between requests: balances, their list of requests, and one in ten a new request. Every answer counts.",
        (
            Figure("answers, p95", percentile(answers.taken, 0.95) * 1e3, "ms", ceiling(1000)),
            Figure("answers, p50", percentile(answers.taken, 0.50) * 1e3, "ms"),
            Figure("failed", 100 * len(answers.failed) / max(1, len(answers.taken)), "%", ceiling(1), "; ".join(kinds)),
            Figure("answers", len(answers.taken) / elapsed, "/s", floor(1), f"{len(answers.taken):,} in all"),
        ),
    )


def _plan(stages: tuple[Stage, ...], began: float) -> Iterator[int]:
    """Return, again and again, how many users there should be now, until the last stage is over."""
    users_before, start = 0, began
    for stage in stages:
        while (into := time.monotonic() - start) < stage.seconds:
            yield round(users_before + (stage.users - users_before) * into / stage.seconds)
        users_before, start = stage.users, start + stage.seconds


async def _use(door: Door, session: aiohttp.ClientSession, answers: Answers, number: int) -> None:
    """Be one user until cancelled."""
    luck = random.Random(number)  # noqa: S311  # no secret
    token = door.people.tokens[door.people.people[number % len(door.people.people)].id]
    await asyncio.sleep(luck.random() * THOUGHT_SECONDS)
    while True:
        choice = luck.random()
        if choice < 0.1:  # one in ten
            (one,) = door.people.ahead(1)
            door.people.sent(1)
            headers = {"Authorization": f"Bearer {one.token}", "Idempotency-Key": new_id()}
            await _ask(session, answers, "POST", "/api/v1/leave-requests", headers, one.body)
        else:
            path = "/api/v1/balances" if choice < 0.6 else "/api/v1/leave-requests?limit=20"
            await _ask(session, answers, "GET", path, {"Authorization": f"Bearer {token}"})
        await asyncio.sleep(THOUGHT_SECONDS)


async def _ask(
    session: aiohttp.ClientSession, answers: Answers, method: str, path: str, headers: dict[str, str], body: str = ""
) -> None:
    began = time.perf_counter()
    try:
        async with session.request(
            method, path, data=body or None, headers={**headers, "Content-Type": "application/json"}
        ) as answer:
            content = await answer.read()
            if not answer.ok:
                answers.failed.append(f"{answer.status} {orjson.loads(content).get('code', '')}")
    except (aiohttp.ClientError, TimeoutError) as error:
        answers.failed.append(type(error).__name__)
    answers.taken.append(time.perf_counter() - began)
