"""Use cases: write facts down, sign what the log has come to, prove that nothing was touched."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from lms.audit import store
from lms.audit.decider import CHECKPOINTS
from lms.audit.decider.checkpoints import PublishCheckpoint
from lms.audit.decider.verification import Checkpoint, Verification
from lms.audit.events import TOPIC, CheckpointSigned
from lms.audit.settings import Settings
from lms.kernel.append_only import AppendOnlyFile
from lms.kernel.cloudevents import MalformedMessage, decode
from lms.kernel.consumer import Received
from lms.kernel.execution import CommandContext, Executor, UnitOfWork
from lms.kernel.kafka import Gone, ends_of, messages_between
from lms.kernel.keyring import derive_key

_TITLE = "lms audit checkpoint v1"


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
        return CheckpointSigned(
            log_id=log_id,
            size=size,
            root=root,
            signed_at=at,
            public_key=self.public_key,
            signature=base64.b64encode(self._key.sign(_signed_text(log_id, size, root, at))).decode(),
        )


def signature_is_good(checkpoint: CheckpointSigned, public_key: str) -> bool:
    """Say whether a checkpoint was signed with the key (base64) and says what it was signed for."""
    text = _signed_text(checkpoint.log_id, checkpoint.size, checkpoint.root, checkpoint.signed_at)
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key))
        key.verify(base64.b64decode(checkpoint.signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed_text(log_id: str, size: int, root: str, at: datetime) -> bytes:
    instant = store.instant_text(at.astimezone(UTC))
    return f"{_TITLE}\n{log_id}\n{size}\n{root}\n{instant}\n".encode()


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
        command = PublishCheckpoint(**signed.model_dump())
        facts = CHECKPOINTS.decide(command, (await uow.load(CHECKPOINTS, settings.log_id)).state)
        if not facts:
            return False
        await asyncio.to_thread(file.add, signed.model_dump(mode="json"))
        await uow.handle(CHECKPOINTS, settings.log_id, command, key=settings.log_id)
        return True

    return await executor.run(publish, context=CommandContext())


async def verify(connection: AsyncConnection, settings: Settings) -> AsyncIterator[str]:
    """Walk over the whole log as a snapshot shows it; yield whatever is wrong.

    The signed checkpoints come from outside the database: the file and Kafka. They are read first, so that they never
    cover more than the snapshot, which begins with the connection's first query.
    """
    checkpoints, faults = await _signed_checkpoints(settings)
    for fault in faults:
        yield fault
    tree = await store.tree_of(connection)
    walk = Verification(checkpoints)
    async for one in store.all_records(connection):
        if one.position > tree.size:
            yield f"record {one.position} stands behind the head of {tree.size} records: it was inserted"
            break
        for fault in walk.record(one):
            yield fault
    for fault in walk.end(tree.size, tree.root()):
        yield fault


async def _signed_checkpoints(settings: Settings) -> tuple[list[Checkpoint], list[str]]:
    """Return every checkpoint with a good signature, each once, and what is wrong with the others.

    A Kafka that is away is a fault too: what could contradict the database cannot be heard.
    """
    faults: list[str] = []
    told: list[tuple[str, CheckpointSigned]] = []
    for entry in await asyncio.to_thread(AppendOnlyFile(settings.checkpoint_file).all):
        try:
            told.append(("the checkpoint file", CheckpointSigned.model_validate(entry)))
        except ValidationError:
            faults.append(f"the checkpoint file has an entry that is no checkpoint: {str(entry)[:100]}")
    try:
        told += [(TOPIC, one) async for one in _published(settings.kafka_bootstrap_servers)]
    except (KafkaError, OSError, Gone) as error:
        faults.append(f"the checkpoints on {TOPIC} cannot be read: {error}")
    public_key = Signer(settings.signing_key.get_secret_value()).public_key
    good: dict[tuple[int, str], Checkpoint] = {}
    for where, one in told:
        if one.log_id == settings.log_id and signature_is_good(one, public_key):
            good.setdefault((one.size, one.root), Checkpoint(one.size, one.root, where))
        elif one.log_id == settings.log_id:
            faults.append(f"{where} has a checkpoint of {one.size} records whose signature is wrong")
    return list(good.values()), faults


async def _published(bootstrap_servers: str) -> AsyncIterator[CheckpointSigned]:
    ends: dict[Any, int] = await ends_of(bootstrap_servers, [TOPIC])
    async for message in messages_between(bootstrap_servers, {}, ends):
        try:
            envelope = decode(message.headers, message.value)
            if envelope.type == CheckpointSigned.TYPE:
                yield CheckpointSigned.model_validate(envelope.data)
        except (MalformedMessage, ValidationError):
            continue
