"""The production guide's checklists, line by line in its order, and what a machine can do of each.

A line is as good as the worst of its checks; what is left to a person is said where there is something, and the page
tells how. A line that a machine answers wholly is done when its checks are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lms.cli.checklists import judgement as judge
from lms.cli.checklists.judgement import Outcome, Verdict, worst
from lms.cli.checklists.looks import ERROR_HOURS, LOG_BYTES, Away, Looks


class Name(StrEnum):
    """The guide's lists: three around a release, four that come again."""

    PRE_DEPLOY = "pre-deploy"
    GO_LIVE = "go-live"
    POST_DEPLOY = "post-deploy"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


WATCH_HOURS = 24.0
"""So long a new release is watched."""

Check = Callable[[Looks], Verdict]
"""Looks and judges; raises Away when it cannot look. Its name is the function's."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the guide; `checks` are the machine's part, `person` what is left to one, `page` tells how."""

    text: str
    page: str
    checks: tuple[Check, ...] = ()
    person: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a line, by the names of its checks."""

    line: Line
    outcome: Outcome
    verdicts: Mapping[str, Verdict]

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return {
            "line": self.line.text,
            "outcome": self.outcome,
            "checks": {name: {"outcome": one.outcome, "text": one.text} for name, one in self.verdicts.items()},
            "person": self.line.person,
            "page": self.line.page,
        }


def run(lines: Sequence[Line], looks: Looks) -> list[Result]:
    """Do what a machine can do of the lines; each check is made once, however many lines want it."""
    made: dict[Check, Verdict] = {}
    for check in dict.fromkeys(check for line in lines for check in line.checks):
        try:
            made[check] = check(looks)
        except Away as error:
            made[check] = Verdict(Outcome.UNREACHABLE, str(error))
    return [result_of(line, {name_of(check): made[check] for check in line.checks}) for line in lines]


def result_of(line: Line, verdicts: Mapping[str, Verdict]) -> Result:
    """Return what came of a line whose checks came out like this."""
    left = [Outcome.PERSON] if line.person else []
    return Result(line, worst([*(one.outcome for one in verdicts.values()), *left]), verdicts)


def name_of(check: Check) -> str:
    """Return what a check is called."""
    return check.__name__.replace("_", " ")


# Checks ---------------------------------------------------------------------------------------------------------------


def health(looks: Looks) -> Verdict:
    """Check that every part is up."""
    return judge.health(looks.health)


def database(looks: Looks) -> Verdict:
    """Check that every service reaches its database."""
    return judge.part("database", looks.health)


def cache(looks: Looks) -> Verdict:
    """Check that every service reaches Redis."""
    return judge.part("redis", looks.health)


def broker(looks: Looks) -> Verdict:
    """Check that every service reaches Kafka."""
    return judge.part("kafka", looks.health)


def mail(looks: Looks) -> Verdict:
    """Check that the mail server takes mail."""
    return judge.part("email", looks.health)


def processes(looks: Looks) -> Verdict:
    """Check that every process runs."""
    down = [f"{name} is {state}" for name, state in looks.states.items() if state != "running"]
    return judge.processes(down, len(looks.states))


def schemas(looks: Looks) -> Verdict:
    """Check that every migration is applied."""
    return judge.ready(looks.readiness)


def parked(looks: Looks) -> Verdict:
    """Check that no key is parked, no event is a dead letter."""
    return judge.parked(looks.parked)


def drift(looks: Looks) -> Verdict:
    """Check that every view, topic and balance agrees with the facts: verified now in a home, else last told of."""
    if looks.home is None:
        return judge.drifted(*looks.last_verification)
    return judge.drift(looks.verification)


def audit_chain(looks: Looks) -> Verdict:
    """Check that the audit log is whole: proven now in a home, last told of elsewhere."""
    return judge.proven(looks.audit_proof) if looks.home is None else judge.audit_chain(looks.verification)


def errors_logged(looks: Looks) -> Verdict:
    """Check that no error was logged lately."""
    return judge.error_lines(looks.errors, ERROR_HOURS)


def log_files(looks: Looks) -> Verdict:
    """Check that old lines are gone."""
    return judge.log_files(looks.log_sizes, LOG_BYTES)


def alerts(looks: Looks) -> Verdict:
    """Check that no alert fires."""
    return judge.alerts(looks.firing)


def quiet_day(looks: Looks) -> Verdict:
    """Check that no alert has fired for a day of watching."""
    fired, watched = looks.fired(WATCH_HOURS)
    return judge.day_without_alerts(fired, watched, WATCH_HOURS)


def monitoring(looks: Looks) -> Verdict:
    """Check that everything is scraped, and every rule is loaded."""
    return judge.monitored(looks.monitoring, looks.needed_rules())


def notifications(looks: Looks) -> Verdict:
    """Check that alerts come to Alertmanager, and from there to receivers."""
    return judge.notified(looks.firing, looks.failed_notifications, looks.receivers)


def dashboards(looks: Looks) -> Verdict:
    """Check that prometheus and Grafana answer."""
    return judge.answering(looks.dashboards)


def error_rate(looks: Looks) -> Verdict:
    """Check that few requests fail."""
    return judge.error_rate(looks.traffic)


def latency(looks: Looks) -> Verdict:
    """Check that answers come soon."""
    return judge.latency(looks.traffic)


def backups(looks: Looks) -> Verdict:
    """Check that there is a recent back-up of everything."""
    return judge.backups(looks.backups, datetime.now(UTC))


def trial_restore(looks: Looks) -> Verdict:
    """Check that the newest back-up was restored for a trial."""
    return judge.tried(looks.backups)


def certificates(looks: Looks) -> Verdict:
    """Check that certificates are trusted and valid for a while."""
    return judge.certificates(looks.shown_certificates, datetime.now(UTC))


def name(looks: Looks) -> Verdict:
    """Check that the name leads somewhere."""
    return judge.resolved(*looks.name)


def door(looks: Looks) -> Verdict:
    """Check that requests come through."""
    return judge.door(*looks.door)


def entrance(looks: Looks) -> Verdict:
    """Check that what everybody meets first is there."""
    return judge.entrance(looks.entrance)


def room(looks: Looks) -> Verdict:
    """Check that there is disk and memory."""
    return judge.capacity(*looks.room)


def weaknesses(looks: Looks) -> Verdict:
    """Check that no dependency has a known weakness."""
    return judge.advisories(looks.scan)


# The lists ------------------------------------------------------------------------------------------------------------

_SCANS = "read what your scanners of images and hosts have found, and `npm audit` in web/"
_WORKFLOWS = (
    "sign in, ask for a day, have it approved, see balance and mail, cancel it; in production with a test person"
)

CHECKLISTS: Mapping[Name, tuple[Line, ...]] = {
    Name.PRE_DEPLOY: (
        Line("All tests passing (unit, integration, E2E)", "CONTRIBUTING.md",
             person="see that `.ci/run` and `make test-slow` passed on the commit of this release"),
        Line("Security scan results reviewed", "docs/hardening.md", (weaknesses,), _SCANS),
        Line("Performance benchmarks met", "CONTRIBUTING.md",
             person="run `make bench` and `make load`: they fail where a floor does not hold"),
        Line("Database migrations tested", "docs/papers/change-management.md", (schemas,),
             "see that tests/faults/test_upgrade.py passed: the old version under load on the new schema"),
        Line("SSL certificates installed and verified", "docs/runbooks/CertificateExpiry.md", (certificates,)),
        Line("Monitoring and alerting configured", "docs/operations.md#monitoring", (monitoring, notifications)),
        Line("Backup procedures tested", "docs/recovery.md#the-drill", (backups, trial_restore),
             "run `lms drill` and keep what it prints"),
        Line("Documentation updated", "docs/papers/change-management.md",
             person="see that CHANGELOG.md and the pages say what this release changes"),
        Line("Team training completed", "docs/runbooks/README.md",
             person="whoever is on call has walked from an alert to its cause by the runbooks"),
    ),
    Name.GO_LIVE: (
        Line("DNS records updated", "docs/edge.md#geographic-balancing", (name,)),
        Line("Load balancer configured", "docs/edge.md", (door,)),
        Line("SSL certificates active", "docs/runbooks/CertificateExpired.md", (certificates,)),
        Line("Application deployed and healthy", "docs/deployment.md", (health, processes, schemas)),
        Line("Database connections verified", "docs/runbooks/DatabaseDown.md", (database,)),
        Line("Cache services running", "docs/runbooks/RedisDown.md", (cache,)),
        Line("Monitoring dashboards accessible", "docs/operations.md#monitoring", (dashboards,)),
        Line("Alert notifications working", "docs/runbooks/AlertsNotDelivered.md", (notifications,),
             "send a test alert with `amtool alert add` and see it come to each receiver"),
        Line("Smoke tests passed", "docs/operations.md#health-and-metrics", (entrance, drift, audit_chain), _WORKFLOWS),
        Line("Performance within acceptable limits", "docs/runbooks/ErrorBudgetBurn.md", (error_rate, latency)),
    ),
    Name.POST_DEPLOY: (
        Line("Monitor system for 24 hours", "docs/operations.md#monitoring", (quiet_day,)),
        Line("Verify all integrations working", "docs/payroll.md", (mail, broker, parked),
             "ask the payroll team whether the control totals of its last month agree"),
        Line("Check error rates and performance", "docs/runbooks/HighErrorRate.md",
             (error_rate, latency, errors_logged)),
        Line("Validate user workflows", "docs/web.md", (entrance,), _WORKFLOWS),
        Line("Update runbooks if needed", "docs/runbooks/README.md",
             person="write down what was not there when somebody looked for it"),
        Line("Schedule first backup verification", "docs/recovery.md#the-drill", (trial_restore,),
             "put the monthly `lms drill` into the calendar, with a name"),
        Line("Plan first maintenance window", "docs/operations.md#maintenance",
             person="agree on the hour with HR and payroll; `lms maintenance run -- COMMAND` keeps it"),
        Line("Document lessons learned", "docs/papers/change-management.md",
             person="note what surprised you, and what changes because of it"),
    ),
    Name.DAILY: (
        Line("Check system health dashboards", "docs/operations.md#health-and-metrics",
             (health, processes, drift, audit_chain)),
        Line("Review error logs and alerts", "docs/runbooks/log-analysis.md", (alerts, parked, errors_logged)),
        Line("Monitor performance metrics", "docs/runbooks/ErrorBudgetBurn.md", (error_rate, latency)),
        Line("Verify backup completion", "docs/runbooks/BackupTooOld.md", (backups, trial_restore)),
        Line("Check SSL certificate status", "docs/runbooks/CertificateExpiry.md", (certificates,)),
    ),
    Name.WEEKLY: (
        Line("Review security scan results", "docs/hardening.md", (weaknesses,), _SCANS),
        Line("Analyze performance trends", "docs/operations.md#monitoring", (error_rate, latency),
             "compare the weeks in the dashboard `LMS overview`"),
        Line("Update dependency vulnerabilities", "docs/papers/change-management.md", (weaknesses,),
             "raise what has a weakness: `uv lock --upgrade-package NAME`, then `.ci/run`"),
        Line("Review system capacity", "docs/deployment.md#sizing", (room,)),
        Line("Clean up old log files", "docs/operations.md#logs", (log_files,)),
    ),
    Name.MONTHLY: (
        Line("Update system packages", "docs/hardening.md#the-host",
             person="upgrade hosts and base images, one host at a time"),
        Line("Review and update monitoring thresholds", "docs/operations.md#monitoring", (monitoring,),
             "look at what fired without cause, and at what should have fired"),
        Line("Conduct disaster recovery test", "docs/recovery.md#the-drill", (backups, trial_restore),
             "run `lms drill --host-lost`; compare its recovery time and point with the aims"),
        Line("Review access controls and permissions", "docs/hardening.md#accounts",
             person="go through roles, service accounts, database users and who may reach hosts"),
        Line("Update documentation", "docs/papers/change-management.md",
             person="mend the pages that were wrong this month"),
    ),
    Name.QUARTERLY: (
        Line("Security audit and penetration testing", "docs/papers/soc2.md", (audit_chain,),
             "have somebody from outside try; their findings become issues"),
        Line("Capacity planning review", "docs/deployment.md#sizing", (room,),
             "compare people, facts and disk with last quarter's; look half a year ahead"),
        Line("Business continuity plan update", "docs/papers/business-continuity.md",
             person="read the plan against what has changed; check the telephone numbers"),
        Line("Performance optimization review", "docs/runbooks/slow-queries.md", (error_rate, latency),
             "run `make bench`; read the slow log; decide on the worst"),
        Line("Update incident response procedures", "docs/papers/incident-response.md",
             person="walk through one incident of the quarter by the paper, and mend the paper"),
    ),
}  # fmt: skip
