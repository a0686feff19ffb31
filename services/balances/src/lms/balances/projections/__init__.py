"""The read models of balances."""

from lms.balances.projections.catalogue import Catalogue
from lms.balances.projections.ledger import Ledger

INLINE = (Catalogue, Ledger)
"""Written in the transaction of the command that changes them."""

__all__ = ["INLINE"]
