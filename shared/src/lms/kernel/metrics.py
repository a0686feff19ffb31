"""Every metric of the kernel, in one place. Units stand in the names: seconds, else a count.

Labels never hold ids, keys or anything of a person: `route` is the route's template, `consumer` and `view` are names
from the code.
"""

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "From the first byte of a request to the last of its answer",
    ("method", "route", "status_code"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ("method", "route", "status_code"))
ACTIVE_CONNECTIONS = Gauge("active_connections", "Requests being answered now")
DB_POOL_CONNECTIONS = Gauge("db_pool_connections", "Connections of the database pool", ("state",))

COMMAND_CONFLICTS = Counter(
    "command_conflicts_total", "Commands decided anew because another was faster, or after a deadlock"
)
COMMANDS_REPLAYED = Counter(
    "commands_replayed_total", "Commands answered from a stored answer to the same idempotency key"
)

OUTBOX_PENDING = Gauge("outbox_pending_messages", "Facts committed and not yet on Kafka", ("service",))
OUTBOX_OLDEST_AGE = Gauge("outbox_oldest_age_seconds", "Age of the oldest fact not yet on Kafka", ("service",))
RELAYED = Counter("outbox_relayed_messages_total", "Facts brought to Kafka", ("service",))

PROJECTION_LAG = Gauge(
    "projection_event_lag_seconds", "Age of the event applied last, when it was applied", ("consumer",)
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
PARKED_KEYS = Gauge("consumer_parked_keys", "Keys set aside, by why they wait", ("consumer", "kind"))
CONSUMER_LAG = Gauge(
    "consumer_lag_events", "Messages in the topic after the offset", ("consumer", "topic", "partition")
)
CONSUMER_UNREAD = Counter(
    "consumer_unread_total",
    "Events passed over because the consumer does not read their type or version",
    ("consumer",),
)
HELD_OLDEST_AGE = Gauge(
    "consumer_held_oldest_age_seconds", "How long the longest held key waits for a fact", ("consumer",)
)
DLQ_MESSAGES = Counter("dlq_messages_total", "Events sent to a dead-letter topic", ("consumer",))

CLOCK_OFFSET = Gauge("business_clock_offset_seconds", "How far the business clock is ahead of real time")
CLOCK_STALE = Gauge("business_clock_stale", "1 while the clock's offset could not be read for 5 seconds or more")
BUILD = Gauge("lms_build_info", "Constant 1; the labels say what runs", ("service", "version"))


def exposition() -> tuple[bytes, str]:
    """Return every metric in Prometheus's text format, with its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
