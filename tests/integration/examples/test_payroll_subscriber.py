"""The example subscriber as a process on a real Kafka: killed at any moment, it writes what it would have written."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from lms_on_paper import Lms

from lms.kernel.ids import new_id
from lms.kernel.kafka import Message, Producer, Topic, declare, recreate

PEOPLE, MONTHS = 40, 8
KILLS = 7


@pytest.fixture
async def topic(kafka_bootstrap: str) -> str:
    """Eight months of forty people, corrected, repeated on the wire, of a log that was restored once."""
    name = f"payroll.{new_id()[-8:]}"
    await declare(kafka_bootstrap, [Topic(name)])
    lms, chance = Lms(partitions=24), Random(7)  # noqa: S311  # repeatable, no secret
    for month in range(MONTHS):
        for person in range(PEOPLE):
            lms.book(person, *((month + ahead, 480) for ahead in range(chance.randint(1, 2))))
            if month and chance.random() < 0.5:
                lms.book(person, (month - 1, -240), kind="absence.corrected")
        if month == MONTHS // 2:
            lms.restore(len(lms.log) - 30)
        lms.close()
        lms.repeat(chance.randrange(24), 50)
    await publish(kafka_bootstrap, name, lms)
    return name


async def publish(kafka_bootstrap: str, topic: str, lms: Lms) -> None:
    """Bring everything that stands on the topic on paper to the real one, which is empty."""
    producer = Producer(kafka_bootstrap, client_id="test")
    await producer.send_all(
        [
            Message(
                topic, "key", (one.value or b"").decode(), {key: text.decode() for key, text in one.headers}, number
            )
            for number, partition in enumerate(lms.topic)
            for one in partition
        ]
    )
    await producer.stop()


def subscriber(kafka_bootstrap: str, topic: str, folder: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "payroll_subscriber", "--bootstrap-servers", kafka_bootstrap, "--topic", topic]
    return subprocess.Popen(
        [*command, "--folder", str(folder), *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def once(kafka_bootstrap: str, topic: str, folder: Path, *more: str) -> str:
    output, _ = (process := subscriber(kafka_bootstrap, topic, folder, "--once", *more)).communicate(timeout=90)
    assert process.returncode == 0, output
    return output


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


async def test_killed_at_any_moment_it_writes_the_same_files(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    once(kafka_bootstrap, topic, undisturbed)
    assert len(written(undisturbed)) == MONTHS
    chance = Random(11)  # noqa: S311  # repeatable, no secret
    for kill in range(KILLS):
        process = subscriber(kafka_bootstrap, topic, killed)
        assert process.stdout is not None
        if not kill:
            process.stdout.readline()  # it has just written a file, and may not have noted it
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(0.1, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
    once(kafka_bootstrap, topic, killed)
    assert written(killed) == written(undisturbed)


async def test_a_topic_read_again_from_its_beginning_changes_nothing(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    once(kafka_bootstrap, topic, tmp_path)
    before = written(tmp_path)
    assert "is written" not in once(kafka_bootstrap, topic, tmp_path, "--from-beginning")
    assert written(tmp_path) == before


async def test_after_a_restore_it_reads_the_topic_that_was_made_anew(kafka_bootstrap: str, tmp_path: Path) -> None:
    topic, lms = f"payroll.{new_id()[-8:]}", Lms(partitions=24)
    await declare(kafka_bootstrap, [Topic(topic)])
    for person in range(PEOPLE):
        lms.book(person, (0, 480))
    kept = len(lms.log)
    lms.book(0, (0, 240))
    lms.close()
    await publish(kafka_bootstrap, topic, lms)
    once(kafka_bootstrap, topic, tmp_path)
    assert sum_of(tmp_path, "2026-01") == PEOPLE * 480 + 240

    lms.restore(kept)
    lms.book(1, (0, 60))
    lms.close()
    lms.close()
    await recreate(kafka_bootstrap, [Topic(topic)])
    await publish(kafka_bootstrap, topic, lms)
    once(kafka_bootstrap, topic, tmp_path)
    assert sum_of(tmp_path, "2026-01") == PEOPLE * 480 + 240, "a file was changed"
    assert sum_of(tmp_path, "2026-02") == 60 - 240


def sum_of(folder: Path, period: str) -> int:
    with (folder / f"absences-{period}.csv").open(encoding="utf-8", newline="") as file:
        return sum(int(line["entitlement_minutes"]) for line in csv.DictReader(file))


async def test_it_ends_with_a_sentence_when_something_is_wrong(
    kafka_bootstrap: str, topic: str, tmp_path: Path
) -> None:
    producer = Producer(kafka_bootstrap, client_id="test")
    await producer.send_all([Message(topic, "key", "junk", {"ce_stream": "absences-x"}, 3)])
    await producer.stop()
    output, _ = (process := subscriber(kafka_bootstrap, topic, tmp_path, "--once")).communicate(timeout=90)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith("payroll-subscriber stops: partition 3, offset ")


async def test_it_stops_in_order_when_it_is_told_to(kafka_bootstrap: str, topic: str, tmp_path: Path) -> None:
    process = subscriber(kafka_bootstrap, topic, tmp_path)
    assert process.stdout is not None
    assert "is written" in process.stdout.readline()
    process.terminate()
    assert process.wait(timeout=30) == 0
    process.stdout.close()
