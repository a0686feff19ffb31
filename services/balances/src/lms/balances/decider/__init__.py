"""How balances decides: pure, without I/O, clock, ids or randomness.

- `account`: the commands on the leave account of an employee, and `decide`
- `state`: what the account remembers, and `evolve`
- `due`: what falls due by itself, and corrections of it
- `engine`: the walk through time that says which lot covers which day
- `plan`: what the policies grant, and when
- `rulebook`: leave types and policies, and which terms apply to a person on a day
- `standing`: the figures of an account as of a date
- `catalogue`: the deciders of leave types and policies
"""

from lms.balances.decider.account import LEAVE_ACCOUNT
from lms.balances.decider.catalogue import LEAVE_TYPE, POLICY

__all__ = ["LEAVE_ACCOUNT", "LEAVE_TYPE", "POLICY"]
