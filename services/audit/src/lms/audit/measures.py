"""What audit measures: how long the log is, whether it was proved, and how far it is signed for."""

import math
from datetime import UTC

from prometheus_client import Gauge
from sqlalchemy import select

from lms.audit import store
from lms.audit.decider import CHECKPOINTS
from lms.audit.invariants import the_hash_chain_holds_up_to_every_signed_checkpoint
from lms.kernel.schema import verifications
from lms.kernel.service import Runtime
from lms.kernel.verify import Check, check_name, keep

PROOF = check_name(the_hash_chain_holds_up_to_every_signed_checkpoint)

RECORDS = Gauge("audit_records", "Facts in the audit log")
UNSIGNED = Gauge("audit_unsigned_records", "Facts behind the newest signed checkpoint")
CHAIN_VALID = Gauge(
    "audit_chain_valid", "1 while the audit log verifies against its signed checkpoints, else 0; NaN before a proof"
)
PROVED = Gauge("audit_chain_proved_timestamp_seconds", "When the audit log was last verified as a whole")
CHAIN_VALID.set(math.nan)


async def keep_proof(runtime: Runtime, faults: int) -> None:
    """Write down what a proof of the whole log found, for the metrics of every copy."""
    async with runtime.database.transaction() as connection:
        size = (await store.tree_of(connection)).size
        await keep(connection, Check(PROOF, examined=size, faults=faults))


async def measure_log(runtime: Runtime) -> None:
    """Measure the log, and tell of its last proof."""
    async with runtime.database.read() as connection:
        tree = await store.tree_of(connection)
        signed = (await runtime.store.load(connection, CHECKPOINTS, runtime.settings.log_id)).state
        proof = (await connection.execute(select(verifications).where(verifications.c.check_ == PROOF))).first()
    RECORDS.set(tree.size)
    UNSIGNED.set(max(0, tree.size - (signed.size if signed is not None else 0)))
    if proof is not None:
        CHAIN_VALID.set(0 if proof.faults else 1)
        PROVED.set(proof.checked_at.replace(tzinfo=UTC).timestamp())
