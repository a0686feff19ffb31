"""The HTTP API of requests, one file for each kind of resource."""

from lms.requests.api import calendar, leave_requests, payroll

ROUTERS = (leave_requests.router, calendar.router, payroll.router)

__all__ = ["ROUTERS"]
