"""What requests decides: the leave book of one employee, what a leave costs, and the rules it must keep. All pure."""

from lms.requests.decider.book import BOOK

__all__ = ["BOOK"]
