"""The HTTP API of requests, one file for each kind of resource."""

from lms.requests.api import calendar, leave_requests

ROUTERS = (leave_requests.router, calendar.router)

__all__ = ["ROUTERS"]
