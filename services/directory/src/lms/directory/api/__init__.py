"""The directory's HTTP API, one file for each kind of resource."""

from lms.directory.api import auth, calendars, delegations, employees, imports, organisation, privacy

ROUTERS = (
    auth.router,
    employees.router,
    organisation.router,
    calendars.router,
    delegations.router,
    imports.router,
    privacy.router,
)

__all__ = ["ROUTERS"]
