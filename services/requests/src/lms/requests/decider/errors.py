"""Why a command on the leave book is refused; the codes never change."""

from lms.kernel.errors import Conflict, NotFound, RuleBroken


class NoSuchRequest(NotFound):
    """The employee has no such request, or the caller may not know that there is one."""

    code = "not-found"


class EmployeeUnknown(NotFound):
    """The directory's facts about the employee have not come here."""

    code = "employee-unknown"


class UnknownLeaveType(RuleBroken):
    """No leave type has that name."""

    code = "unknown-leave-type"


class EndBeforeStart(RuleBroken):
    """The leave ends before it starts."""

    code = "end-before-start"


class IntervalTooLong(RuleBroken):
    """One request spans more days than a request may."""

    code = "interval-too-long"


class PartNotAllowed(RuleBroken):
    """The part of a day that was asked for does not fit the leave type or the interval."""

    code = "part-not-allowed"


class HoursNotAllowed(RuleBroken):
    """The hours that were asked for do not fit the leave type or the interval."""

    code = "hours-not-allowed"


class OutsideEmployment(RuleBroken):
    """The leave lies, wholly or partly, outside the time of employment."""

    code = "outside-employment"


class WithinWaitingPeriod(RuleBroken):
    """The leave starts before the policy's waiting period is over."""

    code = "waiting-period"


class NoticeTooShort(RuleBroken):
    """The leave starts sooner than the leave type's notice allows."""

    code = "notice"


class InBlackout(RuleBroken):
    """The policy allows no leave of this type on one of the days."""

    code = "blackout"


class LongerThanAllowed(RuleBroken):
    """The leave is longer than the leave type allows."""

    code = "max-length"


class NothingToCharge(RuleBroken):
    """Nothing is left to take of the days asked for: days off, holidays, days that other leave has taken up."""

    code = "nothing-to-charge"


class Overlapping(Conflict):
    """Another request of the employee books the same time."""

    code = "overlap"


class NothingChanged(RuleBroken):
    """The amendment asks for what the request says already."""

    code = "nothing-changed"


class NotInRequest(RuleBroken):
    """A day to be cancelled is no charged day of the request."""

    code = "dates-not-in-request"


class RequestClosed(Conflict):
    """The request was rejected or cancelled: nothing can be done with it."""

    code = "request-closed"


class CancellationPending(Conflict):
    """An approver is to decide on the cancellation of this request first."""

    code = "cancellation-pending"
