"""The rules of one thing."""

from lms.kernel.testing import given
from lms.specimen.decider import THING, Create, Rename, ThingExists, ThingUnknown
from lms.specimen.events import ThingNamed

NAMED = ThingNamed(thing_id="one", name="First")


def test_a_thing_is_created_with_a_name() -> None:
    assert given(THING).when(Create("one", "First")) == [NAMED]


def test_an_id_is_used_once() -> None:
    given(THING, NAMED).refuses(Create("one", "Again"), ThingExists)


def test_a_thing_gets_another_name() -> None:
    assert given(THING, NAMED).when(Rename("one", "Second")) == [ThingNamed(thing_id="one", name="Second")]


def test_the_name_that_it_has_is_no_fact() -> None:
    assert given(THING, NAMED).when(Rename("one", "First")) == []


def test_what_is_not_there_cannot_be_renamed() -> None:
    given(THING).refuses(Rename("one", "Second"), ThingUnknown)
