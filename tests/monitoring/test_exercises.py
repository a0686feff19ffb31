"""The exercises for who is on call: each fault raises its alert, and each step to the cause shows what is written."""

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.collector import Collector, Span
from tests.monitoring import exercises
from tests.monitoring.exercises import Exercise, Mail, Step
from tests.monitoring.rules import ALERTS
from tests.monitoring.watching import Watched
from tests.waiting import eventually

from lms.cli.system import System
from lms.kernel.ids import new_id

EXERCISES = exercises.exercises()
TRACED = ("gateway", "directory")
PATIENCE = 120.0
"""An outbox is stuck when its oldest fact has waited for a minute."""

each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda one: one.title)


# The page -------------------------------------------------------------------------------------------------------------


def test_there_are_three_exercises() -> None:
    assert len(EXERCISES) == 3


@each
def test_an_exercise_begins_with_an_alert_and_leads_to_its_dashboard_and_its_runbook(exercise: Exercise) -> None:
    assert exercise.way[0].language == "mail"
    for mail in exercise.alerts:
        alert = ALERTS[mail.alert]
        assert (mail.status, mail.severity) == ("firing", alert["labels"]["severity"])
        assert f"]({mail.alert}.md)" in exercise.page
    first = exercise.alerts[0]
    address = ALERTS[first.alert]["annotations"]["dashboard_url"].replace("{{ $labels.service }}", first.service)
    assert address.removeprefix("/d/") in {step.panel[0] for step in exercise.queries if step.panel}
    last = exercise.alerts[-1]
    resolved = [Mail.of(step.text) for step in exercise.mending if step.language == "mail"]
    assert [(one.status, one.alert, one.service) for one in resolved] == [("resolved", last.alert, last.service)]


@each
def test_an_exercise_leads_through_dashboards_logs_traces_and_runbooks(exercise: Exercise) -> None:
    for part in ("**The dashboard", "**The trace", "**The runbook**", "**The cause.**"):
        assert part in exercise.page, part
    assert any("$LMS_HOME/logs/" in step.text or "lms logs" in step.text for step in exercise.way)


@each
def test_a_step_shows_something_and_a_query_is_that_of_its_panel(exercise: Exercise) -> None:
    for step in exercise.way:
        assert step.answer is not None or step.language in {"mail", "trace"}, step
    for step in (*exercise.way, *exercise.mending):
        if step.language == "promql":
            assert step.text in step.panels_queries(), (step.panel, step.panels_queries())


@pytest.mark.parametrize(
    ("expected", "rows", "same"),
    [
        ('{a="b"} 1', ['{a="b"} 1'], True),
        ('{a="b"} 1', ['{a="b"} 1', '{a="c"} 0'], False),
        ('{a="b"} 1\n…', ['{a="c"} 0', '{a="b"} 1'], True),
        ('{a="b"} 1', ['{a="b"} 11'], False),
        ('{a="…"} > 60', ['{a="b"} 60.5'], True),
        ('{a="b"} > 60', ['{a="b"} 60'], False),
        ("{} > 0\n{} > 0", ["{} 1"], False),
        ("{} 0", [], False),
    ],
)
def test_a_querys_answer_is_compared_row_by_row(expected: str, rows: list[str], *, same: bool) -> None:
    assert exercises.answers(expected, rows) is same


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one", "one\ntwo", False),
        ("one\n…", "one\ntwo\nthree", True),
        ("…\nthree", "one\ntwo\nthree", True),
        ("one\n…\ntwo", "one\ntwo", True),
        ("o…e", "one", True),
        ("o…e", "two", False),
        (".", "x", False),
    ],
)
def test_a_commands_answer_is_compared_line_by_line(expected: str, output: str, *, same: bool) -> None:
    assert exercises.reads(expected, output) is same


# On a running system --------------------------------------------------------------------------------------------------


class Shell:
    """A shell that stays, as that of a person does: what one step sets, the next one has."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, start_new_session=True,
        )  # fmt: skip

    def run(self, block: str) -> tuple[int, str]:
        """Type a block; return the exit code of its last command, and what was printed."""
        assert self._bash.stdin
        assert self._bash.stdout
        end = new_id()
        impatient = threading.Timer(PATIENCE, self._kill)
        impatient.start()
        self._bash.stdin.write(f"{{\n{block}\n}} </dev/null\nprintf '\\n%s %s\\n' {end} $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(end):
                impatient.cancel()
                return int(line.split()[1]), "".join(printed).rstrip("\n")
            printed.append(line)
        raise AssertionError(f"{block}\ndoes not end: {''.join(printed)}")

    def close(self) -> None:
        """End it, and what it has in the background."""
        self._kill()
        self._bash.communicate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
async def collector(system: System) -> AsyncIterator[Collector]:
    """A collector to which the services that an exercise follows send their spans."""
    with Collector().listening() as found:
        extra = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        programs = [program for service in TRACED for program in system.programs_of(service)]
        await asyncio.gather(*(system.restart_with(program, extra) for program in programs))
        yield found
        for program in programs:
            system.forget_extra(program)
        await system.restart(TRACED)


@pytest.fixture
def shell(system: System) -> Iterator[Shell]:
    """The shell in which the page begins."""
    found = Shell({**os.environ, "LMS_HOME": str(system.home.folder)})
    try:
        for step in exercises.preparation():
            code, printed = found.run(step.text)
            assert code == 0, printed
        yield found
    finally:
        found.close()


@dataclass
class Walk:
    """Does an exercise, step by step; `heard` is how many notifications there were before it."""

    shell: Shell
    watched: Watched
    collector: Collector
    heard: int

    def take(self, step: Step) -> None:
        """Do a step, and wait until it shows what the page says; what is not looked at is done once."""
        match step.language:
            case "mail":
                mail = Mail.of(step.text)
                eventually(lambda: self._told(mail), f"nobody is told: {step.text}", PATIENCE)
            case "sh" if step.answer is None:
                code, printed = self.shell.run(step.text)
                assert code == 0, (step.text, printed)
            case _:
                self._look(step)

    def _look(self, step: Step) -> None:
        expected = step.text if step.language == "trace" else step.answer
        assert expected is not None
        seen: list[str] = []

        def as_expected() -> bool:
            seen[:] = self.shows(step)
            if step.language == "promql":
                return exercises.answers(expected, seen)
            return exercises.reads(expected, "\n".join(seen))

        try:
            eventually(as_expected, "not what the page says", PATIENCE)
        except AssertionError as error:
            raise AssertionError("\n".join([step.text, "shows", *seen, "instead of", expected])) from error

    def shows(self, step: Step) -> list[str]:
        """Return the lines that a step shows now."""
        if step.language == "promql":
            return exercises.shown(self.watched.query(step.text))
        if step.language == "trace":
            _, trace = self.shell.run('echo "$TRACE"')
            return _tree(self.collector.spans(trace))
        return self.shell.run(step.text)[1].splitlines()

    def _told(self, mail: Mail) -> dict[str, Any] | None:
        receiver = {"critical": "critical-alerts", "warning": "warning-alerts"}[mail.severity]
        told = self.watched.told_of(receiver, mail.alert, mail.status, since=self.heard, service=mail.service)
        return told if told and mail.summary in {None, told["annotations"]["summary"]} else None


def _tree(spans: list[Span]) -> list[str]:
    """Return the spans of a trace as lines, each further in than what caused it, in the order of their beginnings."""
    known = {one.id for one in spans}

    def below(parent: str | None, depth: int) -> Iterator[str]:
        for one in sorted(spans, key=lambda span: span.begin_ns):
            if one.parent == parent or (parent is None and one.parent not in known):
                yield f"{'  ' * depth}{one.service}: {one.name}"
                yield from below(one.id, depth + 1)

    return list(below(None, 0))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("company")  # the services know the day
@each
def test_from_the_alert_to_the_cause_and_the_mending_all_is_as_the_page_says(
    exercise: Exercise, shell: Shell, watched: Watched, collector: Collector
) -> None:
    walk = Walk(shell, watched, collector, len(watched.told))
    for step in exercise.queries:
        before = walk.shows(step)
        assert step.answer
        assert not exercises.answers(step.answer, before), f"{step} does not move: {before}"
    try:
        for step in (*exercise.fault, *exercise.way):
            walk.take(step)
    finally:  # whatever is found, the next test wants a system that is whole
        for step in exercise.mending:
            walk.take(step)
