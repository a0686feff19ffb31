"""What a consumer fetched is worked off in parts: none is more than a batch, and nothing is missing or out of order."""

from typing import Any

import pytest
from aiokafka import TopicPartition

from lms.kernel import consumer


@pytest.mark.parametrize("batch", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize("lengths", [[], [3], [3, 0, 5], [1] * 6, [40, 1, 9]])
def test_a_part_is_no_more_than_a_batch_and_all_come_in_their_order(
    monkeypatch: pytest.MonkeyPatch, batch: int, lengths: list[int]
) -> None:
    monkeypatch.setattr(consumer, "BATCH", batch)
    fetched: dict[TopicPartition, list[Any]] = {
        TopicPartition("facts", number): [(number, offset) for offset in range(length)]
        for number, length in enumerate(lengths)
    }
    parts = list(consumer._parts(fetched))
    assert parts
    assert all(sum(map(len, part.values())) <= batch for part in parts)
    for partition, messages in fetched.items():
        assert [one for part in parts for one in part.get(partition, [])] == messages
