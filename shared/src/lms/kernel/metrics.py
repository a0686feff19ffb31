"""Every metric of the kernel, in one place. Units stand in the names: seconds, else a count.

`deploy/metrics.yaml` lists these and the services' own with what they mean; a test compares. Labels never hold ids,
keys or anything of a person, and take few values: `route` is the route's template, `consumer`, `check` and `job` are
names from the code, and whatever comes from outside passes `Few`. Which service a series is of says the scraper's
label `service`, so that no metric has a label of that name.

A counter that nothing has happened to must read 0, not be absent: `announce` makes every series whose labels are known
when the process starts.
"""

from collections.abc import Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began doubles the series and tells nothing

OTHER = "other"
"""What a label says of values that are not told apart."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Few:
    """Lets the first `limit` values of a label through as they are and calls every later one `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        """Return what the label says of a value."""
        if value not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(value)
        return value


HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "From the first byte of a request to the last of its answer",
    ("method", "route", "status_code"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ("method", "route", "status_code"))
ACTIVE_CONNECTIONS = Gauge("active_connections", "Requests being answered now")
EVENT_LOOP_LAG = Histogram(
    "event_loop_lag_seconds",
    "How late the event loop runs what is due, looked at twice a second",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)

DB_POOL_CONNECTIONS = Gauge("db_pool_connections", "Connections of the database pool", ("state",))
DB_CONNECTION_WAIT = Histogram(
    "db_connection_wait_seconds",
    "From asking the pool for a connection to having one that works",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
REPLICA_LAG = Gauge("replica_lag_seconds", "Age of what the replica is known to show; 0 where there is no replica")
REPLICA_READS = Counter("replica_reads_total", "Reads that may be stale, by what became of them", ("outcome",))
CACHE_LOOKUPS = Counter("cache_lookups_total", "Looks into Redis before an answer is computed", ("cache", "result"))

COMMANDS = Counter("commands_total", "Commands and what came of them", ("outcome",))
COMMAND_CONFLICTS = Counter(
    "command_conflicts_total", "Commands decided anew because another was faster, or after a deadlock", ("cause",)
)
COMMANDS_REPLAYED = Counter(
    "commands_replayed_total", "Commands answered from a stored answer to the same idempotency key"
)
EVENTS_APPENDED = Counter("events_appended_total", "Facts committed to the log by this process", ("type",))

OUTBOX_PENDING = Gauge("outbox_pending_messages", "Facts committed and not yet on Kafka")
OUTBOX_OLDEST_AGE = Gauge("outbox_oldest_age_seconds", "Age of the oldest fact not yet on Kafka")
RELAYED = Counter("outbox_relayed_messages_total", "Facts brought to Kafka")
RELAY_FAILURES = Counter("outbox_relay_failures_total", "Attempts to publish that failed and are repeated")
RELAY_LEASE = Gauge("outbox_relay_lease", "1 while this copy is the one that relays the outbox, else 0")

PROJECTION_LAG = Histogram(
    "projection_event_lag_seconds",
    "From an event's commit to its effect here; of a batch, that of its last event",
    ("consumer",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
PROJECTION_POSITION = Gauge(
    "projection_position", "The next offset that a consumer will apply", ("consumer", "topic", "partition")
)
CONSUMED = Counter("consumer_events_total", "Events applied", ("consumer",))
CONSUMER_SKIPPED = Counter(
    "consumer_skipped_total", "Events not applied because their stream version was seen before", ("consumer",)
)
CONSUMER_REBALANCES = Counter("consumer_rebalances_total", "Assignments of partitions received", ("consumer",))
CONSUMER_FENCED = Counter(
    "consumer_fenced_total", "Batches rolled back because another member moved the offset", ("consumer",)
)
CONSUMER_RETRIES = Counter("consumer_retries_total", "Batches tried again after a passing failure", ("consumer",))
CONSUMER_UNREAD = Counter(
    "consumer_unread_total",
    "Events passed over because the consumer does not read their type or version",
    ("consumer",),
)
CONSUMER_LAG = Gauge(
    "consumer_lag_events", "Messages in the topic after where the consumer stands", ("consumer", "topic")
)
CONSUMER_LAG_SECONDS = Gauge(
    "consumer_lag_seconds", "How long the oldest message that the consumer has not read is on Kafka", ("consumer",)
)
CONSUMER_STOPPED = Gauge(
    "consumer_stopped", "1 once the consumer has stopped because too many keys were poisoned, else 0", ("consumer",)
)
PARKED_KEYS = Gauge("consumer_parked_keys", "Keys set aside, by why they wait", ("consumer", "kind"))
PARKED_EVENTS = Gauge("consumer_parked_events", "Events that wait under parked keys", ("consumer",))
PARKED_OLDEST_AGE = Gauge(
    "consumer_parked_oldest_age_seconds", "How long the key set aside longest waits", ("consumer", "kind")
)
DLQ_MESSAGES = Counter("dlq_messages_total", "Events sent to a dead-letter topic", ("consumer",))

DRIFT_FAULTS = Gauge("drift_faults", "Faults that the last verification found", ("check",))
DRIFT_EXAMINED = Gauge("drift_examined", "What the last verification looked at", ("check",))
DRIFT_CHECKED = Gauge("drift_checked_timestamp_seconds", "When the last verification made the check", ("check",))

JOB_RUNS = Counter("job_runs_total", "Runs of a periodic job by this copy", ("name", "outcome"))
GAUGES_MEASURED = Gauge(
    "gauges_measured_timestamp_seconds", "When this copy last brought its gauges of a store up to date", ("part",)
)

CLOCK_OFFSET = Gauge("business_clock_offset_seconds", "How far the business clock is ahead of real time")
BUILD = Gauge("lms_build_info", "Constant 1; the label says what runs", ("version",))


def announce_routes(routes: Iterable[tuple[str, str]]) -> None:
    """Let the failures of each (method, route) read 0 until there is one."""
    for method, route in routes:
        HTTP_REQUESTS.labels(method, route, "500")


def announce_commands(event_types: Iterable[str], jobs: Iterable[str]) -> None:
    """Let what a service with a log counts read 0 until it happens."""
    for outcome in ("done", "refused", "conflict", "failed"):
        COMMANDS.labels(outcome)
    for cause in ("race", "deadlock"):
        COMMAND_CONFLICTS.labels(cause)
    for event_type in event_types:
        EVENTS_APPENDED.labels(event_type)
    for job in jobs:
        for outcome in ("done", "failed"):
            JOB_RUNS.labels(job, outcome)


def announce_replica() -> None:
    """Let what became of reads that a replica might answer read 0 until there is one."""
    for outcome in ("replica", "fresh", "behind", "again"):
        REPLICA_READS.labels(outcome)


def announce_consumer(consumer: str) -> None:
    """Let what a consumer counts read 0 until it happens."""
    for metric in (
        CONSUMED, CONSUMER_SKIPPED, CONSUMER_REBALANCES, CONSUMER_FENCED, CONSUMER_RETRIES, CONSUMER_UNREAD,
        DLQ_MESSAGES, CONSUMER_STOPPED, PROJECTION_LAG,
    ):  # fmt: skip
        metric.labels(consumer)


def announce_cache(cache: str) -> None:
    """Let the lookups of a cache read 0 until there is one."""
    for result in ("hit", "miss", "away"):
        CACHE_LOOKUPS.labels(cache, result)


def exposition() -> tuple[bytes, str]:
    """Return every metric in Prometheus's text format, with its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
