"""Checkpoints only ever cover more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lms.audit.commands import Signer, signature_is_good
from lms.audit.decider.checkpoints import CHECKPOINTS, LogShrunk, PublishCheckpoint, TellRestored
from lms.audit.events import LogRestored
from lms.kernel.testing import given

SIGNER = Signer("s" * 64)
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
FIVE = SIGNER.sign("lms", 5, "aa" * 32, AT)
NINE = SIGNER.sign("lms", 9, "bb" * 32, AT)


def test_a_checkpoint_of_more_records_is_published() -> None:
    assert given(CHECKPOINTS, FIVE).when(PublishCheckpoint(NINE)) == [NINE]


def test_the_same_again_is_no_fact() -> None:
    assert given(CHECKPOINTS, FIVE).when(PublishCheckpoint(FIVE)) == []


def test_a_log_that_has_shrunk_is_not_signed() -> None:
    given(CHECKPOINTS, FIVE, NINE).refuses(PublishCheckpoint(FIVE), LogShrunk)


def test_a_signature_holds_for_what_was_signed_by_that_key_alone() -> None:
    assert signature_is_good(FIVE, SIGNER.public_key)
    assert not signature_is_good(FIVE.model_copy(update={"size": 6}), SIGNER.public_key)
    assert not signature_is_good(FIVE.model_copy(update={"root": "cc" * 32}), SIGNER.public_key)
    assert not signature_is_good(FIVE, Signer("t" * 64).public_key)
    assert not signature_is_good(FIVE.model_copy(update={"signature": "bm8="}), SIGNER.public_key)


def restored(size: int, log_epoch: int) -> LogRestored:
    return SIGNER.sign_restored(
        LogRestored(
            log_id="lms", size=size, root="dd" * 32, abandoned_size=9, abandoned_root="bb" * 32, log_epoch=log_epoch,
            restored_to=AT, signed_at=AT, public_key="", signature="",
        )
    )  # fmt: skip


def test_after_a_restore_checkpoints_go_on_from_what_was_kept() -> None:
    log = given(CHECKPOINTS, FIVE, NINE, restored(4, 2))
    assert log.when(PublishCheckpoint(FIVE)) == [FIVE]
    log.refuses(PublishCheckpoint(SIGNER.sign("lms", 3, "aa" * 32, AT)), LogShrunk)


def test_a_restore_is_told_once() -> None:
    assert given(CHECKPOINTS, NINE).when(TellRestored(restored(4, 2))) == [restored(4, 2)]
    assert given(CHECKPOINTS, NINE, restored(4, 2)).when(TellRestored(restored(4, 2))) == []
    assert given(CHECKPOINTS, NINE, restored(4, 2)).when(TellRestored(restored(4, 3))) == [restored(4, 3)]


@pytest.mark.parametrize(
    "change", [{"size": 3}, {"abandoned_size": 8}, {"log_epoch": 3}, {"restored_to": AT + timedelta(seconds=1)}]
)
def test_a_restore_is_signed_with_all_that_it_says(change: dict[str, Any]) -> None:
    assert signature_is_good(restored(4, 2), SIGNER.public_key)
    assert not signature_is_good(restored(4, 2).model_copy(update=change), SIGNER.public_key)
