"""Use cases: write facts down, sign what the log has come to, prove that nothing was touched."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka.errors import KafkaError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.audit import store
from lms.audit.decider import CHECKPOINTS
from lms.audit.decider.checkpoints import PublishCheckpoint, TellRestored
from lms.audit.decider.verification import Checkpoint, SignedHead, Verification, standing
from lms.audit.events import TOPIC, CheckpointSigned, LogRestored
from lms.audit.settings import Settings
from lms.kernel.append_only import AppendOnlyFile
from lms.kernel.cloudevents import MalformedMessage, decode
from lms.kernel.consumer import Received
from lms.kernel.execution import CommandContext, Executor, UnitOfWork
from lms.kernel.kafka import Gone, ends_of, messages_between
from lms.kernel.keyring import derive_key
from lms.kernel.recovery import Restoration
from lms.kernel.service import Runtime

Statement = CheckpointSigned | LogRestored
"""What is signed and kept outside the database."""

Told = tuple[str, Statement]
"""A statement, and the place that tells it."""

_KINDS: dict[str, type[Statement]] = {one.TYPE: one for one in (CheckpointSigned, LogRestored)}


async def record(connection: AsyncConnection, received: Sequence[Received]) -> None:
    """Append facts to the log as they came."""
    await store.append(connection, [_incoming(one) for one in received])


def _incoming(received: Received) -> store.Incoming:
    headers = tuple((name, value.decode("utf-8", "replace")) for name, value in received.headers)
    payload = None if received.payload is None else received.payload.decode("utf-8", "replace")
    return store.Incoming(received.topic, received.key, headers, payload)


class Signer:
    """Signs checkpoints with the key that follows from the secret, and knows its own signatures."""

    def __init__(self, secret: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(derive_key(secret, "audit checkpoints"))

    @property
    def public_key(self) -> str:
        """The public key in base64, for whoever verifies elsewhere."""
        return base64.b64encode(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def sign(self, log_id: str, size: int, root: str, at: datetime) -> CheckpointSigned:
        """Return a signed checkpoint."""
        unsigned = CheckpointSigned(
            log_id=log_id, size=size, root=root, signed_at=at, public_key=self.public_key, signature=""
        )
        return unsigned.model_copy(update={"signature": self._signature(unsigned)})

    def sign_restored(self, unsigned: LogRestored) -> LogRestored:
        """Return the record of a restore with our key and signature."""
        ours = unsigned.model_copy(update={"public_key": self.public_key})
        return ours.model_copy(update={"signature": self._signature(ours)})

    def _signature(self, statement: Statement) -> str:
        return base64.b64encode(self._key.sign(_signed_text(statement))).decode()


def signature_is_good(statement: Statement, public_key: str) -> bool:
    """Say whether a statement was signed with the key (base64) and says what it was signed for."""
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        key.verify(base64.b64decode(statement.signature), _signed_text(statement))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_text(statement: Statement) -> bytes:
    """Return the lines that `CheckpointSigned` and `LogRestored` describe."""
    lines: list[object] = [statement.log_id, statement.size, statement.root]
    if isinstance(statement, LogRestored):
        lines.insert(0, "lms audit restored v1")
        lines += [statement.abandoned_size or "", statement.abandoned_root or "", statement.log_epoch]
        lines.append(store.instant_text(statement.restored_to.astimezone(UTC)))
    else:
        lines.insert(0, "lms audit checkpoint v1")
    lines.append(store.instant_text(statement.signed_at.astimezone(UTC)))
    return "".join(f"{line}\n" for line in lines).encode()


async def sign_checkpoint(executor: Executor, connection: AsyncConnection, settings: Settings) -> bool:
    """Sign what the log has come to and publish it; say whether it has grown since the last checkpoint.

    The file has the checkpoint before the topic does. Raises LogShrunk when more was signed for than there is.
    """
    tree = await store.tree_of(connection)
    if tree.size == 0:
        return False
    signed = Signer(settings.signing_key.get_secret_value()).sign(
        settings.log_id, tree.size, tree.root(), datetime.now(UTC)
    )
    file = AppendOnlyFile(settings.checkpoint_file)

    async def publish(uow: UnitOfWork) -> bool:
        command = PublishCheckpoint(signed)
        facts = CHECKPOINTS.decide(command, (await uow.load(CHECKPOINTS, settings.log_id)).state)
        if not facts:
            return False
        await asyncio.to_thread(file.add, _kept(signed))
        await uow.handle(CHECKPOINTS, settings.log_id, command, key=settings.log_id)
        return True

    return await executor.run(publish, context=CommandContext())


async def sign_restored(runtime: Runtime, restoration: Restoration) -> None:
    """Sign that the log was brought back with everything else, and publish it; once for each restore.

    The file has it before the topic does, as it has checkpoints.
    """
    if restoration.restored_to is None:
        return
    settings: Settings = runtime.settings
    signer = Signer(settings.signing_key.get_secret_value())
    file = AppendOnlyFile(settings.checkpoint_file)
    async with runtime.database.read() as connection:
        tree = await store.tree_of(connection)
    told, _ = await _kept_statements(file)
    kept, _ = _tested(told, settings)
    beyond = max(standing(_heads(kept)), key=lambda one: one.size, default=Checkpoint(0, "", ""))
    now = max([datetime.now(UTC), *(one.signed_at + timedelta(microseconds=1) for _, one in kept)])
    signed = signer.sign_restored(
        LogRestored(
            log_id=settings.log_id,
            size=tree.size,
            root=tree.root(),
            abandoned_size=beyond.size if beyond.size > tree.size else None,
            abandoned_root=beyond.root if beyond.size > tree.size else None,
            log_epoch=restoration.log_epoch,
            restored_to=restoration.restored_to,
            signed_at=now,
            public_key="",
            signature="",
        )
    )

    async def publish(uow: UnitOfWork) -> None:
        command = TellRestored(signed)
        if CHECKPOINTS.decide(command, (await uow.load(CHECKPOINTS, settings.log_id)).state):
            await asyncio.to_thread(file.add, _kept(signed))
            await uow.handle(CHECKPOINTS, settings.log_id, command, key=settings.log_id)

    await runtime.executor.run(publish, context=CommandContext())


@dataclass(frozen=True, slots=True)
class Proof:
    """What a walk over the log found: whatever is wrong, and each restore that a signature vouches for."""

    faults: Sequence[str]
    restores: Sequence[str]


async def verify(connection: AsyncConnection, settings: Settings) -> Proof:
    """Walk over the whole log as a snapshot shows it.

    The signed checkpoints come from outside the database: the file and Kafka. They are read first, so that they never
    cover more than the snapshot, which begins with the connection's first query.
    """
    signed, faults = await _signed(settings)
    tree = await store.tree_of(connection)
    walk = Verification(standing(_heads(signed)))
    async for one in store.all_records(connection):
        if one.position > tree.size:
            faults.append(f"record {one.position} stands behind the head of {tree.size} records: it was inserted")
            break
        faults += walk.record(one)
    faults += walk.end(tree.size, tree.root())
    return Proof(faults, [_told(one) for _, one in signed if isinstance(one, LogRestored)])


def _told(restored: LogRestored) -> str:
    lost = f"; {restored.abandoned_size} records had been signed for" if restored.abandoned_size else ""
    return (
        f"restored at {store.instant_text(restored.signed_at)} to {store.instant_text(restored.restored_to)} (log epoch"
        f" {restored.log_epoch}): the records behind {restored.size} were abandoned{lost}"
    )


async def _signed(settings: Settings) -> tuple[list[Told], list[str]]:
    """Return every statement with a good signature, each once; and what is wrong with the others.

    A Kafka that is away is a fault too: what could contradict the database cannot be heard.
    """
    told, faults = await _kept_statements(AppendOnlyFile(settings.checkpoint_file))
    try:
        told += [(TOPIC, one) async for one in _published(settings.kafka_bootstrap_servers)]
    except (KafkaError, OSError, Gone) as error:
        faults.append(f"the checkpoints on {TOPIC} cannot be read: {error}")
    good, bad = _tested(told, settings)
    faults += [f"{where} has a checkpoint of {one.size} records whose signature is wrong" for where, one in bad]
    return good, faults


def _tested(told: Sequence[Told], settings: Settings) -> tuple[list[Told], list[Told]]:
    """Return each statement about our log that has our signature, once, and those that have not."""
    public_key = Signer(settings.signing_key.get_secret_value()).public_key
    good: dict[bytes, Told] = {}
    bad: list[Told] = []
    for where, one in told:
        if one.log_id == settings.log_id and signature_is_good(one, public_key):
            good.setdefault(_signed_text(one), (where, one))
        elif one.log_id == settings.log_id:
            bad.append((where, one))
    return list(good.values()), bad


def _heads(told: Sequence[Told]) -> list[SignedHead]:
    return [
        SignedHead(Checkpoint(one.size, one.root, where), one.signed_at, isinstance(one, LogRestored))
        for where, one in told
    ]


def _kept(statement: Statement) -> dict[str, Any]:
    """Return the entry of the file."""
    return {"type": statement.TYPE, **statement.model_dump(mode="json")}


async def _kept_statements(file: AppendOnlyFile) -> tuple[list[Told], list[str]]:
    """Return what the file keeps, and what in it is no statement. The first entries ever written name no type."""
    told: list[Told] = []
    faults: list[str] = []
    for entry in await asyncio.to_thread(file.all):
        fields = {"type": CheckpointSigned.TYPE, **entry}
        try:
            told.append(("the checkpoint file", _KINDS[fields.pop("type")].model_validate(fields)))
        except (KeyError, ValidationError):
            faults.append(f"the checkpoint file has an entry that is no checkpoint: {str(entry)[:100]}")
    return told, faults


async def _published(bootstrap_servers: str) -> AsyncIterator[Statement]:
    ends: dict[Any, int] = await ends_of(bootstrap_servers, [TOPIC])
    async for message in messages_between(bootstrap_servers, {}, ends):
        try:
            envelope = decode(message.headers, message.value)
            if envelope.type in _KINDS:
                yield _KINDS[envelope.type].model_validate(envelope.data)
        except (MalformedMessage, ValidationError):
            continue
