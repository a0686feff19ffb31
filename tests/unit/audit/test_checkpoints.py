"""Checkpoints only ever cover more."""

from datetime import UTC, datetime

from lms.audit.commands import Signer, signature_is_good
from lms.audit.decider.checkpoints import CHECKPOINTS, LogShrunk, PublishCheckpoint
from lms.kernel.testing import given

SIGNER = Signer("s" * 64)
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
FIVE = SIGNER.sign("lms", 5, "aa" * 32, AT)
NINE = SIGNER.sign("lms", 9, "bb" * 32, AT)


def test_a_checkpoint_of_more_records_is_published() -> None:
    assert given(CHECKPOINTS, FIVE).when(PublishCheckpoint(**NINE.model_dump())) == [NINE]


def test_the_same_again_is_no_fact() -> None:
    assert given(CHECKPOINTS, FIVE).when(PublishCheckpoint(**FIVE.model_dump())) == []


def test_a_log_that_has_shrunk_is_not_signed() -> None:
    given(CHECKPOINTS, FIVE, NINE).refuses(PublishCheckpoint(**FIVE.model_dump()), LogShrunk)


def test_a_signature_holds_for_what_was_signed_by_that_key_alone() -> None:
    assert signature_is_good(FIVE, SIGNER.public_key)
    assert not signature_is_good(FIVE.model_copy(update={"size": 6}), SIGNER.public_key)
    assert not signature_is_good(FIVE.model_copy(update={"root": "cc" * 32}), SIGNER.public_key)
    assert not signature_is_good(FIVE, Signer("t" * 64).public_key)
    assert not signature_is_good(FIVE.model_copy(update={"signature": "bm8="}), SIGNER.public_key)
