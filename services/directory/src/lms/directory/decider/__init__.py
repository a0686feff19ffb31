"""The rules of the directory, one aggregate a file; all pure."""

from lms.directory.decider.calendar import CALENDAR
from lms.directory.decider.delegation import DELEGATION
from lms.directory.decider.department import DEPARTMENT
from lms.directory.decider.employee import EMPLOYEE
from lms.directory.decider.location import LOCATION
from lms.directory.decider.schedule import SCHEDULE

DECIDERS = (EMPLOYEE, DEPARTMENT, LOCATION, SCHEDULE, CALENDAR, DELEGATION)

__all__ = ["CALENDAR", "DECIDERS", "DELEGATION", "DEPARTMENT", "EMPLOYEE", "LOCATION", "SCHEDULE"]
