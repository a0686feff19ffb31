"""`make bench`: measure everything, write docs/benchmarks.md, and fail where a floor or ceiling does not hold."""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import uvloop
from redis.asyncio import Redis
from tests.load import company, door, growth, kernel, page, users
from tests.load.door import Door
from tests.load.machine import machine
from tests.load.measure import ROUNDS, Figure, Section, ceiling
from tests.load.people import People

from lms.cli.servers import KAFKA_VERSION
from lms.cli.system import SERVICES, System
from lms.kernel.garbage import collect_seldom

READY_SECONDS = 30.0
PACES = (100, 20, 5)
"""Commands a second: what the design asks for, a fifth of it, and what leaves two cores some rest."""

PACE_OF_A_CORE = 2.5
"""Commands a second that a core carries and has a half left: what is asked above that stands in a queue (ADR 0035)."""

_PARTS = ("up", "append", "project", "rebuild", "gateway", "pace", "users", "memory", "service", "growth")
_OF_SERVICES = frozenset({"gateway", "pace", "users", "memory", "service", "growth"})
_ROOT = Path(__file__).parents[2]
_TESTER = "lms_tester"
_IMPROVEMENTS = Path(__file__).with_name("improvements.md")


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds of so many seconds, people who ask, facts in a topic, requests made before."""

    rounds: int = ROUNDS
    seconds: float = 3.0
    staff: int = 300
    facts: int = 20_000
    singles: int = 300
    paced_seconds: float = 20.0
    stages: tuple[users.Stage, ...] = users.SHORT
    requests: int = 50_000
    years: int = 40


TINY = Effort(
    rounds=1,
    seconds=1.0,
    staff=20,
    facts=2_000,
    singles=20,
    paced_seconds=1.0,
    stages=(users.Stage(2, 5),),
    requests=500,
    years=20,
)
"""So little that its figures mean nothing: it shows that the bench itself works."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", action="append", default=[], choices=_PARTS, help="a part; the page is not written")
    parser.add_argument("--company", action="store_true", help="measure the company of the system in LMS_HOME")
    parser.add_argument("--load", action="store_true", help="the guide's load test, in full, on a system of its own")
    parser.add_argument("--tiny", action="store_true", help="a little of everything, for the test of the bench itself")
    parser.add_argument("--page", type=Path, default=page.PAGE, help="the page to write")
    chosen = parser.parse_args()
    if chosen.company:
        company.write(Path(os.environ.get("LMS_HOME", ".lms")), chosen.page)
        return
    parts = frozenset(chosen.only) or frozenset(_PARTS)
    effort = Effort()
    if chosen.load:
        parts, effort = frozenset({"users"}), Effort(stages=users.GUIDE)
    elif chosen.tiny:
        parts, effort = parts - {"up"}, TINY
    collect_seldom()  # as each process of a service does
    folder = Path(tempfile.mkdtemp(prefix="lms-bench-"))
    folder.chmod(0o711)
    bench = _Bench(folder, parts, effort)
    try:
        uvloop.run(bench.run())
    finally:
        bench.system.down()
        shutil.rmtree(folder, ignore_errors=True)
    if not chosen.only and not chosen.load:
        bench.write(chosen.page)
    sys.exit(1 if bench.failed() and not chosen.tiny else 0)


class _Bench:
    """One run, on a system of its own in a folder of its own."""

    def __init__(self, folder: Path, parts: frozenset[str], effort: Effort) -> None:
        self.system = System(folder, environment="test")
        self._parts = parts
        self._effort = effort
        self._folder = folder
        self._sections: list[Section] = []
        self._machine: dict[str, str] = {}
        self._began = time.monotonic()

    async def run(self) -> None:
        """Measure the parts that are asked for."""
        await self._measure("up", self._up)
        await self._start_servers()
        self._machine = machine(self._database("bench"), self._folder, KAFKA_VERSION)
        await self._kernel()
        if self._parts & _OF_SERVICES:
            await self._door()

    def failed(self) -> list[str]:
        """Say which figures are beyond their bounds, and return their names."""
        failed = [one for section in self._sections for one in section.figures if not one.holds]
        for one in failed:
            _say(f"NOT HELD: {one.name} is {page.shown(one)}")
        _say(f"{'failed' if failed else 'passed'} after {time.monotonic() - self._began:.0f} s")
        return [one.name for one in failed]

    def write(self, path: Path) -> None:
        """Write the page; its section of the company stays as it is."""
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        improvements = _IMPROVEMENTS.read_text(encoding="utf-8")
        seconds = time.monotonic() - self._began
        text = page.page(self._machine, self._sections, improvements, page.company_of(before), seconds)
        path.write_text(text, encoding="utf-8")

    async def _measure(self, part: str, work: Callable[[], Awaitable[Section]]) -> None:
        if part not in self._parts:
            return
        section = await work()
        self._sections.append(section)
        for figure in section.figures:
            mark = "" if figure.bound is None else ("  holds" if figure.holds else "  DOES NOT HOLD")
            _say(f"{figure.name}: {page.shown(figure)}{mark}   {figure.parts}")

    # Parts ----------------------------------------------------------------------------------------------------------

    async def _up(self) -> Section:
        """Time the real command: at first, with the demo company to load, and again when everything is there."""
        environment = {**os.environ, "LMS_HOME": str(self._folder)}

        def make(target: str, *arguments: str) -> float:
            began = time.monotonic()
            subprocess.run(["make", target, *arguments], cwd=_ROOT, env=environment, check=True, capture_output=True)
            return time.monotonic() - began

        def both() -> tuple[float, float]:
            first = make("up", "DETACH=1")
            make("down")
            again = make("up", "DETACH=1")
            make("down")
            return first, again

        first, again = await asyncio.to_thread(both)
        return Section(
            "Start",
            "`make up DETACH=1` with everything installed: into an empty folder (databases made, schemas migrated,"
            " topics declared, the demo company of 60 people loaded through the gateway), and again.",
            (
                Figure("make up, again", again, "s", ceiling(READY_SECONDS)),
                Figure("make up, the first time", first, "s"),
            ),
        )

    async def _start_servers(self) -> None:
        user, password = f"'{_TESTER}'@'127.0.0.1'", self.system.home.secret(f"mysql:{_TESTER}")
        self.system.extra_sql = (
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
            f"ALTER USER {user} IDENTIFIED BY '{password}';",
            f"GRANT ALL ON *.* TO {user} WITH GRANT OPTION;",
            "CREATE DATABASE IF NOT EXISTS bench;",
        )
        self.system.configure()
        await self.system.start_servers()

    def _database(self, schema: str) -> str:
        return self.system.mysql.url(_TESTER, schema)

    async def _kernel(self) -> None:
        effort = self._effort
        bench = kernel.Bench(self._database("bench"), self.system.kafka.bootstrap_servers, self._redis())
        bench.create()
        await self._measure("append", lambda: kernel.append(bench, seconds=effort.seconds, rounds=effort.rounds))
        if self._parts & {"project", "rebuild"}:
            bench.create()
            await kernel.fill_topic(bench, effort.facts)
            await self._measure(
                "project",
                lambda: kernel.project(bench, singles=effort.singles, many=effort.facts * 3 // 4, rounds=effort.rounds),
            )
        if "rebuild" in self._parts:
            bench.create()
            await kernel.fill_log(bench, effort.facts)
            await self._measure("rebuild", lambda: kernel.rebuilding(bench, effort.facts, rounds=effort.rounds))

    def _redis(self) -> str:
        return self.system.redis.url.removesuffix("/0") + "/1"

    async def _door(self) -> None:
        effort = self._effort
        seconds, rounds = effort.seconds, effort.rounds
        await self.system.prepare()
        await self.system.start_services()
        people = await asyncio.to_thread(People.employed, self.system, effort.staff)
        kernel.Bench(self._database("bench"), "", "").create()
        async with (
            door.bare(self._database("bench"), self._redis()) as url,
            Redis.from_url(self._redis()) as redis,
        ):
            way = Door(self.system, people, url, self._database(""))
            await self._measure("gateway", lambda: door.through_the_gateway(way, redis, seconds=seconds, rounds=rounds))
            for pace in PACES:
                bound = pace <= PACE_OF_A_CORE * (os.cpu_count() or 1)
                await self._measure(
                    "pace", partial(door.at_a_pace, way, pace, seconds=effort.paced_seconds, bound=bound)
                )
            await self._measure("users", lambda: users.users(way, effort.stages))
            await self._measure("memory", self._memory)
            if self._parts & {"service", "growth"}:
                await way.drain()
                self._stop_all_but("requests")
            await self._measure("service", lambda: door.post_at_service(way, seconds=seconds, rounds=rounds))
            await self._measure(
                "growth",
                lambda: growth.grown(
                    way, seconds=seconds, rounds=min(rounds, 3), requests=effort.requests, years=effort.years
                ),
            )

    def _stop_all_but(self, service: str) -> None:
        for program, state in self.system.supervisor.states().items():
            if state["pid"] and (program.split("-")[0] in SERVICES) and program != service:
                self.system.supervisor.stop_program(program)

    async def _memory(self) -> Section:
        """Look at what each process holds after all that."""
        figures = []
        for program, state in sorted(self.system.supervisor.states().items()):
            if state["pid"] and program != "memory-limit":
                used = psutil.Process(state["pid"]).memory_info().rss / 2**20
                limit = ceiling(1024) if program.split("-")[0] in SERVICES else None
                figures.append(Figure(program, used, "MiB", limit))
        return Section("Memory", "Resident memory of each process after the load above.", tuple(figures))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
