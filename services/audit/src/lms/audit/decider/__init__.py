"""What the audit log decides and how it is proven; pure."""

from lms.audit.decider.checkpoints import CHECKPOINTS

DECIDERS = (CHECKPOINTS,)

__all__ = ["CHECKPOINTS", "DECIDERS"]
