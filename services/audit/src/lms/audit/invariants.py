"""What must hold of the audit log, whatever happened: `lms verify audit` and `lms audit verify` check it."""

from collections.abc import AsyncIterator

from lms.audit import commands
from lms.kernel.verify import Evidence


async def the_hash_chain_holds_up_to_every_signed_checkpoint(evidence: Evidence) -> AsyncIterator[str]:
    """Recompute every record's hashes, and compare the tree heads with what was signed outside the database."""
    proof = await commands.verify(evidence.connection, evidence.settings)
    evidence.remarks += proof.restores
    for fault in proof.faults:
        yield fault


INVARIANTS = (the_hash_chain_holds_up_to_every_signed_checkpoint,)
