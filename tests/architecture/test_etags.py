"""An ETag is the version of a stream: the view that gives it follows every fact of the stream.

A command compares If-Match with the stream itself. A fact that the view passes over would leave the view's version
behind, and every change by the ETag just read would be refused, for ever.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from inspect import signature
from typing import Any, ClassVar, get_args, get_type_hints

import pytest
from scripts import services

from lms.directory.decider.department import DEPARTMENT
from lms.directory.events import DepartmentRenamed
from lms.directory.projections.departments import Departments, departments
from lms.kernel.decider import Decider
from lms.kernel.event import Envelope, Event
from lms.kernel.projection import Delete, Projection, Update, Write
from lms.kernel.service import Service

SERVICES = {one.name: one for one in services.load()}


def events_of(decider: Decider[Any, Any, Any]) -> tuple[type[Event], ...]:
    """Return the facts of a decider's streams: those that its `evolve` says it folds."""
    _, folded = signature(decider.evolve).parameters
    hint = get_type_hints(decider.evolve)[folded]
    return get_args(hint) or (hint,)


def gives_etags(view: type[Projection]) -> bool:
    """Say whether a view holds versions of streams; where they are part of the key, its rows are facts that stay."""
    return any("version" in table.c and not table.c.version.primary_key for table in view.tables)


def views_of_streams(service: Service) -> Iterator[tuple[Decider[Any, Any, Any], type[Projection]]]:
    """Yield each inline view that gives ETags, with each decider of whose streams it reads anything."""
    for decider in service.deciders:
        for view in service.inline:
            if gives_etags(view) and any(event in view.handlers for event in events_of(decider)):
                yield decider, view


def version_written(writes: Iterable[Write]) -> set[Any]:
    """Return every version that some writes put into rows."""
    values = [
        write.values if isinstance(write, Update) else write.row for write in writes if not isinstance(write, Delete)
    ]
    return {row["version"] for row in values if "version" in row}


def left_behind_by(decider: Decider[Any, Any, Any], view: type[Projection], examples: Iterable[Event]) -> list[str]:
    """Return the facts after which the view's version is not that of the stream."""
    example_of = {type(example): example for example in examples}
    found = []
    for event in events_of(decider):
        example, handler = example_of[event], view.handlers.get(event)
        at = getattr(example, "version", 7)  # a policy's own version is its stream's
        if handler is None or at not in version_written(handler(example, envelope_of(example, at))):
            found.append(event.__name__)
    return found


def envelope_of(event: Event, version: int) -> Envelope:
    return Envelope(
        event_id="e", source="test", type=event.TYPE, schema_version=1, stream="s", version=version, log_epoch=1,
        key="k", time=datetime.now(UTC), data={}, correlation_id="c", causation_id="c",
    )  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_the_version_that_a_view_gives_follows_every_fact_of_the_stream(name: str) -> None:
    for decider, view in views_of_streams(SERVICES[name]):
        behind = left_behind_by(decider, view, SERVICES[name].examples)
        assert behind == [], f"{view.__name__} needs a handler that writes `version` for each of {', '.join(behind)}"


def test_everything_that_is_changed_by_its_etag_is_looked_at() -> None:
    looked_at = {view.__name__ for service in SERVICES.values() for _, view in views_of_streams(service)}
    assert {"Calendars", "Catalogue", "Departments", "Employees", "LeaveRequests", "Locations"} <= looked_at


def test_a_fact_that_a_view_passes_over_or_does_not_count_is_named() -> None:
    def forgets(event: DepartmentRenamed, envelope: Envelope) -> Iterable[Write]:
        assert envelope.version
        yield Update(departments, {"department_id": event.department_id}, {"name": event.name})

    class PassesOver(Departments):
        handlers: ClassVar[Mapping[Any, Any]] = {
            event: handler for event, handler in Departments.handlers.items() if event is not DepartmentRenamed
        }

    class Forgets(Departments):
        handlers: ClassVar[Mapping[Any, Any]] = {**Departments.handlers, DepartmentRenamed: forgets}

    examples = SERVICES["directory"].examples
    assert left_behind_by(DEPARTMENT, PassesOver, examples) == ["DepartmentRenamed"]
    assert left_behind_by(DEPARTMENT, Forgets, examples) == ["DepartmentRenamed"]
