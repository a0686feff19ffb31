"""Which moment a replica shows, who may be answered by it, and what becomes of an answer that it does not give."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from lms.kernel import replica as replicas
from lms.kernel.replica import AskPrimaryAgain, Freshness, NotAReplica, Replica

URL = "mysql://lms:secret@127.0.0.1:1/accounts"
BOUND = 5.0


def test_a_beat_on_the_replica_shows_what_was_committed_before_the_look_that_did_not_find_it_yet() -> None:
    found = Freshness(now=0)
    found.looked(shown=7, beat=7, began=100)
    assert not found.holds, "when beat 7 was added nobody here knows"
    found.looked(shown=7, beat=8, began=101)
    assert not found.holds
    found.looked(shown=8, beat=8, began=102)
    assert (found.holds, found.as_of) == (True, 100)


def test_what_is_known_stays_behind_for_as_long_as_the_replica_does() -> None:
    found = Freshness(now=0)
    for second in range(10):
        found.looked(shown=min(second, 4), beat=second + 1, began=100 + second)
    assert found.as_of == 102, "beat 4 was added after the look at 102, and before that at 103"
    found.looked(shown=10, beat=11, began=110)
    assert found.as_of == 108


def test_a_replica_that_was_away_for_long_is_known_again_by_the_newest_beats() -> None:
    found = Freshness(now=0)
    for second in range(1000):
        found.looked(shown=0, beat=second + 1, began=100 + second)
    found.looked(shown=1000, beat=1001, began=1100)
    assert (found.holds, found.as_of) == (True, 1098)


def test_a_replica_that_was_lost_must_show_a_beat_anew() -> None:
    found = Freshness(now=0)
    for second in range(3):
        found.looked(shown=second, beat=second, began=100 + second)
    found.holds = False
    found.looked(shown=2, beat=2, began=103)
    assert not found.holds, "it may be another replica that answers now, and lags"
    found.looked(shown=2, beat=3, began=104)
    found.looked(shown=3, beat=3, began=105)
    assert (found.holds, found.as_of) == (True, 103)


def test_what_is_ahead_of_the_primary_is_no_replica_of_it() -> None:
    found = Freshness(now=0)
    for second in range(3):
        found.looked(shown=second, beat=second, began=100 + second)
    with pytest.raises(NotAReplica):
        found.looked(shown=9, beat=2, began=103)
    assert not found.holds


class Clock:
    """The monotonic clock of the test."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(replicas, "time", found)
    return found


@pytest.fixture
def replica(clock: Clock) -> Replica:
    """A replica that is known to show the present moment."""
    found = Replica(URL, URL, pool_size=1, lag_seconds=BOUND)
    for beat in range(3):
        found._freshness.looked(shown=beat, beat=beat, began=clock.now)
    return found


def test_a_read_goes_to_the_replica_until_what_that_shows_may_be_older_than_the_bound(
    replica: Replica, clock: Clock
) -> None:
    clock.now += BOUND
    assert replica.takes({}, None)
    clock.now += 0.1
    assert not replica.takes({}, None)


@pytest.mark.parametrize("demand", ["no-cache", "No-Cache", "max-age=0", "no-transform, no-cache", "private,max-age=0"])
def test_whoever_demands_a_fresh_answer_gets_it_from_the_primary(replica: Replica, demand: str) -> None:
    assert not replica.takes({}, demand)


@pytest.mark.parametrize("demand", ["", "max-age=60", "max-age=05", "no-cache-please", "only-if-cached"])
def test_other_wishes_about_caches_say_nothing_of_the_replica(replica: Replica, demand: str) -> None:
    assert replica.takes({}, demand)


def test_the_replica_is_asked_once_for_a_request(replica: Replica) -> None:
    scope: Scope = {}
    assert replica.takes(scope, None)
    assert not replica.takes(scope, None)


class Application:
    """Asks the replica the first time, and answers with what the test gives for the replica and for the primary."""

    def __init__(self, replica: Replica, *answers: int | Exception, lacks: bool = False) -> None:
        self._replica = replica
        self._answers = list(answers)
        self._lacks = lacks
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        taken = self._replica.takes(scope, None)
        self.asked.append("replica" if taken else "primary")
        if taken and self._lacks:
            self._replica.lacks(scope)
        said = self._answers.pop(0)
        status = 500 if isinstance(said, Exception) else said
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": f"{self.asked[-1]} {status}".encode()})
        if isinstance(said, Exception):
            raise said  # as Starlette does behind an answer 500


async def sent(application: Callable[..., Any]) -> list[Any]:
    """Return the status and the body of what is sent."""
    found: list[Any] = []

    async def send(message: Message) -> None:
        found.append(message.get("status", message.get("body")))

    async def receive() -> Message:
        raise AssertionError("a read has no body")

    await AskPrimaryAgain(application)({"type": "http"}, receive, send)
    return found


@pytest.mark.parametrize("failure", [404, 400, 503, ConnectionResetError()])
async def test_what_the_replica_does_not_answer_well_is_asked_of_the_primary(
    replica: Replica, failure: int | Exception
) -> None:
    application = Application(replica, failure, 200)
    assert await sent(application) == [200, b"primary 200"]
    assert application.asked == ["replica", "primary"]


async def test_the_primarys_refusal_stands(replica: Replica) -> None:
    application = Application(replica, 404, 404)
    assert await sent(application) == [404, b"primary 404"]
    assert application.asked == ["replica", "primary"]


async def test_a_good_answer_is_sent_as_it_is(replica: Replica) -> None:
    assert await sent(Application(replica, 200)) == [200, b"replica 200"]


async def test_what_the_primary_was_asked_at_once_is_not_asked_again(replica: Replica) -> None:
    application = Application(replica, 404, lacks=True)
    assert await sent(application) == [404, b"replica 404"]
    assert application.asked == ["replica"]


async def test_an_error_behind_an_answer_that_was_sent_passes_through(replica: Replica) -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        assert replica.takes(scope, None)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await sent(breaks)
