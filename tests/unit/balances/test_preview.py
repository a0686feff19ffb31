"""What a leave would leave, before it is asked for."""

from datetime import date

from tests.unit.balances.conftest import DAY, Hire, Person, workdays

from lms.balances.decider.account import Reserve
from lms.balances.decider.preview import Preview, preview

JUNE = workdays(date(2026, 6, 1), date(2026, 6, 5))


def look(person: Person, *days: object, request: str = "new", leave_type: str = "annual") -> Preview:
    command = Reserve(
        employee_id="ada", today=person.today, rulebook=person.rulebook, request_id=request, revision=1,
        leave_type=leave_type, days=tuple(days),  # type: ignore[arg-type]
    )  # fmt: skip
    return preview(command, person.state)


def years(found: Preview) -> list[tuple[int, float, float]]:
    return [(one.year, one.available / DAY, one.remaining / DAY) for one in found.years]


def test_a_preview_says_what_is_left_and_records_nothing(hire: Hire) -> None:
    ada = hire(days=25, joined=date(2026, 1, 1))
    before = list(ada.events)
    assert years(look(ada, *JUNE)) == [(2026, 25, 20)]
    assert ada.events == before


def test_leave_over_new_year_is_seen_in_both_years(hire: Hire) -> None:
    ada = hire(days=10, joined=date(2026, 1, 1), carry_over_limit_minutes=0)
    found = look(ada, *workdays(date(2026, 12, 30), date(2027, 1, 4)))
    assert years(found) == [(2026, 10, 8), (2027, 10, 8)]


def test_what_the_balance_does_not_cover_is_said_with_what_is_missing(hire: Hire) -> None:
    ada = hire(days=3, joined=date(2026, 1, 1))
    found = look(ada, *JUNE)
    assert (found.sufficient, found.cause, years(found)) == (False, "balance", [(2026, 3, -2)])


def test_a_changed_request_is_seen_beside_what_it_has_booked_already(hire: Hire) -> None:
    ada = hire(days=6, joined=date(2026, 1, 1))
    ada.take("trip", JUNE)
    assert not look(ada, *workdays(date(2026, 6, 8), date(2026, 6, 12))).sufficient
    longer = look(ada, *JUNE, *workdays(date(2026, 6, 8), date(2026, 6, 8)), request="trip")
    assert longer.sufficient
    assert years(longer) == [(2026, 1, 0)]


def test_a_type_without_balance_covers_everything(hire: Hire) -> None:
    found = look(hire(days=0, joined=date(2026, 1, 1)), *JUNE, leave_type="sick")
    assert (found.sufficient, found.years) == (True, ())
