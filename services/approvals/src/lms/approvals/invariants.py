"""What must hold of every approval case, whatever happened: `lms verify` checks it, and so do the fault tests."""

from collections.abc import AsyncIterator

from lms.approvals.consumers import CASES
from lms.approvals.decider import CASE, Open
from lms.approvals.upstream import LeaveAmended, LeaveApprovalRequested, LeaveCancelled
from lms.kernel.verify import Evidence


async def every_revision_put_to_decision_has_a_case_and_no_other_is_open(evidence: Evidence) -> AsyncIterator[str]:
    """Compare the cases with what the leave book has told."""
    asked: set[str] = set()
    over: set[str] = set()
    async for fact, _ in evidence.heard(CASES):
        match fact:
            case LeaveApprovalRequested():
                asked.add(f"{fact.request_id}.{fact.revision}")
            case LeaveAmended(supersedes_revision=int(revision)) | LeaveCancelled(open_revision=int(revision)):
                over.add(f"{fact.request_id}.{revision}")
            case _:
                pass
    async for case_id, loaded in evidence.states(CASE):
        if isinstance(loaded.state, Open) and (case_id in over or case_id not in asked):
            yield f"the case {case_id} is open, and nobody asks for its decision"
        asked.discard(case_id)
    for case_id in sorted(asked):
        yield f"the revision {case_id} was put to decision and has no case"


INVARIANTS = (every_revision_put_to_decision_has_a_case_and_no_other_is_open,)
