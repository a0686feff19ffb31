"""Use cases about erasure: one person asks, another agrees, and nobody can read what was written about the subject.

HR asks and an administrator agrees (four eyes; the same person never does both, and nobody decides on their own
data). Erasing destroys the data key and the plain rows in the transaction of the fact, after the person was entered
in the erasure list, which stands apart from every back-up.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from lms.directory import store
from lms.directory.commands.people import Registry
from lms.directory.decider import EMPLOYEE
from lms.directory.decider.employee import Employed, EmployeeUnknown, Erase, StillEmployed
from lms.directory.events import EmployeeErased
from lms.directory.store import Erasure
from lms.kernel.errors import Conflict, FourEyes, NotFound
from lms.kernel.execution import Executor, UnitOfWork


class ErasureNotFound(NotFound):
    """Nobody asked for this erasure."""

    code = "erasure-not-found"


class AlreadyErased(Conflict):
    """The person was erased before."""

    code = "already-erased"


async def request_erasure(uow: UnitOfWork, employee_id: str, requested_by: str) -> Erasure:
    """Ask for an erasure; asking again changes nothing.

    Raises EmployeeUnknown, StillEmployed, AlreadyErased, and FourEyes for one's own data.
    """
    if employee_id == requested_by:
        raise FourEyes("Let somebody else ask for the erasure of your own data.")
    state = (await uow.load(EMPLOYEE, employee_id)).state
    if not isinstance(state, Employed):
        raise EmployeeUnknown("There is no such employee.")
    if state.erased:
        raise AlreadyErased("This person's data is erased already.")
    if state.last_day is None or state.last_day >= uow.today:
        raise StillEmployed("Enter the last day of employment first, and ask for the erasure after that day.")
    found = await store.lock_erasure(uow.connection, employee_id)
    if found is not None:
        return found
    asked = Erasure(employee_id, requested_by, datetime.now(UTC), None, None)
    await store.write_erasure(uow.connection, asked)
    return asked


async def withdraw_erasure(uow: UnitOfWork, employee_id: str) -> None:
    """Take back an erasure that nobody has agreed to yet. Raises ErasureNotFound, AlreadyErased."""
    found = await _asked(uow, employee_id)
    if found.confirmed_at is not None:
        raise AlreadyErased("This person's data is erased already, which cannot be undone.")
    await store.withdraw_erasure(uow.connection, employee_id)


async def confirm_erasure(
    uow: UnitOfWork, registry: Registry, listed: store.ErasureList, employee_id: str, confirmed_by: str
) -> Erasure:
    """Agree to an erasure and carry it out; agreeing again changes nothing. Raises ErasureNotFound, FourEyes."""
    found = await _asked(uow, employee_id)
    if found.confirmed_at is not None:
        return found
    if confirmed_by in {found.requested_by, employee_id}:
        raise FourEyes("Another administrator than the person who asked, and not the subject, has to agree.")
    done = replace(found, confirmed_by=confirmed_by, confirmed_at=datetime.now(UTC))
    await store.write_erasure(uow.connection, done)
    await _erase(uow, registry, listed, employee_id)
    return done


async def reapply_erasures(executor: Executor, registry: Registry, listed: store.ErasureList) -> list[str]:
    """Erase again whoever is on the list and, after a restore, in the database; return who that was."""
    return [
        employee_id
        for employee_id in await asyncio.to_thread(listed.all)
        if await executor.run(partial(_erase_again, registry=registry, employee_id=employee_id))
    ]


async def _asked(uow: UnitOfWork, employee_id: str) -> Erasure:
    found = await store.lock_erasure(uow.connection, employee_id)
    if found is None:
        raise ErasureNotFound("Nobody has asked for the erasure of this person.")
    return found


async def _erase(uow: UnitOfWork, registry: Registry, listed: store.ErasureList, employee_id: str) -> None:
    await uow.handle(EMPLOYEE, employee_id, Erase(uow.today), key=employee_id)
    await asyncio.to_thread(listed.add, employee_id, datetime.now(UTC))
    await _destroy(uow, registry, employee_id)


async def _erase_again(uow: UnitOfWork, *, registry: Registry, employee_id: str) -> bool:
    loaded = await uow.load(EMPLOYEE, employee_id)
    if isinstance(loaded.state, Employed) and not loaded.state.erased:
        await uow.append(
            EMPLOYEE, employee_id, loaded.version, [EmployeeErased(employee_id=employee_id)], key=employee_id
        )
    elif await store.person_of(uow.connection, employee_id) is None:
        return await registry.keyring.destroy(uow.connection, employee_id)
    await _destroy(uow, registry, employee_id)
    return True


async def _destroy(uow: UnitOfWork, registry: Registry, employee_id: str) -> None:
    await registry.keyring.destroy(uow.connection, employee_id)
    await store.forget_person(uow.connection, employee_id)
