"""The directory's read models, written in the transaction of the command that changes them."""

from lms.directory.projections.calendars import Calendars
from lms.directory.projections.delegations import Delegations
from lms.directory.projections.departments import Departments
from lms.directory.projections.employees import Employees
from lms.directory.projections.locations import Locations
from lms.directory.projections.schedules import Schedules

PROJECTIONS = (Employees, Departments, Locations, Schedules, Calendars, Delegations)

__all__ = [
    "PROJECTIONS",
    "Calendars",
    "Delegations",
    "Departments",
    "Employees",
    "Locations",
    "Schedules",
]
