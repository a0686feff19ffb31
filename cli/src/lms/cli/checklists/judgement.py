"""What is right and what is not, of what was seen. Pure: no I/O, and the time is given.

The limits are those of the alerts in `deploy/prometheus/rules` where there is an alert, so that a checklist and a pager
agree; how LMS must be for people says the production guide: 1 % of failures, a second at the 95th percentile.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from lms.cli.catalogue import KINDS, OFTEN
from lms.cli.rebuild import Checks

CERTIFICATE_DAYS = 14
DAILY_BACKUP_AGE, FREQUENT_BACKUP_AGE = timedelta(hours=26), timedelta(minutes=30)
"""The second is for what is stored every few minutes, and bounds what a disaster takes: binary log and lists."""

DISK_FREE, MEMORY_FREE = 0.1, 0.08
MOST_FAILURES = 0.01
SLOWEST_SECONDS = 1.0
"""The 95th percentile of the API's answers may take so long."""

WATCHDOG = "Watchdog"
"""The alert that always fires while monitoring works."""

_NAMED = 8
"""Things that a sentence names; it counts the others."""


class Outcome(StrEnum):
    """What came of a line or a check, the best first."""

    DONE = "done"
    PERSON = "left to a person"
    UNREACHABLE = "not reachable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, and why."""

    outcome: Outcome
    text: str


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return what came of a whole whose parts came out like this; of nothing, that it is left to a person."""
    order = list(Outcome)
    return max(outcomes, key=order.index, default=Outcome.PERSON)


def _verdict(faults: Sequence[str], fine: str) -> Verdict:
    """Return that something failed, naming its faults, or that it is fine."""
    if not faults:
        return Verdict(Outcome.DONE, fine)
    more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    return Verdict(Outcome.FAILED, "; ".join(faults[:_NAMED]) + more)


# The system -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Health:
    """What /health of the gateway said: `parts` by name, empty when it tells an outsider; None when it said nothing."""

    healthy: bool
    parts: Mapping[str, Mapping[str, Any]]
    error: str = ""


def health(found: Health) -> Verdict:
    """Expect every part to be up."""
    down = [f"{name} is {part['status']}" for name, part in sorted(found.parts.items()) if part["status"] != "up"]
    if found.error:
        return Verdict(Outcome.FAILED, f"the gateway does not say how it does: {found.error}")
    if not found.healthy and not down:
        return Verdict(Outcome.FAILED, "the gateway says that a part is down, and not to us which")
    return _verdict(down, f"healthy: {', '.join(sorted(found.parts)) or 'the whole, as told to an outsider'}")


def part(name: str, found: Health) -> Verdict:
    """Expect one part to be up, for whichever service uses it."""
    if found.error or name in found.parts:
        own = {name: found.parts[name]} if name in found.parts else {}
        return health(Health(own.get(name, {}).get("status") == "up", own, found.error))
    if found.healthy:
        return Verdict(Outcome.DONE, f"the whole is healthy, {name} with it")
    return Verdict(Outcome.UNREACHABLE, f"/health tells an outsider nothing of {name}; ask from a private address")


def processes(down: Sequence[str], total: int) -> Verdict:
    """Expect every process to run; `down` names those that do not, with their state."""
    if not total:
        return Verdict(Outcome.FAILED, "no process of LMS runs")
    return _verdict(down, f"{total} processes run")


def ready(reasons: Mapping[str, str | None]) -> Verdict:
    """Expect every process to take requests, which it does not with a schema behind its code; None is no reason."""
    if not reasons:
        return Verdict(Outcome.UNREACHABLE, "no process runs that could say so")
    unready = [f"{name}: {why}" for name, why in sorted(reasons.items()) if why is not None]
    return _verdict(unready, f"{len(reasons)} processes find their schema as their code wants it")


@dataclass(frozen=True, slots=True)
class Parked:
    """Keys that a consumer has set aside, of one kind."""

    service: str
    consumer: str
    kind: str
    keys: int


def parked(found: Sequence[Parked]) -> Verdict:
    """Expect no key to wait."""
    waiting = [f"{one.service} {one.consumer}: {one.keys} {one.kind}" for one in found if one.keys]
    return _verdict(waiting, "no key is parked, no event is a dead letter")


def drift(found: Checks) -> Verdict:
    """Expect every view, topic, stream and balance to be what the facts say."""
    return _faultless(found, f"{len(found)} services agree with their facts")


def audit_chain(found: Checks) -> Verdict:
    """Expect the audit log to be whole, against its signed checkpoints."""
    return _faultless({"audit": found.get("audit", [])}, "the audit log is whole")


def _faultless(found: Checks, fine: str) -> Verdict:
    if not any(found.values()):
        return Verdict(Outcome.UNREACHABLE, "nothing was verified")
    faults = [
        f"{service}, {check['name']}: {check['faults']} faults"
        for service, checks in found.items()
        for check in checks
        if check["faults"]
    ]
    return _verdict(faults, fine)


def drifted(faults: Mapping[str, float], checked_seconds_ago: float | None) -> Verdict:
    """Expect the services' last verification to be recent and without faults; `faults` by service and check."""
    if checked_seconds_ago is None:
        return Verdict(Outcome.UNREACHABLE, "no service has told of a verification")
    found = [f"{name}: {count:.0f} faults" for name, count in sorted(faults.items()) if count]
    hours = checked_seconds_ago / 3600
    if hours > 49:  # noqa: PLR2004  # the alert VerificationOverdue
        found.append(f"the last verification is {hours:.0f} h old")
    return _verdict(found, f"the last verification, {hours:.0f} h ago, found nothing")


def proven(valid: float | None) -> Verdict:
    """Expect the audit log's last proof to hold; None when it has told of none."""
    if valid is None:
        return Verdict(Outcome.UNREACHABLE, "the audit service has told of no proof")
    return _verdict([] if valid == 1 else ["the audit log does not verify"], "the audit log's last proof holds")


def error_lines(found: Mapping[str, int], hours: float) -> Verdict:
    """Expect no logged error; what they mean is for a person to say. `found` counts them by message."""
    if not found:
        return Verdict(Outcome.DONE, f"no error was logged in the last {hours:.0f} h")
    by_count = sorted(found.items(), key=lambda one: -one[1])
    told = "; ".join(f"{count} times {message!r}" for message, count in by_count[:_NAMED])
    return Verdict(Outcome.PERSON, f"{sum(found.values())} errors were logged in the last {hours:.0f} h: {told}")


def log_files(sizes: Mapping[str, int], most: int) -> Verdict:
    """Expect no log to have outgrown its rotation; `sizes` in bytes by name, with the rotated ones."""
    large = [f"{name} has {size / 1e6:.0f} MB" for name, size in sorted(sizes.items()) if size > most]
    return _verdict(large, f"{len(sizes)} logs, {sum(sizes.values()) / 1e6:.0f} MB, are rotated")


# Monitoring -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires."""

    name: str
    summary: str = ""


def alerts(firing: Collection[Alert]) -> Verdict:
    """Expect nothing to fire but the watchdog."""
    told = [f"{one.name}: {one.summary}" if one.summary else one.name for one in firing if one.name != WATCHDOG]
    return _verdict(sorted(told), "no alert fires")


def day_without_alerts(fired: Collection[str], watched_hours: float, hours: float) -> Verdict:
    """Expect nothing to have fired in so many hours, all of them watched."""
    told = sorted(set(fired) - {WATCHDOG})
    if told:
        return Verdict(Outcome.FAILED, f"fired in the last {hours:.0f} h: {', '.join(told)}")
    if watched_hours < hours:
        return Verdict(Outcome.PERSON, f"nothing has fired in the {watched_hours:.0f} h that monitoring has watched")
    return Verdict(Outcome.DONE, f"nothing has fired in {hours:.0f} h")


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What Prometheus watches: targets that do not answer, how many there are, rules by name, those that fail."""

    down: Sequence[str]
    targets: int
    rules: Collection[str]
    failing_rules: Sequence[str]


def monitored(found: Monitoring, needed: Collection[str]) -> Verdict:
    """Expect every target to be scraped, every rule that is `needed` to be loaded, and none to fail."""
    missing = sorted(set(needed) - set(found.rules))
    faults = [f"{one} is not scraped" for one in found.down] + [f"the rule {one} fails" for one in found.failing_rules]
    if missing:
        faults.append(f"rules are not loaded: {', '.join(missing[:_NAMED])}")
    if not found.targets:
        faults.append("nothing is scraped")
    return _verdict(faults, f"{found.targets} targets are scraped, {len(found.rules)} rules are loaded")


def notified(firing: Collection[Alert], failed: float | None, receivers: Collection[str]) -> Verdict:
    """Expect the watchdog at Alertmanager, and no notification to fail; `failed` is None when nobody counts."""
    faults = []
    if WATCHDOG not in {one.name for one in firing}:
        faults.append("the watchdog, which always fires, has not come to Alertmanager")
    if failed:
        faults.append(f"{failed:.0f} notifications failed in the last hour")
    if not receivers:
        faults.append("no receiver is configured")
    uncounted = "" if failed is not None else "; nobody counts those that fail"
    return _verdict(faults, f"alerts come to {', '.join(sorted(receivers))}{uncounted}")


def answering(found: Mapping[str, str | None]) -> Verdict:
    """Expect each place to answer; None is no complaint."""
    faults = [f"{name}: {why}" for name, why in sorted(found.items()) if why is not None]
    return _verdict(faults, f"{', '.join(sorted(found))} answer" + ("s" if len(found) == 1 else ""))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the gateway answered over an hour: requests and failures per second, the 95th percentile in seconds."""

    requests: float
    failures: float
    p95: float | None


def error_rate(found: Traffic) -> Verdict:
    """Expect at most 1 % of the API's requests to be answered with 5xx."""
    if not found.requests:
        return Verdict(Outcome.UNREACHABLE, "nobody has asked anything in the last hour")
    share = found.failures / found.requests
    told = f"{share:.2%} of {found.requests * 3600:.0f} requests failed in the last hour"
    return _verdict([told] if share > MOST_FAILURES else [], told)


def latency(found: Traffic) -> Verdict:
    """Expect 95 of a hundred requests to be answered within a second."""
    if found.p95 is None:
        return Verdict(Outcome.UNREACHABLE, "nobody has asked anything in the last hour")
    told = f"95 of 100 requests were answered within {found.p95 * 1000:.0f} ms"
    return _verdict([told] if found.p95 > SLOWEST_SECONDS else [], told)


# Back-ups -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backup:
    """The newest back-up of a kind."""

    kind: str
    taken_at: datetime
    tried_at: datetime | None


def backups(newest: Sequence[Backup], now: datetime) -> Verdict:
    """Expect one of each kind, none older than the alert allows."""
    by_kind = {one.kind: one for one in newest}
    faults = [f"no back-up of {kind}" for kind in KINDS if kind not in by_kind]
    faults += [
        f"{kind} is {_hours(now - one.taken_at)} old"
        for kind, one in by_kind.items()
        if now - one.taken_at > (FREQUENT_BACKUP_AGE if kind in OFTEN else DAILY_BACKUP_AGE)
    ]
    return _verdict(faults, ", ".join(f"{kind} {_hours(now - one.taken_at)} old" for kind, one in by_kind.items()))


def tried(newest: Sequence[Backup]) -> Verdict:
    """Expect the newest back-up of the databases to have been restored for a trial."""
    found = next((one for one in newest if one.kind == "database"), None)
    if found is None:
        return Verdict(Outcome.FAILED, "there is no back-up of the databases")
    if found.tried_at is None:
        return Verdict(Outcome.FAILED, "the newest back-up of the databases was never restored for a trial")
    return Verdict(
        Outcome.DONE, f"the newest back-up of the databases was restored on {found.tried_at:%Y-%m-%d %H:%M} UTC"
    )


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} h"


# Edge and host --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate that an address shows; `fault` is why a browser would not trust it."""

    address: str
    expires: datetime
    fault: str | None = None


def certificates(found: Sequence[Certificate], now: datetime) -> Verdict:
    """Expect each to be trusted, and valid for two weeks more."""
    faults = [f"{one.address} is not trusted: {one.fault}" for one in found if one.fault is not None]
    short = [one for one in found if one.expires - now < timedelta(days=CERTIFICATE_DAYS)]
    faults += [f"{one.address} expires on {one.expires:%Y-%m-%d}" for one in short]
    return _verdict(faults, ", ".join(f"{one.address} until {one.expires:%Y-%m-%d}" for one in found))


def resolved(name: str, addresses: Collection[str]) -> Verdict:
    """Expect the name to lead somewhere; whether to the right place is for a person to see."""
    if not addresses:
        return Verdict(Outcome.FAILED, f"{name} does not resolve")
    return Verdict(Outcome.PERSON, f"{name} is {', '.join(sorted(addresses))}")


def door(asked: int, refused: Sequence[str], upgraded: bool | None) -> Verdict:  # noqa: FBT001  # what was seen
    """Expect every request to be answered, and plain HTTP to be sent to HTTPS; `upgraded` is None without TLS."""
    faults = [f"{len(refused)} of {asked} requests failed: {refused[0]}"] if refused else []
    if upgraded is False:
        faults.append("plain HTTP is not sent to HTTPS")
    return _verdict(faults, f"{asked} of {asked} requests were answered")


def entrance(faults: Sequence[str]) -> Verdict:
    """Expect what everybody meets first to be as it must be."""
    return _verdict(faults, "the app is served, the API is described, and asks who one is")


def capacity(disks: Mapping[str, float], memory: float) -> Verdict:
    """Expect room: `disks` are free shares by path, `memory` is the free share of it."""
    faults = [f"{path} is {free:.0%} free" for path, free in sorted(disks.items()) if free < DISK_FREE]
    faults += [f"{memory:.0%} of the memory is left"] if memory < MEMORY_FREE else []
    least = min(disks.values(), default=1.0)
    return _verdict(faults, f"every disk is at least {least:.0%} free, {memory:.0%} of the memory is left")


OWN_PACKAGES = ("lms-", "payroll-subscriber")
"""Names of our own packages, or how they begin: no registry knows them."""


def advisories(report: Mapping[str, Any]) -> Verdict:
    """Expect no installed package to have a known weakness; `report` is pip-audit's JSON.

    A package that pip-audit could not ask about has a `skip_reason`, and it ends with 0 all the same.
    """
    packages = report["dependencies"]
    weak = [
        f"{one['name']} {one['version']}: {', '.join(known['id'] for known in one['vulns'])}"
        for one in packages
        if one.get("vulns")
    ]
    skipped = [one["name"] for one in packages if "skip_reason" in one and not one["name"].startswith(OWN_PACKAGES)]
    if skipped and not weak:
        return Verdict(Outcome.UNREACHABLE, f"pip-audit could not ask about {len(skipped)} packages: {skipped[0]}, …")
    return _verdict(weak, f"pip-audit knows of nothing against {len(packages)} packages")
