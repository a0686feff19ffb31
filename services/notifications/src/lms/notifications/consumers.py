"""What notifications makes of foreign facts: one handler per fact.

`facts` projects people, revisions and cases. `telling` tells people of decisions; each fact waits until `facts` has
seen it, so that the dates and the approvers of which it tells are there.
"""

from lms.kernel.consumer import Projector, Reactor
from lms.notifications.commands.telling import forget, tell_of
from lms.notifications.projections.cases import Cases
from lms.notifications.projections.people import People
from lms.notifications.projections.revisions import Revisions
from lms.notifications.upstream import (
    APPROVALS,
    DIRECTORY,
    REQUESTS,
    CaseClosed,
    CaseOpened,
    CaseReassigned,
    EmployeeErased,
    LeaveAmended,
    LeaveCancelled,
    LeaveConfirmed,
    LeaveRecharged,
    LeaveRefused,
    StepApproved,
)

FACTS = Projector("facts", topics=(DIRECTORY, REQUESTS, APPROVALS), projections=(People, Revisions, Cases))

TELLING = Reactor(
    "telling",
    topics=(DIRECTORY, REQUESTS, APPROVALS),
    handlers={
        CaseOpened: tell_of,
        CaseReassigned: tell_of,
        StepApproved: tell_of,
        CaseClosed: tell_of,
        LeaveAmended: tell_of,
        LeaveConfirmed: tell_of,
        LeaveRecharged: tell_of,
        LeaveRefused: tell_of,
        LeaveCancelled: tell_of,
        EmployeeErased: forget,
    },
    waits_for="facts",
)
