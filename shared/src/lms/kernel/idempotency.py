"""Commands that may be sent twice: one idempotency key has one effect and one answer.

The first statement of the command's transaction claims (caller, route, key); the last stores the answer, sealed. So the
claim, the events and the answer commit together or not at all, and a concurrent twin waits on the claim and then finds
the answer. Both go with other statements (`later`): a use case that was run before ends where it first asks the
database, and does nothing outside of the transaction before that. Refusals (4xx) change nothing, and are stored
afterwards in a transaction of their own; 5xx and lost races are never stored, for repeating them is right. Rows are
kept for KEPT.
"""

import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import orjson
from pymysql.err import MySQLError
from sqlalchemy import bindparam, insert, select, text, update

from lms.kernel.database import Database, is_duplicate
from lms.kernel.errors import DomainError, IdempotencyKeyReused, Malformed, Unavailable
from lms.kernel.execution import CommandContext, Executor, NothingToDo, UnitOfWork
from lms.kernel.keyring import Cipher, derive_key
from lms.kernel.metrics import COMMANDS_REPLAYED
from lms.kernel.pages import behind
from lms.kernel.schema import idempotency
from lms.kernel.statements import Statement, later

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

KEPT = timedelta(days=7)
PURGE_BATCH = 1000
REPLAYED = "Idempotency-Replayed"

_CLAIM = Statement(insert(idempotency))
_KEEP = Statement(
    update(idempotency)
    .where(
        idempotency.c.caller == bindparam("of_caller"),
        idempotency.c.route == bindparam("of_route"),
        idempotency.c.key_ == bindparam("of_key"),
    )
    .values(status=bindparam("to_status"), answer=bindparam("to_answer"))
)

_PURPOSE = "idempotency answers"
_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_SERVER_ERROR = 500
_ATTEMPTS = 5


class BadIdempotencyKey(Malformed):
    """The Idempotency-Key is not 1 to 128 visible ASCII characters."""

    code = "bad-idempotency-key"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it goes out, and as it is stored."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """One use of an idempotency key: who, on which route (method and template), and what was asked."""

    caller: str
    route: str
    key: str
    request: bytes

    def about(self) -> str:
        """Return what the stored answer is bound to."""
        return f"{self.caller}/{self.route}/{self.key}"


class _AnsweredBefore(NothingToDo):
    """Another request holds the key, and has committed."""


def _answered_before(error: MySQLError) -> _AnsweredBefore | None:
    return _AnsweredBefore() if is_duplicate(error) else None


class StoredAnswers:
    """The answers that one service has given, sealed under keys derived from ENCRYPTION_KEY; the others still open."""

    def __init__(self, database: Database, secret: str, *others: str) -> None:
        self._database = database
        self._cipher = Cipher(_PURPOSE, secret, *others)
        self._digest_keys = [derive_key(one, "idempotency requests") for one in (secret, *others)]

    async def once(
        self,
        claim: Claim,
        executor: Executor,
        context: CommandContext,
        work: Callable[[UnitOfWork], Awaitable[tuple[Reply, T]]],
        *,
        refusal: Callable[[DomainError], Reply],
    ) -> tuple[Reply, T | None]:
        """Do the work unless its key was answered before; return the answer, and the result if it was done now.

        Raises BadIdempotencyKey, IdempotencyKeyReused, and those errors of the work that are not stored (5xx, races).
        """
        if not _KEY.fullmatch(claim.key):
            raise BadIdempotencyKey("An Idempotency-Key has 1 to 128 visible ASCII characters; a UUID is good.")

        async def claimed(uow: UnitOfWork) -> tuple[Reply, T]:
            await self._claim(uow.connection, claim)
            answer, result = await work(uow)
            await self._keep(uow.connection, claim, answer)
            return answer, result

        for _ in range(_ATTEMPTS):
            try:
                return await executor.run(claimed, context=context)
            except _AnsweredBefore:
                stored = await self._stored(claim)
                if stored is not None:
                    return stored, None
            except DomainError as error:
                if error.status >= _SERVER_ERROR:
                    raise
                stored = await self._refuse(claim, refusal(error))
                if stored is not None:
                    return stored, None
        raise Unavailable("Another request with this Idempotency-Key is under way; repeat in a moment.")

    async def purge(self) -> int:
        """Delete answers older than KEPT, in short transactions; return how many."""
        before = datetime.now(UTC) - KEPT
        count = 0
        while True:
            async with self._database.transaction() as connection:
                deleted = await connection.execute(
                    text("DELETE FROM idempotency WHERE created_at < :before ORDER BY created_at LIMIT :batch"),
                    {"before": before, "batch": PURGE_BATCH},
                )
            count += deleted.rowcount
            if deleted.rowcount < PURGE_BATCH:
                return count

    def _digest(self, claim: Claim, key: bytes) -> str:
        return hmac.digest(key, claim.request, "sha256").hex()

    async def _claim(self, connection: "AsyncConnection", claim: Claim, answer: Reply | None = None) -> None:
        entered = _CLAIM.having(
            caller=claim.caller,
            route=claim.route,
            key_=claim.key,
            body_hmac=self._digest(claim, self._digest_keys[0]),
            status=answer.status if answer else None,
            answer=self._sealed(claim, answer) if answer else None,
            created_at=datetime.now(UTC),
        )
        await later(connection, entered, refused=_answered_before)

    async def _keep(self, connection: "AsyncConnection", claim: Claim, answer: Reply) -> None:
        kept = _KEEP.having(
            of_caller=claim.caller,
            of_route=claim.route,
            of_key=claim.key,
            to_status=answer.status,
            to_answer=self._sealed(claim, answer),
        )
        await later(connection, kept)

    async def _refuse(self, claim: Claim, answer: Reply) -> Reply | None:
        """Store a refusal; return it, or the answer of a twin that was faster (None: look again)."""
        try:
            async with self._database.transaction() as connection:
                await self._claim(connection, claim, answer)
        except _AnsweredBefore:
            return await self._stored(claim)
        return answer

    async def _stored(self, claim: Claim) -> Reply | None:
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(idempotency.c.body_hmac, idempotency.c.status, idempotency.c.answer).where(
                        idempotency.c.caller == claim.caller,
                        idempotency.c.route == claim.route,
                        idempotency.c.key_ == claim.key,
                    )
                )
            ).first()
        if row is None:
            return None
        if not any(hmac.compare_digest(row.body_hmac, self._digest(claim, key)) for key in self._digest_keys):
            raise IdempotencyKeyReused("This Idempotency-Key was used for another request; take a new one.")
        COMMANDS_REPLAYED.inc()
        stored = orjson.loads(self._cipher.open(row.answer, claim.about()))
        return Reply(row.status, {**stored["headers"], REPLAYED: "true"}, stored["body"].encode())

    def _sealed(self, claim: Claim, answer: Reply) -> str:
        plain = orjson.dumps({"headers": answer.headers, "body": answer.body.decode()})
        return self._cipher.seal(plain, claim.about())


async def stored_replies(
    connection: "AsyncConnection", secret: str, *others: str
) -> AsyncIterator[tuple[str, Reply | None]]:
    """Return what every stored answer is about, and the answer; None where there is a claim without an answer."""
    cipher = Cipher(_PURPOSE, secret, *others)
    rows = idempotency.c
    last: tuple[str, str, str] = ("", "", "")
    while True:
        found = await connection.execute(
            select(rows.caller, rows.route, rows.key_, rows.status, rows.answer)
            .where(behind((rows.caller, rows.route, rows.key_), last))
            .order_by(rows.caller, rows.route, rows.key_)
            .limit(PURGE_BATCH)
        )
        page = found.all()
        for row in page:
            last = (row.caller, row.route, row.key_)
            about = "/".join(last)
            reply = None
            if row.answer is not None:
                stored = orjson.loads(cipher.open(row.answer, about))
                reply = Reply(row.status, stored["headers"], stored["body"].encode())
            yield about, reply
        if len(page) < PURGE_BATCH:
            return


def canonical_request(path: str, query: str, body: bytes) -> bytes:
    """Return what the digest of a request is taken over: path, query, and the body with its keys sorted.

    Two JSON bodies that differ only in spaces or the order of their keys are the same request.
    """
    try:
        canonical = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS) if body else b""
    except orjson.JSONDecodeError:
        canonical = body
    return b"\n".join((path.encode(), query.encode(), canonical))
