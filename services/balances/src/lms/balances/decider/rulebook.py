"""Leave types and policies as the account's decider reads them: which terms apply to a person on a day."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from lms.balances.events import LeaveTypeTerms, PolicyPublished


@dataclass(frozen=True)
class Location:
    """The location that a person belongs to from a day on."""

    effective_from: date
    location_id: str


@dataclass(frozen=True)
class Employment:
    """When somebody is employed, and where. `last_day` is the last day employed, null while nobody knows one."""

    employed_from: date
    last_day: date | None = None
    locations: tuple[Location, ...] = ()

    def location_on(self, day: date) -> str | None:
        """Return the location on `day`: the first one also counts for the time before it."""
        if not self.locations:
            return None
        place = bisect_right([one.effective_from for one in self.locations], day)
        return self.locations[max(place - 1, 0)].location_id

    def moved(self, effective_from: date, location_id: str) -> "Employment":
        """Return the employment with another location from a day on; a move told before on that day is replaced."""
        others = [one for one in self.locations if one.effective_from != effective_from]
        history = sorted([*others, Location(effective_from, location_id)], key=lambda one: one.effective_from)
        return replace(self, locations=tuple(history))


class Terms:
    """The policy versions that apply to one person for one leave type, over time."""

    def __init__(self, segments: Sequence[tuple[date, PolicyPublished | None]]) -> None:
        self._starts = [start for start, _ in segments]
        self._versions = [version for _, version in segments]

    @property
    def changed(self) -> bool:
        """Whether anything else applied, or nothing any more, after the first version that did."""
        first = next((place for place, version in enumerate(self._versions) if version), len(self._versions))
        return first + 1 < len(self._versions)

    def on(self, day: date) -> PolicyPublished | None:
        """Return the version that applies on `day`, None where no policy does."""
        place = bisect_right(self._starts, day) - 1
        return self._versions[place] if place >= 0 else None

    def next_from(self, day: date) -> tuple[date, PolicyPublished] | None:
        """Return the first day from `day` on, itself included, on which a version applies, and that version."""
        here = self.on(day)
        if here is not None:
            return day, here
        place = bisect_right(self._starts, day)
        later = zip(self._starts[place:], self._versions[place:], strict=True)
        return next(((start, version) for start, version in later if version), None)

    def last_by(self, day: date) -> PolicyPublished | None:
        """Return the version that applies on `day`, or where none does the last that did; None where none ever did."""
        place = bisect_right(self._starts, day)
        return next((version for version in reversed(self._versions[:place]) if version), None)

    def negative_limit(self, day: date) -> int:
        """Return by how many minutes the balance may be overdrawn on `day`."""
        version = self.on(day)
        return version.negative_limit_minutes if version else 0


@dataclass(frozen=True)
class Rulebook:
    """All leave types by slug, and every policy version published so far."""

    leave_types: dict[str, LeaveTypeTerms]
    policies: tuple[PolicyPublished, ...] = ()

    def limited(self, leave_type: str) -> bool:
        """Say whether leave of this type needs a balance; a type that nobody defined does."""
        terms = self.leave_types.get(leave_type)
        return terms is None or terms.limited

    def limited_types(self) -> list[str]:
        """Return the slugs of all types that need a balance, in order."""
        return sorted(slug for slug, terms in self.leave_types.items() if terms.limited)

    def terms(self, leave_type: str, employment: Employment | None) -> Terms:
        """Return what applies to a person over time; a policy for the person's location precedes one for all."""
        versions = [one for one in self.policies if one.leave_type == leave_type]
        if not versions:
            return Terms(())
        places = employment.locations if employment else ()
        turns = sorted({one.effective_from for one in versions} | {one.effective_from for one in places[1:]})
        segments: list[tuple[date, PolicyPublished | None]] = []
        for turn in turns:
            chosen = _in_force(versions, turn, employment.location_on(turn) if employment else None)
            if not segments or segments[-1][1] != chosen:
                segments.append((turn, chosen))
        return Terms(segments)


def _in_force(versions: Sequence[PolicyPublished], day: date, location_id: str | None) -> PolicyPublished | None:
    newest: dict[str, PolicyPublished] = {}
    for one in versions:
        held = newest.get(one.policy_id)
        if one.effective_from <= day and (held is None or one.version > held.version):
            newest[one.policy_id] = one
    local = [one for one in newest.values() if one.locations is not None and location_id in one.locations]
    everywhere = [one for one in newest.values() if one.locations is None]
    chosen = local or everywhere
    return min(chosen, key=lambda one: one.policy_id) if chosen else None
