"""What requests decides: the leave book, what leave costs and which rules it keeps, what payroll hears. Pure."""

from lms.requests.decider.book import BOOK
from lms.requests.decider.payroll import ABSENCES, CALENDAR

__all__ = ["ABSENCES", "BOOK", "CALENDAR"]
