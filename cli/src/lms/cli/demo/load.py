"""Sends a demo company's years through the gateway's public API, Monday by Monday.

Each person's commands go in their order, many people's at once. Before the clock moves on, whatever was asked has been
reserved or refused, and whatever was decided has come to its request; so the same company ends in the same state,
however often its load was interrupted.
"""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol, TypeVar, assert_never

from redis.asyncio import Redis

from lms.cli.demo.company import Company, Spec, made, who_signs_in
from lms.cli.demo.gateway import Answer, Gateway, LoadFailed
from lms.cli.demo.history import (
    Action,
    Adjust,
    Amend,
    Ask,
    Cancel,
    Change,
    Hours,
    Leave,
    StandIn,
    TakeOver,
    Turn,
    Verdict,
    lived,
)
from lms.cli.demo.journal import Journal
from lms.cli.demo.organisation import Organisation
from lms.kernel.clock import write_offset

AT_ONCE = 48
"""People whose commands are under way at the same time: so many that what follows of them shares transactions."""

T = TypeVar("T")

_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_PATIENCE = 600.0
_LARGEST_BULK = 100
_LARGEST_FILE = 1000
_FEW = 10
_NOON = time(12, tzinfo=UTC)
_SERVICES = ("/departments?limit=1", "/leave-requests?limit=1", "/leave-types", "/approvals?limit=1")
"""A path of each service that decides by the business clock."""
_OPEN = "/leave-requests?status=pending&status=cancellation-requested"
_NOT_KNOWN_YET = frozenset({"employee-unknown", "employee-not-found"})
"""Refusals that pass: a fact that the command rests on is still on its way to the service."""


class Progress(Protocol):
    """Hears how a load comes on."""

    def __call__(self, what: str, *, done: int = 0, total: int | None = None) -> None:
        """Hear what is being done, how many more commands were answered, and of how many in all."""
        ...


@dataclass(frozen=True)
class Target:
    """Where a company is sent: the gateway, the loader's secret, and the Redis of the business clock."""

    url: str
    loader_secret: str
    redis_url: str


@dataclass(frozen=True)
class Loaded:
    """What a load has come to: the people who can sign in, and how often each refusal was heard."""

    people: list[dict[str, Any]]
    refusals: Mapping[str, int]


async def load(target: Target, spec: Spec, journal: Journal, password: str, tell: Progress) -> Loaded:
    """Load a company, or what is left of it; harmless to repeat. Raises LoadFailed with what the gateway said.

    The business clock stands at the end of the history afterwards: at the real time, if that is today.
    """
    async with Gateway(target.url, target.loader_secret) as gateway, Redis.from_url(target.redis_url) as redis:
        finished = journal.get("loaded")
        if finished is None:
            people = await _Loader(gateway, redis, made(spec), journal, tell).run(password)
            finished = journal.note("loaded", people=people)
        return Loaded(finished["people"], journal.refusals())


class _Loader:
    """One load: who is who in the system, and the steps of a turn."""

    def __init__(self, gateway: Gateway, redis: Redis, company: Company, journal: Journal, tell: Progress) -> None:
        self._gateway = gateway
        self._redis = redis
        self._company = company
        self._name = company.spec.name
        self._journal = journal
        self._tell = tell
        self._organisation = Organisation(gateway, company, journal)
        self._ids: dict[int, str] = {}
        self._signing_in = {person.number for person in who_signs_in(company)}
        self._amended: set[str] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def run(self, password: str) -> list[dict[str, Any]]:
        """Send everything that the journal does not have yet; return the people who can sign in."""
        turns = lived(self._company)
        self._tell("the organisation", total=sum(turn.steps() for turn in turns))
        if f"turn.{turns[0].number}" not in self._journal:
            await self._set_clock(turns[0].day)
        await self._organisation.make()
        for turn in turns:
            await self._turn(turn)
        self._tell("passwords")
        people = await self._organisation.let_sign_in(self._ids, password)
        self._tell("the present")
        await self._come_to_the_present()
        return people

    async def _turn(self, turn: Turn) -> None:
        """Live one Monday; the journal knows whether it was lived to its end before."""
        for actions in turn.actions.values():
            self._amended |= {one.key for one in actions if isinstance(one, Amend)}
        over = self._journal.get(f"turn.{turn.number}")
        if over is not None:
            self._ids |= {int(number): employee_id for number, employee_id in over["joined"].items()}
            self._tell(f"{turn.day}", done=turn.steps())
            return
        self._tell(f"{turn.day}")
        await self._set_clock(turn.day)
        joined = await self._employ(turn)
        for change in turn.changes:
            await self._change(change)
        await asyncio.gather(self._accrue(turn.day), self._live(turn))
        self._journal.note(f"turn.{turn.number}", joined=joined)

    async def _live(self, turn: Turn) -> None:
        await asyncio.gather(*(self._act(actions) for actions in turn.actions.values()))
        await self._decide(turn)

    # Time ---------------------------------------------------------------------------------------------------------

    async def _set_clock(self, day: date) -> None:
        """Move the business clock, and wait until every service follows it."""
        await write_offset(self._redis, datetime.combine(day, _NOON) - datetime.now(UTC))
        await self._until_today_is(day)

    async def _until_today_is(self, day: date) -> None:
        async def follows(path: str) -> bool | None:
            dates = {await self._gateway.business_date(path) for _ in range(3)}  # copies answer in turn
            return dates == {day.isoformat()} or None

        async def wait(path: str) -> None:
            await self._until(lambda: follows(path), f"the service of {path} does not say that it is {day}")

        await asyncio.gather(*(wait(path) for path in _SERVICES))

    async def _accrue(self, day: date) -> None:
        """Have everything due by the day recorded for everybody."""
        await self._gateway.post("/accruals/run", {"through": day.isoformat()}, f"{self._name}.accruals.{day}")

        async def finished() -> str | None:
            found: str | None = (await self._gateway.get(f"/accruals/runs/{day}"))["finished_at"]
            return found

        await self._until(finished, f"the accrual run through {day} does not end")

    async def _come_to_the_present(self) -> None:
        """Let the business clock stand at the end of the history, or at the real time if that is today."""
        last, today = self._company.spec.through, datetime.now(UTC).date()
        if last < today:
            await self._set_clock(last)
        else:
            last = today
            await write_offset(self._redis, timedelta())
            await self._until_today_is(last)
        await self._accrue(last)

    async def _until(self, look: Callable[[], Awaitable[T | None]], complaint: str) -> T:
        """Return what `look` returns as soon as that is not None. Raises LoadFailed when it stays so."""
        now = asyncio.get_running_loop().time
        until = now() + _PATIENCE
        began = now()
        while (found := await look()) is None:
            if now() > until:
                raise LoadFailed(f"After {_PATIENCE:.0f} s {complaint}.")
            await asyncio.sleep(_pause_after(now() - began))
            began = now()
        return found

    # The directory ------------------------------------------------------------------------------------------------

    async def _employ(self, turn: Turn) -> dict[str, str]:
        """Import whoever joins; return their ids by number."""
        joiners = [self._company.people[number] for number in turn.joiners]
        if not joiners:
            return {}
        for start in range(0, len(joiners), _LARGEST_FILE):
            file = self._organisation.csv_of(joiners[start : start + _LARGEST_FILE], turn.day)
            await self._import(file, turn, f"{self._name}.import.{turn.number}.{start}")
        numbers = {person.email: person.number for person in joiners}
        if len(joiners) > _FEW:
            found = await self._gateway.pages("/employees?sort=name")
        else:
            found = [one for email in numbers for one in (await self._gateway.get(f"/employees?q={email}"))["items"]]
        joined = {numbers[one["email"]]: one["id"] for one in found if one["email"] in numbers}
        self._ids |= joined
        await self._choose_channels([person.number for person in joiners])
        return {str(number): employee_id for number, employee_id in joined.items()}

    async def _import(self, file: bytes, turn: Turn, key: str) -> None:
        """Import a file of people, managers before their reports."""
        staged = await self._gateway.upload("/imports/employees", file, key)
        done = 0
        while True:
            job = await self._gateway.get(f"/imports/{staged['id']}")
            self._tell(f"{turn.day}: people", done=job["done"] - done)
            done = job["done"]
            if job["status"] == "done":
                break
            await asyncio.sleep(_PAUSE)
        if job["failed"]:
            raise LoadFailed(f"{job['failed']} people could not be imported: {str(job['errors'])[:600]}")

    async def _choose_channels(self, joiners: Sequence[int]) -> None:
        """Let those who never sign in do without mail: what happened years ago would fill thousands of mailboxes."""
        kinds = (await self._gateway.get("/notifications/preferences"))["channels"]
        body = {"channels": {kind: {"email": False} for kind in kinds}}

        async def choose(person: int) -> None:
            async with self._at_once:
                await self._send("/notifications/preferences", body, f"p{person}.channels", person, method="PUT")

        without = [one for one in joiners if one not in self._signing_in]
        self._tell("", done=len(joiners) - len(without))
        await asyncio.gather(*(choose(one) for one in without))

    async def _change(self, change: Change) -> None:
        """Send what HR, or a manager, changes in the directory."""
        match change:
            case Hours(person, schedule, since):
                body = {"schedule_id": self._organisation.ids[schedule.name], "effective_from": since.isoformat()}
                await self._patch(person, body, f"p{person}.hours.{since}")
            case TakeOver(lead, successor, reports, since):
                await self._take_over(lead, successor, reports, since)
            case Leave(person, last_day):
                path = f"/employees/{self._ids[person]}/leave"
                await self._send(path, {"last_day": last_day.isoformat()}, f"p{person}.leaves", self._hr)
            case StandIn(key, manager, delegate, first_day, last_day):
                body = {
                    "delegate_id": self._ids[delegate], "first_day": first_day.isoformat(),
                    "last_day": last_day.isoformat(),
                }  # fmt: skip
                await self._send("/delegations", body, f"{key}.stand-in", manager)
            case _:
                assert_never(change)

    async def _take_over(self, lead: int, successor: int, reports: Sequence[int], since: date) -> None:
        """Give the team its new lead: the successor reports to the lead's manager first, then the others to them."""
        above = self._company.people[lead].manager
        body = {"manager_id": None if above is None else self._ids[above], "effective_from": since.isoformat()}
        await self._patch(successor, {**body, "roles": ["employee", "manager"]}, f"p{successor}.promoted")
        body["manager_id"] = self._ids[successor]
        for one in reports:
            if one != successor:
                await self._patch(one, body, f"p{one}.manager.{since}")

    @property
    def _hr(self) -> int:
        return self._company.people_partner

    def _other_than(self, person: int) -> int:
        """Return who of HR decides about somebody: never they themselves."""
        return next(one.number for one in self._company.people if "hr" in one.roles and one.number != person)

    async def _patch(self, person: int, body: dict[str, Any], key: str) -> None:
        await self._send(f"/employees/{self._ids[person]}", body, key, self._hr, method="PATCH")

    async def _send(self, path: str, body: dict[str, Any], key: str, who: int, *, method: str = "POST") -> None:
        """Send a command that must succeed as somebody, unless it was answered before."""

        async def work() -> dict[str, Any]:
            answer = await self._command(path, body, key, who, method=method)
            answer.wanted()
            return {}

        await self._journal.once(key, work)
        self._tell("", done=1)

    async def _command(self, path: str, body: Any, key: str, who: int, *, method: str = "POST") -> Answer:
        """Send a command as somebody; while the facts that it rests on are on their way, try again under another key.

        A refusal is kept under its key like any other answer, so that each attempt needs one of its own; an attempt
        that was answered before gives the same answer again, and so leads to the one that succeeded.
        """
        until = asyncio.get_running_loop().time() + _PATIENCE
        attempt = 1
        while True:
            answer = await self._gateway.send(
                path, body, f"{self._name}.{key}.{attempt}", person=self._ids[who], method=method
            )
            if answer.code not in _NOT_KNOWN_YET or asyncio.get_running_loop().time() > until:
                return answer
            attempt += 1
            await asyncio.sleep(_PAUSE * min(attempt, 10))

    # What people do -----------------------------------------------------------------------------------------------

    async def _act(self, actions: Iterable[Action]) -> None:
        """Send one person's commands in their order."""
        async with self._at_once:
            for action in actions:
                await self._do(action)
                self._tell("", done=1)

    async def _do(self, action: Action) -> None:
        match action:
            case Ask():
                await self._journal.once(action.key, lambda: self._ask(action))
            case Adjust(key, person, minutes):
                who = {"employee_id": self._ids[person], "leave_type": "comp-off"}
                body = {**who, "minutes": minutes, "reason": "Overtime"}
                adjusts = self._other_than(person)
                await self._journal.once(key, lambda: self._answered("/balances/adjustments", body, key, adjusts))
            case Amend(key, person, start, end):
                dated = {"start_date": start.isoformat(), "end_date": end.isoformat()}
                await self._on_request(key, "amend", dated, person)
            case Cancel(key, person, dates):
                days = [one.isoformat() for one in dates]
                await self._on_request(key, "cancel", {"dates": days} if days else {}, person)
            case _:
                assert_never(action)

    async def _ask(self, ask: Ask) -> dict[str, Any]:
        body: dict[str, Any] = {
            "leave_type": ask.leave_type, "start_date": ask.start.isoformat(), "end_date": ask.end.isoformat(),
            "start_part": ask.part, "end_part": ask.part, "reason": ask.reason or None,
        }  # fmt: skip
        return await self._answered("/leave-requests", body, ask.key, ask.person)

    async def _on_request(self, request: str, what: str, body: dict[str, Any], person: int) -> None:
        """Amend or cancel a request that was not refused."""
        request_id = self._journal[request].get("id")
        if request_id is None:
            return
        key = f"{request}.{what}"
        known = await self._journal.once(
            key, lambda: self._answered(f"/leave-requests/{request_id}/{what}", body, key, person)
        )
        if "id" in known:
            await self._settled(request_id)

    async def _answered(self, path: str, body: dict[str, Any], key: str, who: int) -> dict[str, Any]:
        """Send a command and return what the journal keeps of its answer: an id, or why it was refused.

        Raises LoadFailed for a refusal that breaks no rule of leave.
        """
        answer = await self._command(path, body, key, who)
        if answer.status in {409, 422}:
            return {"refused": answer.code}
        found = answer.wanted()
        return {"id": found.get("id", "")}

    # What is decided ----------------------------------------------------------------------------------------------

    @property
    def _auditor(self) -> str:
        """Who sees all requests, and no reasons."""
        return next(self._ids[one.number] for one in self._company.people if "auditor" in one.roles)

    async def _settled(self, request_id: str) -> Any:
        """Return a request once its next step, if there is one, is a person's."""

        async def look() -> Any:
            found = await self._gateway.get(f"/leave-requests/{request_id}", person=self._auditor)
            return found if found["settled"] else None

        return await self._until(look, f"the request {request_id} does not settle")

    async def _open_requests(self) -> set[str]:
        """Return the requests that wait for a decision, once each has been reserved or refused."""

        async def look() -> set[str] | None:
            found = await self._gateway.pages(_OPEN, person=self._auditor)
            return {one["id"] for one in found} if all(one["settled"] for one in found) else None

        return await self._until(look, "some requests do not settle")

    async def _decide(self, turn: Turn) -> None:
        """Let each approver decide what is due, and wait until the requests have heard of it.

        What was refused or cancelled meanwhile needs no decision.
        """
        waiting = {request_id: verdict for verdict in turn.verdicts if (request_id := self._request(verdict.key))}
        decided: set[str] = set()
        now = asyncio.get_running_loop().time
        until, began = now() + _PATIENCE, now()
        while waiting := await self._still_open(waiting):
            looked = now() - began
            due: dict[int, dict[str, Verdict]] = defaultdict(dict)
            for request_id in waiting.keys() - decided:
                due[waiting[request_id].approver][request_id] = waiting[request_id]
            found = await asyncio.gather(*(self._decide_some(approver, verdicts) for approver, verdicts in due.items()))
            decided = decided.union(*found)
            if now() > until:
                raise LoadFailed(f"{len(waiting)} decisions have nobody who is asked for them: {[*waiting][:3]}")
            await asyncio.sleep(_pause_after(looked))
            began = now()
        self._tell("", done=len(turn.verdicts))

    def _request(self, key: str) -> str:
        """Return the id of a request; nothing for one that was refused at once."""
        return str(self._journal[key].get("id", ""))

    async def _still_open(self, waiting: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """Return those of the requests about which something waits for a decision."""
        if not waiting:
            return {}
        open_requests = await self._open_requests()
        still = {request_id: verdict for request_id, verdict in waiting.items() if request_id in open_requests}
        for request_id, verdict in waiting.items():
            amended = request_id not in still and verdict.key in self._amended
            if amended and (await self._settled(request_id))["open"] is not None:
                still[request_id] = verdict
        return still

    async def _decide_some(self, approver: int, verdicts: Mapping[str, Verdict]) -> set[str]:
        """Let an approver decide those cases that have come to their inbox; return whose."""
        person = self._ids[approver]
        async with self._at_once:
            inbox = await self._gateway.pages("/approvals?status=pending", person=person)
            decisions = [
                _decision(case, verdicts[case["request_id"]]) for case in inbox if case["request_id"] in verdicts
            ]
            for start in range(0, len(decisions), _LARGEST_BULK):
                body = {"decisions": decisions[start : start + _LARGEST_BULK]}
                content = hashlib.sha256(json.dumps(body).encode()).hexdigest()[:32]
                answer = await self._gateway.post(
                    "/approvals/bulk", body, f"{self._name}.decide.{content}", person=person
                )
                for one in answer["items"]:
                    if one["code"] not in {None, "case-closed"}:  # closed: by this load, before it was interrupted
                        raise LoadFailed(f"A decision was refused: {one['code']} {one['detail']}")
        return {one["request_id"] for one in decisions}


def _pause_after(seconds: float) -> float:
    """Return how long to wait behind a look that took some seconds: looking must not slow down what it waits for."""
    return min(max(_PAUSE, 2 * seconds), _LONGEST_PAUSE)


def _decision(case: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    seen = {"request_id": case["request_id"], "revision": case["revision"]}
    if verdict.approve:
        return {**seen, "decision": "approve"}
    return {**seen, "decision": "reject", "reason": verdict.text}
