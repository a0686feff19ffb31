"""Whatever is done to the log is found, and nothing is found in one that nobody touched."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lms.audit.decider.merkle import EMPTY_ROOT, Tree, leaf_hash, record_bytes
from lms.audit.decider.verification import Checkpoint, Record, SignedHead, Verification, searched_by, standing

Log = list[Record]
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def log_of(size: int, *, streams: int = 3) -> Log:
    """Return a log as the service writes it."""
    tree = Tree()
    return [_written(tree, number % streams, number // streams + 1, f'{{"n": {number}}}') for number in range(size)]


def _written(tree: Tree, stream: int, version: int, payload: str) -> Record:
    headers = (
        ("ce_id", f"{stream}-{version}"),
        ("ce_stream", f"thing-{stream}"),
        ("ce_streamversion", str(version)),
        ("ce_logepoch", "1"),
        ("ce_type", "thing.done"),
    )
    leaf = leaf_hash(record_bytes("topic", f"key-{stream}", headers, payload))
    tree.add(leaf)
    return Record(tree.size, "topic", f"key-{stream}", headers, payload, leaf, tree.root(), searched_by(headers))


def rewritten(log: Log, since: int) -> Log:
    """Return the log with the hashes and places from `since` on as if it had been written so."""
    tree, made = Tree(), []
    for number, one in enumerate(log):
        leaf = one.leaf_again() if number >= since else one.leaf
        tree.add(leaf)
        made.append(replace(one, position=number + 1, leaf=leaf, root=tree.root()) if number >= since else one)
    return made


def head_of(log: Log) -> tuple[int, str]:
    tree = Tree()
    for one in log:
        tree.add(one.leaf_again())
    return tree.size, tree.root()


def faults_of(log: Log, *checkpoints: Checkpoint, head: tuple[int, str] | None = None) -> list[str]:
    walk = Verification(checkpoints)
    found = [fault for one in log for fault in walk.record(one)]
    return [*found, *walk.end(*(head or head_of(log)))]


def signed(log: Log, size: int) -> Checkpoint:
    return Checkpoint(size, log[size - 1].root, "the file")


def changed(one: Record) -> Record:
    return replace(one, payload='{"n": "another"}')


def test_a_log_that_nobody_touched_verifies() -> None:
    log = log_of(20)
    assert faults_of(log, signed(log, 7), signed(log, 20)) == []
    assert faults_of([]) == []


def test_a_changed_record_is_named() -> None:
    log = log_of(10)
    log[4] = changed(log[4])
    assert faults_of(log, head=(10, log[-1].root))[0].startswith("record 5 was changed")


def test_a_removed_record_is_named() -> None:
    log = log_of(10)
    del log[4]
    assert faults_of(log, head=(10, log[-1].root))[0].startswith("position 5 is missing")


def test_a_record_changed_together_with_its_hash_is_named() -> None:
    log = log_of(10)
    log[4] = changed(log[4])
    log[4] = replace(log[4], leaf=log[4].leaf_again())
    assert faults_of(log, head=(10, log[-1].root))[0].startswith("record 5 is not the one that followed 4")


def test_two_records_that_changed_places_are_found_where_they_did() -> None:
    log = log_of(10)
    log[3], log[6] = replace(log[6], position=4), replace(log[3], position=7)
    assert faults_of(log)[0].startswith("record 4 is not the one that followed 3")


def test_a_cut_tail_is_found_by_a_checkpoint_from_outside_even_if_the_head_was_cut_too() -> None:
    log = log_of(10)
    (fault,) = faults_of(log[:8], signed(log, 10))
    assert fault.startswith("the tail is cut: the file has a signed checkpoint of 10 records")


def test_a_log_rewritten_with_all_its_hashes_is_found_between_two_checkpoints() -> None:
    log = log_of(20)
    checkpoints = (signed(log, 5), signed(log, 15), signed(log, 20))
    log[9] = changed(log[9])
    found = faults_of(rewritten(log, 9), *checkpoints)
    assert found[0].startswith("the records 6 to 15 are not those")


def test_a_column_that_differs_from_its_header_is_named() -> None:
    log = log_of(3)
    log[1] = replace(log[1], searched_by={**log[1].searched_by, "actor": "somebody else"})
    assert faults_of(log) == ["record 2 shows another actor than its headers have"]


def test_a_stream_that_lacks_a_version_is_named() -> None:
    log = rewritten([one for one in log_of(9, streams=1) if one.position != 5], 0)
    assert faults_of(log) == ["record 5 is version 6 of thing-0 after version 4"]


sizes = st.integers(2, 40)


@given(sizes, st.data())
def test_any_tampering_that_leaves_the_checkpoints_alone_is_found(size: int, data: st.DataObject) -> None:
    log = log_of(size)
    checkpoints = [signed(log, one) for one in {*data.draw(st.sets(st.integers(1, size), max_size=3)), size}]
    head = head_of(log)
    at = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != at))
    deed = data.draw(st.sampled_from(["change", "remove", "insert", "swap", "cut"]))
    match deed:
        case "change":
            log[at] = changed(log[at])
        case "remove":
            del log[at]
        case "insert":
            log.insert(at, changed(log[at]))
        case "swap":
            log[at], log[other] = log[other], log[at]
        case _:
            log = log[:at]
    if data.draw(st.booleans()):
        log, head = rewritten(log, 0), (len(log), head_of(log)[1])
    assert faults_of(log, *checkpoints, head=head), deed


def heads(log: Log, *sizes: int, since: int = 0) -> list[SignedHead]:
    """Return checkpoints of so many records, signed one minute after the other from `since` on."""
    return [SignedHead(signed(log, size), AT + timedelta(minutes=since + number)) for number, size in enumerate(sizes)]


def test_checkpoints_of_what_a_restore_abandoned_do_not_hold_any_more() -> None:
    before, kept = log_of(9), log_of(6)
    back = SignedHead(signed(kept, 6), AT + timedelta(minutes=10), restored=True)
    told = [*heads(before, 3, 6, 8, 9), back]
    assert faults_of(kept, *standing(told)) == []
    assert faults_of(kept, *standing(told[:-1])) != []


def test_a_restore_excuses_nothing_that_was_signed_after_it_and_nothing_that_it_kept() -> None:
    whole = log_of(9)
    back = SignedHead(signed(whole, 6), AT, restored=True)
    told = [back, *heads(whole, 8, 9, since=1)]
    assert faults_of(whole, *standing(told)) == []
    assert faults_of(whole[:7], *standing(told))[-1].startswith("the tail is cut")
    assert faults_of(whole[:5], *standing([back]))[-1].startswith("the tail is cut")


def test_a_second_restore_may_go_back_behind_the_first() -> None:
    whole = log_of(9)
    first = SignedHead(signed(whole, 6), AT + timedelta(minutes=10), restored=True)
    second = SignedHead(signed(whole, 4), AT + timedelta(minutes=20), restored=True)
    told = [*heads(whole, 3, 9), first, *heads(whole, 8, since=11), second]
    assert [one.size for one in standing(told)] == [3, 4]
    assert faults_of(whole[:4], *standing(told)) == []


def test_a_restore_to_an_empty_log_leaves_nothing_to_compare() -> None:
    nothing = SignedHead(Checkpoint(0, EMPTY_ROOT, "the file"), AT + timedelta(minutes=10), restored=True)
    assert standing([*heads(log_of(9), 3, 9), nothing]) == []
