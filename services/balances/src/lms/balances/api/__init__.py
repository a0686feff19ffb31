"""The HTTP API of balances, one file for each kind of resource."""

from lms.balances.api import accruals, balances, leave_types, policies

ROUTERS = (balances.router, leave_types.router, policies.router, accruals.router)

__all__ = ["ROUTERS"]
