"""What the audit log takes in: every fact of every topic, but its own."""

from lms.audit.commands import record
from lms.kernel.consumer import Recorder

TOPICS = (
    "leave.directory.v1",
    "leave.requests.v1",
    "leave.balances.v1",
    "leave.approvals.v1",
    "leave.payroll.v1",
)

RECORD = Recorder("record", topics=TOPICS, record=record)
