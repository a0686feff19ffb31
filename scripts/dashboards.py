"""Write the Grafana dashboards into deploy/grafana/dashboards: one per service, an overview, Kafka, and the stores.

`make docs` writes them; a test fails when the files differ from what this script says. Every service's dashboard has
the same rows (requests, event flow, saturation) above those of its own business. Panels are built with Grafana's own
SDK; a panel here is a title, what it shows, its unit and its queries.
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    VariableOption,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts import services

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "grafana" / "dashboards"

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
RUNBOOKS = "docs/runbooks"

_WIRED = services.load()
SERVICES = services.NAMES
CONSUMING = tuple(one.name for one in _WIRED if one.consumers)
PUBLISHING = tuple(one.name for one in _WIRED if one.migrations)
"""The services with an outbox; that of notifications carries dead letters alone."""
RECORDING = tuple(one.name for one in _WIRED if one.events)
"""The services with facts of their own."""


@dataclass(frozen=True)
class Panel:
    """What is shown: queries by what their series are called in the legend.

    `limit` draws the line above which somebody should look; `below` turns it round. `runbooks` are the alerts that
    belong to it. A `figure` is one big number, everything else a graph over time.
    """

    title: str
    shows: str
    unit: str
    queries: dict[str, str]
    limit: float | None = None
    below: bool = False
    runbooks: tuple[str, ...] = ()
    figure: bool = False
    stacked: bool = False


Row = tuple[str, Sequence[Panel]]

OURS = 'job="lms",service="$service"'


# The rows that every service has --------------------------------------------------------------------------------------


def requests_row() -> Row:
    """Return rate, errors, duration."""
    http = "http_requests_total{" + OURS + ',route!~"/livez|/readyz|/health|/metrics"'
    duration = "http_request_duration_seconds_bucket{" + OURS + ',route!~"/livez|/readyz|/health|/metrics"'
    return "Requests", (
        Panel("Copies up", "Processes of the service that answer Prometheus.", "short",
              {"up": f"sum(up{{{OURS}}})"}, limit=1, below=True, runbooks=("ApplicationDown", "ServiceDown"), figure=True),
        Panel("Version", "What runs: more than one line during a rolling update.", "short",
              {"{{version}}": f"count by (version) (lms_build_info{{{OURS}}})"}, figure=True),
        Panel("Requests in hand", "Requests that are being answered now.", "short",
              {"{{instance}}": f"active_connections{{{OURS}}}"}),
        Panel("Rate by route", "Requests answered per second.", "reqps",
              {"{{method}} {{route}}": f"sum by (method, route) (rate({http}}}[$__rate_interval]))"}, stacked=True),
        Panel("Errors", "The share of requests that are answered with 5xx.", "percentunit",
              {"5xx": f'sum(rate({http},status_code=~"5.."}}[$__rate_interval])) / sum(rate({http}}}[$__rate_interval]))'},
              limit=0.01, runbooks=("HighErrorRate", "ErrorBudgetBurnFast")),
        Panel("Errors by route", "Requests answered with 5xx per second.", "reqps",
              {"{{method}} {{route}}":
               f'sum by (method, route) (rate({http},status_code=~"5.."}}[$__rate_interval]))'},
              limit=0.1, runbooks=("HighErrorRate",)),
        Panel("Duration", "How long answers take: half, 95 and 99 of 100 requests are faster.", "s",
              {f"p{name}": f"histogram_quantile({share}, sum by (le) (rate({duration}}}[$__rate_interval])))"
               for name, share in (("50", 0.5), ("95", 0.95), ("99", 0.99))}, limit=1.0, runbooks=("ErrorBudgetBurnFast",)),
        Panel("Duration by route", "95 of 100 requests of each route are faster.", "s",
              {"{{method}} {{route}}":
               f"histogram_quantile(0.95, sum by (le, method, route) (rate({duration}}}[$__rate_interval])))"}, limit=1.0),
    )  # fmt: skip


def outbox_row() -> Row:
    """Return commands and facts, up to Kafka."""
    return "Commands and outbox", (
        Panel("Commands", "Commands per second, by what came of them.", "ops",
              {"{{outcome}}": f"sum by (outcome) (rate(commands_total{{{OURS}}}[$__rate_interval]))"}, stacked=True,
              runbooks=("CommandConflicts",)),
        Panel("Races", "Commands decided anew per second, because another was faster or after a deadlock.", "ops",
              {"{{cause}}": f"sum by (cause) (rate(command_conflicts_total{{{OURS}}}[$__rate_interval]))",
               "answered from a stored answer": f"sum(rate(commands_replayed_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("CommandConflicts",)),
        Panel("Outbox: age of the oldest fact", "Grows while facts are not brought to Kafka.", "s",
              {"age": f"max(outbox_oldest_age_seconds{{{OURS}}})"}, limit=60, runbooks=("OutboxStuck",)),
        Panel("Outbox: facts that wait", "Facts committed and not yet on Kafka.", "short",
              {"waiting": f"max(outbox_pending_messages{{{OURS}}})"}, runbooks=("OutboxStuck",)),
        Panel("Relay", "Facts brought to Kafka per second, and attempts that failed.", "ops",
              {"published": f"sum(rate(outbox_relayed_messages_total{{{OURS}}}[$__rate_interval]))",
               "failed attempts": f"sum(rate(outbox_relay_failures_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("OutboxStuck",)),
        Panel("Copies that relay", "Exactly one copy holds the lease; none for a few seconds after one has died.", "short",
              {"copies": f"sum(outbox_relay_lease{{{OURS}}})"}, limit=1, below=True, runbooks=("OutboxStuck",), figure=True),
    )  # fmt: skip


def consumers_row() -> Row:
    """Return what comes from Kafka into the service."""
    return "Event flow", (
        Panel("Lag in seconds", "How long the oldest unread message is on Kafka.", "s",
              {"{{consumer}}": f"max by (consumer) (consumer_lag_seconds{{{OURS}}})"}, limit=30,
              runbooks=("ConsumerLagging",)),
        Panel("Lag in events", "Messages that were not read yet.", "short",
              {"{{consumer}} {{topic}}": f"max by (consumer, topic) (consumer_lag_events{{{OURS}}})"},
              runbooks=("ConsumerLagging",)),
        Panel("Events applied", "Per second and consumer.", "ops",
              {"{{consumer}}": f"sum by (consumer) (rate(consumer_events_total{{{OURS}}}[$__rate_interval]))"}),
        Panel("From commit to effect", "95 of 100 batches: the time from a fact's commit elsewhere to its effect here.", "s",
              {"{{consumer}}": "histogram_quantile(0.95, sum by (le, consumer) "
               f"(rate(projection_event_lag_seconds_bucket{{{OURS}}}[$__rate_interval])))"}, limit=5.0,
              runbooks=("ConsumerLagging",)),
        Panel("Parked keys", "Keys set aside: poison waits for a person, held and gap wait for facts.", "short",
              {"{{consumer}} {{kind}}": f"max by (consumer, kind) (consumer_parked_keys{{{OURS}}})"}, limit=1,
              runbooks=("KeysPoisoned", "KeysHeld")),
        Panel("Parked keys: the longest wait", "Since the key that waits longest was set aside.", "s",
              {"{{consumer}} {{kind}}": f"max by (consumer, kind) (consumer_parked_oldest_age_seconds{{{OURS}}})"}, limit=60,
              runbooks=("KeysHeld",)),
        Panel("Events behind parked keys", "They are applied once their key is released.", "short",
              {"{{consumer}}": f"max by (consumer) (consumer_parked_events{{{OURS}}})"}, runbooks=("KeysPoisoned",)),
        Panel("Dead letters", "Events that could never be applied, in the last hour.", "short",
              {"{{consumer}}": f"sum by (consumer) (increase(dlq_messages_total{{{OURS}}}[1h]))"}, limit=1,
              runbooks=("DeadLetters",)),
        Panel("Stopped consumers", "1 where too many keys were poisoned within five minutes.", "short",
              {"{{consumer}}": f"max by (consumer) (consumer_stopped{{{OURS}}})"}, limit=1, runbooks=("ConsumerStopped",)),
        Panel("Repetitions", "Events seen before, batches tried again, batches that another member had done: per second.", "ops",
              {"seen before": f"sum(rate(consumer_skipped_total{{{OURS}}}[$__rate_interval]))",
               "tried again": f"sum(rate(consumer_retries_total{{{OURS}}}[$__rate_interval]))",
               "fenced": f"sum(rate(consumer_fenced_total{{{OURS}}}[$__rate_interval]))",
               "not read here": f"sum(rate(consumer_unread_total{{{OURS}}}[$__rate_interval]))"}),
        Panel("Rebalances", "Assignments of partitions, in five minutes.", "short",
              {"{{consumer}}": f"sum by (consumer) (increase(consumer_rebalances_total{{{OURS}}}[5m]))"}),
    )  # fmt: skip


def soundness_row() -> Row:
    """Return facts, drift and jobs."""
    return "Facts, drift and jobs", (
        Panel("Facts", "Facts committed per second, by type.", "ops",
              {"{{type}}": f"sum by (type) (rate(events_appended_total{{{OURS}}}[$__rate_interval]))"}, stacked=True),
        Panel("Jobs", "Runs of the periodic jobs that failed, in 15 minutes.", "short",
              {"{{name}}": f'sum by (name) (increase(job_runs_total{{{OURS},outcome="failed"}}[15m]))'}, limit=1,
              runbooks=("JobFailing",)),
        Panel("Measured", "Since the gauges of this page were brought up to date.", "s",
              {"{{part}}": f"time() - max by (part) (gauges_measured_timestamp_seconds{{{OURS}}})"}, limit=120,
              runbooks=("GaugesStale",)),
        Panel("Drift", "Faults that the last verification found: 0, or somebody looks.", "short",
              {"{{check}}": f"max by (check) (drift_faults{{{OURS}}})"}, limit=1, runbooks=("ProjectionDrift",)),
        Panel("Covered by the verification", "What each check looked at.", "short",
              {"{{check}}": f"max by (check) (drift_examined{{{OURS}}})"}, runbooks=("VerificationOverdue",)),
        Panel("Last verification", "Since the oldest of the checks was made.", "s",
              {"age": f"time() - min(drift_checked_timestamp_seconds{{{OURS}}})"}, limit=49 * 3600,
              runbooks=("VerificationOverdue",), figure=True),
    )  # fmt: skip


def saturation_row(*, stores: bool) -> Row:
    """Return what runs full."""
    panels = [
        Panel("CPU", "Processor seconds per second, by copy: 1 is a whole core.", "percentunit",
              {"{{instance}}": f"rate(process_cpu_seconds_total{{{OURS}}}[$__rate_interval])"}, limit=0.8,
              runbooks=("EventLoopBlocked",)),
        Panel("Memory", "Resident memory, by copy: the supervisor restarts at 1 GB.", "bytes",
              {"{{instance}}": f"process_resident_memory_bytes{{{OURS}}}"}, limit=0.85 * 2**30,
              runbooks=("ProcessMemoryHigh",)),
        Panel("Event loop", "How late the event loop is: 99 of 100 looks are better.", "s",
              {"{{instance}}": "histogram_quantile(0.99, sum by (le, instance) "
               f"(rate(event_loop_lag_seconds_bucket{{{OURS}}}[$__rate_interval])))"}, limit=0.5,
              runbooks=("EventLoopBlocked",)),
        Panel("Open files", "The share of the limit that is used.", "percentunit",
              {"{{instance}}": f"process_open_fds{{{OURS}}} / process_max_fds{{{OURS}}}"}, limit=0.8,
              runbooks=("FileDescriptorsShort",)),
        Panel("Age of the processes", "A saw-tooth is a process that restarts again and again.", "s",
              {"{{instance}}": f"time() - process_start_time_seconds{{{OURS}}}"}, runbooks=("ProcessRestarting",)),
    ]  # fmt: skip
    if stores:
        panels += [
            Panel("Database pool", "Connections in use, idle, and the limit of all copies together.", "short",
                  {"{{state}}": f"sum by (state) (db_pool_connections{{{OURS}}})"}, runbooks=("DatabasePoolSaturated",)),
            Panel("Wait for a connection", "From asking the pool to a connection that works.", "s",
                  {f"p{name}": f"histogram_quantile({share}, sum by (le) "
                   f"(rate(db_connection_wait_seconds_bucket{{{OURS}}}[$__rate_interval])))"
                   for name, share in (("50", 0.5), ("99", 0.99))}, limit=0.25, runbooks=("DatabasePoolSaturated",)),
            Panel("Replica: age of its answers", "How old they are at most; it is left out beyond LMS_REPLICA_LAG_SECONDS.", "s",
                  {"{{instance}}": f"replica_lag_seconds{{{OURS}}}"}, limit=60, runbooks=("ReplicaBehind",)),
            Panel("Reads that may be stale", "Per second: answered by the replica, or by the primary because they had to be fresh, "
                  "the replica was behind, or it had no good answer.", "reqps",
                  {"{{outcome}}": f"sum by (outcome) (rate(replica_reads_total{{{OURS}}}[$__rate_interval]))"}, stacked=True,
                  runbooks=("ReplicaBehind",)),
        ]  # fmt: skip
    return "Saturation", panels


# What each service has of its own -------------------------------------------------------------------------------------


def cache_panel(cache: str) -> Panel:
    """Return the panel of a cache in Redis."""
    return Panel("Cache", "The share of looks into Redis that find an answer, and of those that find no Redis.", "percentunit",
                 {result: f'sum(rate(cache_lookups_total{{{OURS},cache="{cache}",result="{result}"}}[$__rate_interval]))'
                  f' / sum(rate(cache_lookups_total{{{OURS},cache="{cache}"}}[$__rate_interval]))'
                  for result in ("hit", "away")}, runbooks=("RedisDown",))  # fmt: skip


OWN: dict[str, Row] = {
    "directory": ("People", (
        Panel("Sign-ins", "Attempts with a password, per second.", "ops",
              {"{{outcome}}": f"sum by (outcome) (rate(sign_ins_total{{{OURS}}}[$__rate_interval]))"}),
        Panel("People", "Who is or was employed.", "short", {"people": f"max(directory_employees{{{OURS}}})"}, figure=True),
    )),
    "requests": ("Leave", (
        Panel("Requests by status", "Requests that came to a status, per minute.", "cpm",
              {"{{status}}": f"60 * sum by (status) (rate(leave_requests_total{{{OURS}}}[$__rate_interval]))"}, stacked=True),
        Panel("Requests by type", "New and amended requests by leave type, in an hour.", "short",
              {"{{type}}": f'sum by (type) (increase(leave_requests_total{{{OURS},status="pending"}}[1h]))'}, stacked=True),
        Panel("Corrections: lateness", "Since the oldest change of holidays that has not reached all leave.", "s",
              {"late": f"max(recharge_lateness_seconds{{{OURS}}})"}, limit=3600, runbooks=("RechargeLate",)),
        Panel("Corrections: people to do", "Whose leave is yet to be charged anew.", "short",
              {"people": f"max(recharge_remaining_people{{{OURS}}})"}, runbooks=("RechargeLate",)),
    )),
    "balances": ("Accounts", (
        Panel("Accruals: lateness", "Since the beginning of the earliest day whose accruals are not all recorded.", "s",
              {"late": f"max(accrual_lateness_seconds{{{OURS}}})"}, limit=3600, runbooks=("AccrualLate",)),
        Panel("Accruals: people to do", "For whom the run has yet to record what is due.", "short",
              {"people": f"max(accrual_remaining_people{{{OURS}}})"}, runbooks=("AccrualLate",)),
        cache_panel("balances"),
    )),
    "approvals": ("Cases", (
        Panel("Open cases", "Cases that wait for a decision.", "short", {"open": f"max(approval_cases_open{{{OURS}}})"}),
        Panel("The longest wait", "Since the oldest open case was opened.", "s",
              {"age": f"max(approval_case_oldest_age_seconds{{{OURS}}})"}),
    )),
    "audit": ("The log", (
        Panel("Chain", "1 while the log verifies against its signed checkpoints.", "short",
              {"valid": f"min(audit_chain_valid{{{OURS}}})"}, limit=1, below=True, runbooks=("AuditChainBroken",), figure=True),
        Panel("Last proof", "Since the whole log was verified.", "s",
              {"age": f"time() - max(audit_chain_proved_timestamp_seconds{{{OURS}}})"}, limit=3600,
              runbooks=("AuditProofOverdue",), figure=True),
        Panel("Records", "Facts in the log.", "short", {"records": f"max(audit_records{{{OURS}}})"}),
        Panel("Unsigned records", "Facts behind the newest signed checkpoint; signed every ten seconds.", "short",
              {"unsigned": f"max(audit_unsigned_records{{{OURS}}})"}, runbooks=("AuditProofOverdue",)),
    )),
    "notifications": ("Telling people", (
        Panel("Told", "Inbox entries and mails made, per minute.", "cpm",
              {"{{kind}} {{channel}}":
               f"60 * sum by (kind, channel) (rate(notifications_told_total{{{OURS}}}[$__rate_interval]))"}, stacked=True),
        Panel("Mails", "Attempts per minute, by what came of them.", "cpm",
              {"{{outcome}}": f"60 * sum by (outcome) (rate(notification_mails_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("MailFailed",)),
        Panel("Mails not sent", "Mails that wait, and those that were given up.", "short",
              {"{{status}}": f"max by (status) (notification_mails_unsent{{{OURS}}})"}, limit=100,
              runbooks=("MailFailed", "MailLate")),
        Panel("The oldest mail", "Since the mail was made that waits longest.", "s",
              {"age": f"max(notification_mail_oldest_age_seconds{{{OURS}}})"}, limit=1800, runbooks=("MailLate",)),
        cache_panel("unread"),
    )),
    "gateway": ("The door", (
        Panel("From outside", "1 while the probe reaches LMS the way people do.", "short",
              {"{{instance}}": 'min by (instance) (probe_success{job="probe"})'}, limit=1, below=True,
              runbooks=("GatewayUnreachable",)),
        Panel("Answer from outside", "How long the probe's request takes.", "s",
              {"{{instance}}": 'max by (instance) (probe_duration_seconds{job="probe"})'}, limit=1.0),
        Panel("Repeated requests", "Sent again to another copy, per second.", "ops",
              {"{{upstream}} {{cause}}": f"sum by (upstream, cause) (rate(gateway_retries_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("ApplicationDown",)),
        Panel("Copies left out", "Because they could not be reached, per second.", "ops",
              {"{{upstream}}": f"sum by (upstream) (rate(gateway_ejections_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("ApplicationDown",)),
        cache_panel("answers"),
        Panel("Rate limit", "Requests refused, and let through uncounted because Redis is away, per second.", "reqps",
              {"refused: {{policy}}": f"sum by (policy) (rate(gateway_rate_limited_total{{{OURS}}}[$__rate_interval]))",
               "uncounted": f"sum(rate(gateway_rate_limit_skipped_total{{{OURS}}}[$__rate_interval]))"},
              runbooks=("RedisDown",)),
    )),
}  # fmt: skip


def rows_of(service: str) -> list[Row]:
    """Return the rows of a service's dashboard."""
    rows = [requests_row(), *([OWN[service]] if service in OWN else [])]
    if service in PUBLISHING:
        rows.append(outbox_row())
    if service in CONSUMING:
        rows.append(consumers_row())
    if service in PUBLISHING:
        rows.append(soundness_row() if service in RECORDING else _without_facts(soundness_row()))
    rows.append(saturation_row(stores=service in PUBLISHING))
    return rows


def _without_facts(row: Row) -> Row:
    """Leave out what a service without facts of its own never shows."""
    return row[0], tuple(panel for panel in row[1] if panel.title != "Facts")


# The others -----------------------------------------------------------------------------------------------------------

LMS = 'job="lms",service=~"$service"'


def overview() -> list[Row]:
    """Return the rows of the page that one looks at first."""
    api = 'job="lms",service="gateway",route=~"/api/.*"'
    return [
        ("Objectives", (
            Panel("Availability, 3 days", "The share of API requests that were not answered with 5xx; objective 99.9 %.", "percentunit",
                  {"available": '1 - slo:errors:ratio_rate3d{slo="availability"}'}, limit=0.999, below=True,
                  runbooks=("ErrorBudgetBurnSlow",), figure=True),
            Panel("Fast reads, 3 days", "The share of reads answered within 250 ms; objective 99 %.", "percentunit",
                  {"fast": '1 - slo:errors:ratio_rate3d{slo="reads"}'}, limit=0.99, below=True,
                  runbooks=("ErrorBudgetBurnSlow",), figure=True),
            Panel("Freshness, 3 days", "The share of service-minutes in which no consumer was 30 s behind; objective 99 %.", "percentunit",
                  {"fresh": '1 - slo:errors:ratio_rate3d{slo="freshness"}'}, limit=0.99, below=True,
                  runbooks=("ErrorBudgetBurnSlow",), figure=True),
            Panel("Burn rate, 1 hour", "How many times too fast each budget is used: 14.4 wakes somebody.", "short",
                  {"{{slo}}": "slo:errors:ratio_rate1h / on (slo) group_left () slo:budget:ratio"}, limit=14.4,
                  runbooks=("ErrorBudgetBurnFast",)),
            Panel("Burn rate, 6 hours", "6 wakes somebody.", "short",
                  {"{{slo}}": "slo:errors:ratio_rate6h / on (slo) group_left () slo:budget:ratio"}, limit=6,
                  runbooks=("ErrorBudgetBurn",)),
            Panel("Alerts that fire", "By severity; the watchdog is always there.", "short",
                  {"{{severity}} {{alertname}}": 'count by (severity, alertname) (ALERTS{alertstate="firing"})'},
                  runbooks=("Watchdog",)),
        )),
        ("The API", (
            Panel("Rate", "Requests per second at the gateway.", "reqps",
                  {"requests": f"sum(rate(http_requests_total{{{api}}}[$__rate_interval]))"}),
            Panel("Errors", "The share answered with 5xx.", "percentunit",
                  {"5xx": f'sum(rate(http_requests_total{{{api},status_code=~"5.."}}[$__rate_interval]))'
                   f" / sum(rate(http_requests_total{{{api}}}[$__rate_interval]))"}, limit=0.01, runbooks=("HighErrorRate",)),
            Panel("Duration", "At the gateway, all methods; commands that wait by `Prefer: wait` are among them.", "s",
                  {f"p{name}": f"histogram_quantile({share}, sum by (le) "
                   f"(rate(http_request_duration_seconds_bucket{{{api}}}[$__rate_interval])))"
                   for name, share in (("50", 0.5), ("95", 0.95), ("99", 0.99))}, limit=1.0, runbooks=("ErrorBudgetBurnFast",)),
        )),
        ("Services", (
            Panel("Copies up", "By service.", "short", {"{{service}}": f"sum by (service) (up{{{LMS}}})"}, limit=1, below=True,
                  runbooks=("ServiceDown", "ApplicationDown")),
            Panel("Errors", "Requests answered with 5xx per second.", "reqps",
                  {"{{service}}": f'sum by (service) (rate(http_requests_total{{{LMS},status_code=~"5.."}}[$__rate_interval]))'},
                  limit=0.1, runbooks=("HighErrorRate",)),
            Panel("Outbox: age of the oldest fact", "By service.", "s",
                  {"{{service}}": f"max by (service) (outbox_oldest_age_seconds{{{LMS}}})"}, limit=60, runbooks=("OutboxStuck",)),
            Panel("Consumer lag", "How long the oldest unread message is on Kafka.", "s",
                  {"{{service}} {{consumer}}": f"max by (service, consumer) (consumer_lag_seconds{{{LMS}}})"}, limit=30,
                  runbooks=("ConsumerLagging",)),
            Panel("Parked keys", "Keys that wait for a person or for a fact.", "short",
                  {"{{service}} {{consumer}} {{kind}}":
                   f"max by (service, consumer, kind) (consumer_parked_keys{{{LMS}}})"}, limit=1,
                  runbooks=("KeysPoisoned", "KeysHeld")),
            Panel("Drift", "Faults of the last verification.", "short",
                  {"{{service}} {{check}}": f"max by (service, check) (drift_faults{{{LMS}}})"}, limit=1,
                  runbooks=("ProjectionDrift",)),
            Panel("Memory", "The largest copy of each service.", "bytes",
                  {"{{service}}": f"max by (service) (process_resident_memory_bytes{{{LMS}}})"}, limit=0.85 * 2**30,
                  runbooks=("ProcessMemoryHigh",)),
            Panel("CPU", "Cores in use by each service.", "short",
                  {"{{service}}": f"sum by (service) (rate(process_cpu_seconds_total{{{LMS}}}[$__rate_interval]))"}),
        )),
        ("Safety", (
            Panel("Daily back-ups", "Since the last one that succeeded, by kind.", "s",
                  {"{{kind}}": 'time() - max by (kind) (backup_last_success_timestamp_seconds{kind!~"log|lists"})'},
                  limit=26 * 3600, runbooks=("BackupTooOld", "BackupMissing")),
            Panel("Back-ups of every few minutes", "Since the last one that succeeded: what a disaster would take.", "s",
                  {"{{kind}}": 'time() - max by (kind) (backup_last_success_timestamp_seconds{kind=~"log|lists"})'},
                  limit=1800, runbooks=("BackupTooOld", "BackupMissing")),
            Panel("Certificates", "How long they are still valid.", "s",
                  {"{{instance}}": 'min by (instance) (probe_ssl_earliest_cert_expiry{job="certificate"}) - time()'},
                  limit=14 * 86400, below=True, runbooks=("CertificateExpiry", "CertificateExpired")),
            Panel("Audit log", "1 while it verifies.", "short", {"valid": 'min(audit_chain_valid{job="lms"})'}, limit=1, below=True,
                  runbooks=("AuditChainBroken",), figure=True),
            Panel("Business clock", "How far it is ahead of real time: 0 in production.", "s",
                  {"{{service}}": f"max by (service) (business_clock_offset_seconds{{{LMS}}})"}),
        )),
        ("Hosts", (
            Panel("CPU", "The share of time in which the processors work.", "percentunit",
                  {"{{instance}}": '1 - avg by (instance) (rate(node_cpu_seconds_total{job="node",mode="idle"}[$__rate_interval]))'},
                  limit=0.9),
            Panel("Memory available", "The share that processes can still have.", "percentunit",
                  {"{{instance}}": 'node_memory_MemAvailable_bytes{job="node"} / node_memory_MemTotal_bytes{job="node"}'},
                  limit=0.08, below=True, runbooks=("HostMemoryShort",)),
            Panel("Disk available", "By mount point.", "percentunit",
                  {"{{instance}} {{mountpoint}}": 'node_filesystem_avail_bytes{job="node"} / node_filesystem_size_bytes{job="node"}'},
                  limit=0.1, below=True, runbooks=("HostDiskFilling",)),
            Panel("Load", "Processes that run or want to, over five minutes.", "short", {"{{instance}}": 'node_load5{job="node"}'}),
        )),
        ("Monitoring", (
            Panel("Targets that do not answer", "By job.", "short", {"{{job}}": "count by (job) (up) - sum by (job) (up)"}, limit=1,
                  runbooks=("ExporterDown",)),
            Panel("Notifications that failed", "In ten minutes, by integration.", "short",
                  {"{{integration}}":
                   'sum by (integration) (increase(alertmanager_notifications_failed_total{job="alertmanager"}[10m]))'}, limit=1,
                  runbooks=("AlertsNotDelivered",)),
        )),
    ]  # fmt: skip


def kafka() -> list[Row]:
    """Return the rows of the broker's page; `$service` limits the consumers."""
    return [
        ("Broker", (
            Panel("Brokers up", "Those that answer Prometheus.", "short", {"up": 'sum(up{job="kafka"})'}, limit=1, below=True,
                  runbooks=("KafkaDown",), figure=True),
            Panel("Partitions without a leader", "Their keys stand still.", "short",
                  {"offline": 'max(kafka_controller_offlinepartitionscount{job="kafka"})'}, limit=1,
                  runbooks=("KafkaOfflinePartitions",), figure=True),
            Panel("Partitions that lack a replica", "By broker.", "short",
                  {"{{instance}}": 'kafka_replica_manager_underreplicatedpartitions{job="kafka"}'}, limit=1,
                  runbooks=("KafkaUnderReplicated",)),
            Panel("Controllers", "Exactly one.", "short", {"active": 'sum(kafka_controller_activecontrollercount{job="kafka"})'},
                  limit=1, below=True, runbooks=("KafkaDown",), figure=True),
            Panel("Request handlers idle", "Under 0.3 the broker is overloaded.", "percentunit",
                  {"{{instance}}": 'kafka_request_handler_idle_ratio{job="kafka"}'}, limit=0.3, below=True),
            Panel("Produce and fetch", "99 of 100 requests are faster; fetches wait for data by design.", "ms",
                  {"{{request}}": 'max by (request) (kafka_request_totaltimems{job="kafka",quantile="0.99"})'}),
            Panel("Heap", "The broker's Java heap in use.", "bytes",
                  {"{{instance}}": 'sum by (instance) (jvm_memory_used_bytes{job="kafka",area="heap"})'}),
        )),
        ("Topics", (
            Panel("Messages in", "Per second and topic.", "ops",
                  {"{{topic}}": 'sum by (topic) (rate(kafka_topic_messagesinpersec_total{job="kafka",topic!~"__.*"}[$__rate_interval]))'},
                  stacked=True),
            Panel("Bytes in and out", "Per second.", "Bps",
                  {"in": 'sum(rate(kafka_broker_bytesinpersec_total{job="kafka"}[$__rate_interval]))',
                   "out": 'sum(rate(kafka_broker_bytesoutpersec_total{job="kafka"}[$__rate_interval]))'}),
            Panel("Size", "Of the logs on disk, by topic. Facts are kept for ever.", "bytes",
                  {"{{topic}}": 'sum by (topic) (kafka_log_size_bytes{job="kafka",topic=~"leave.*|dlq.*"})'}, stacked=True,
                  runbooks=("HostDiskFilling",)),
        )),
        ("Producers and consumers", (
            Panel("Facts brought to Kafka", "By service, per second.", "ops",
                  {"{{service}}": f"sum by (service) (rate(outbox_relayed_messages_total{{{LMS}}}[$__rate_interval]))"},
                  runbooks=("OutboxStuck",)),
            Panel("Lag in events", "By consumer.", "short",
                  {"{{service}} {{consumer}}": f"sum by (service, consumer) (max by (service, consumer, topic) (consumer_lag_events{{{LMS}}}))"},
                  runbooks=("ConsumerLagging",)),
            Panel("Lag in seconds", "By consumer.", "s",
                  {"{{service}} {{consumer}}": f"max by (service, consumer) (consumer_lag_seconds{{{LMS}}})"}, limit=30,
                  runbooks=("ConsumerLagging",)),
            Panel("Rebalances", "Assignments of partitions, in five minutes.", "short",
                  {"{{service}} {{consumer}}":
                   f"sum by (service, consumer) (increase(consumer_rebalances_total{{{LMS}}}[5m]))"}),
        )),
    ]  # fmt: skip


def stores() -> list[Row]:
    """Return the rows of the page of MySQL and Redis; `$service` limits the pools."""
    return [
        ("MySQL", (
            Panel("MySQL up", "1 while the exporter can sign in.", "short", {"up": 'min(mysql_up{job="mysql"})'}, limit=1, below=True,
                  runbooks=("DatabaseDown",), figure=True),
            Panel("Connections", "Open now, and the limit.", "short",
                  {"open": 'mysql_global_status_threads_connected{job="mysql"}',
                   "limit": 'mysql_global_variables_max_connections{job="mysql"}'}, runbooks=("DatabaseConnections",)),
            Panel("Running statements", "Statements that execute at the moment of the look.", "short",
                  {"running": 'mysql_global_status_threads_running{job="mysql"}'}, limit=30, runbooks=("DatabasePoolSaturated",)),
            Panel("Statements", "Per second, by kind.", "ops",
                  {"{{command}}": 'sum by (command) (rate(mysql_global_status_commands_total{job="mysql",'
                   'command=~"select|insert|update|delete|commit|rollback"}[$__rate_interval]))'}),
            Panel("Slow statements", "Slower than long_query_time, in five minutes.", "short",
                  {"slow": 'increase(mysql_global_status_slow_queries{job="mysql"}[5m])'}, limit=10,
                  runbooks=("DatabasePoolSaturated",)),
            Panel("Waits for row locks", "Sessions that wait now, and waits per second.", "short",
                  {"wait now": 'mysql_global_status_innodb_row_lock_current_waits{job="mysql"}',
                   "per second": 'rate(mysql_global_status_innodb_row_lock_waits{job="mysql"}[$__rate_interval])'}, limit=5,
                  runbooks=("DatabasePoolSaturated",)),
            Panel("Buffer pool", "The share of reads that need the disk.", "percentunit",
                  {"from disk": 'rate(mysql_global_status_innodb_buffer_pool_reads{job="mysql"}[$__rate_interval])'
                   ' / rate(mysql_global_status_innodb_buffer_pool_read_requests{job="mysql"}[$__rate_interval])'}, limit=0.02),
            Panel("Traffic", "Bytes per second.", "Bps",
                  {"in": 'rate(mysql_global_status_bytes_received{job="mysql"}[$__rate_interval])',
                   "out": 'rate(mysql_global_status_bytes_sent{job="mysql"}[$__rate_interval])'}),
            Panel("Connections that failed", "Aborted sign-ins and broken connections, in five minutes.", "short",
                  {"sign-ins": 'increase(mysql_global_status_aborted_connects{job="mysql"}[5m])',
                   "broken": 'increase(mysql_global_status_aborted_clients{job="mysql"}[5m])'}, runbooks=("DatabaseDown",)),
        )),
        ("The services' pools", (
            Panel("Connections in use", "By service.", "short",
                  {"{{service}}": f'sum by (service) (db_pool_connections{{{LMS},state="in_use"}})'},
                  runbooks=("DatabasePoolSaturated",)),
            Panel("Wait for a connection", "99 of 100 are faster, by service.", "s",
                  {"{{service}}": "histogram_quantile(0.99, sum by (le, service) "
                   f"(rate(db_connection_wait_seconds_bucket{{{LMS}}}[$__rate_interval])))"}, limit=0.25,
                  runbooks=("DatabasePoolSaturated",)),
        )),
        ("Redis", (
            Panel("Redis up", "1 while it answers.", "short", {"up": 'min(redis_up{job="redis"})'}, limit=1, below=True,
                  runbooks=("RedisDown",), figure=True),
            Panel("Clients", "Connections now.", "short", {"clients": 'redis_connected_clients{job="redis"}'}),
            Panel("Commands", "Per second.", "ops", {"commands": 'rate(redis_commands_processed_total{job="redis"}[$__rate_interval])'}),
            Panel("Memory", "In use, and the limit.", "bytes",
                  {"used": 'redis_memory_used_bytes{job="redis"}', "limit": 'redis_memory_max_bytes{job="redis"}'}),
            Panel("Keys", "By database; evicted and expired per second.", "short",
                  {"{{db}}": 'redis_db_keys{job="redis",db="db0"}',
                   "evicted": 'rate(redis_evicted_keys_total{job="redis"}[$__rate_interval])',
                   "expired": 'rate(redis_expired_keys_total{job="redis"}[$__rate_interval])'}),
            Panel("Looks into the caches", "Per second, by cache and result.", "ops",
                  {"{{service}} {{cache}} {{result}}":
                   f"sum by (service, cache, result) (rate(cache_lookups_total{{{LMS}}}[$__rate_interval]))"}),
        )),
    ]  # fmt: skip


# Grafana's form -------------------------------------------------------------------------------------------------------

_WIDTH, _GRAPH, _FIGURE = 24, 8, 4


def built(panel: Panel) -> Any:
    """Return a panel's builder."""
    builder: Any = stat.Panel() if panel.figure else timeseries.Panel()
    builder = builder.title(panel.title).description(panel.shows).unit(panel.unit).datasource(SOURCE)
    builder = builder.height(4 if panel.figure else 7).span(_FIGURE if panel.figure else _GRAPH)
    for number, (legend, query) in enumerate(panel.queries.items()):
        target = (
            prometheus.Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + number)).datasource(SOURCE)
        )
        builder = builder.with_target(target.instant() if panel.figure else target)
    good, bad = ("red", "green") if panel.below else ("green", "red")
    steps = [Threshold(value=None, color=good)]
    if panel.limit is not None:
        steps.append(Threshold(value=panel.limit, color=bad))
    builder = builder.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.figure:
        builder = builder.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    else:
        legend_box = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        builder = builder.legend(legend_box.show_legend(show_legend=True)).fill_opacity(30 if panel.stacked else 8)
        if panel.limit is not None:
            builder = builder.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.LINE))
        if panel.stacked:
            builder = builder.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    links = [
        dashboard.DashboardLink(f"Runbook {name}").type(DashboardLinkType.LINK).url(f"$runbooks/{RUNBOOKS}/{name}.md")
        for name in panel.runbooks
    ]
    return builder.links(links) if links else builder


def page(uid: str, title: str, about: str, rows: Sequence[Row], services: Sequence[str]) -> str:
    """Return a dashboard as JSON; `services` are the choices of `$service`: one, or all and each."""
    only = len(services) == 1
    choices = dashboard.CustomVariable("service").label("Service").values(", ".join(services))
    if not only:
        choices = choices.include_all(include_all=True).all_value(".*").multi(multi=True)
    chosen, value = (services[0], services[0]) if only else ("All", "$__all")
    choices = choices.current(VariableOption(selected=True, text=chosen, value=value))
    builder = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["lms"])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(choices)
        .with_variable(dashboard.ConstantVariable("runbooks").value("https://lms.example/source"))
        .link(
            dashboard.DashboardLink("LMS")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["lms"])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=False)
            .keep_time(keep_time=True)
        )
    )
    number = itertools.count(1)
    for name, panels in rows:
        builder = builder.with_row(dashboard.Row(name).id(next(number)))
        for panel in panels:
            builder = builder.with_panel(built(panel).id(next(number)))
    return JSONEncoder(sort_keys=True, indent=2).encode(builder.build()) + "\n"


def pages() -> dict[str, str]:
    """Return every dashboard's file name and text."""
    found = {
        f"{service}.json": page(
            f"lms-{service}", f"LMS {service}", f"The service {service}: requests, event flow, saturation, its business.",
            rows_of(service), [service],
        )
        for service in SERVICES
    }  # fmt: skip
    found["overview.json"] = page("lms-overview", "LMS overview", "Where one looks first.", overview(), SERVICES)
    found["kafka.json"] = page(
        "lms-kafka", "LMS Kafka", "The broker, its topics, who writes and reads.", kafka(), SERVICES
    )
    found["stores.json"] = page(
        "lms-stores", "LMS MySQL and Redis", "The stores and how the services use them.", stores(), SERVICES
    )
    return found


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
