"""`python -m payroll_subscriber --folder out`: follow the topic, and write a file for each complete month."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiokafka.errors import KafkaError

from payroll_subscriber.facts import Unreadable
from payroll_subscriber.store import Busy, Missing, Store
from payroll_subscriber.subscriber import run


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="payroll-subscriber", description=__doc__)
    parser.add_argument(
        "--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"),
        help="where Kafka is (KAFKA_BOOTSTRAP_SERVERS)",
    )  # fmt: skip
    parser.add_argument("--topic", default="leave.payroll.v1", help="the topic to read")
    parser.add_argument("--folder", type=Path, required=True, help="where the files go, and what it knows")
    parser.add_argument("--once", action="store_true", help="read what there is, and end")
    parser.add_argument(
        "--from-beginning", action="store_true", help="read the topic again; what was seen has no second effect"
    )
    return parser.parse_args(arguments)


async def _follow(chosen: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Store(chosen.folder / "subscriber.sqlite")) as store:
        if chosen.from_beginning:
            store.forget_offsets()
        await run(
            store,
            chosen.folder,
            bootstrap_servers=chosen.bootstrap_servers,
            topic=chosen.topic,
            once=chosen.once,
            stop=stop,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until told to stop; end with 1 and a sentence when a person has to look at something."""
    try:
        asyncio.run(_follow(_arguments(arguments)))
    except (Busy, Missing, Unreadable, KafkaError) as error:
        sys.exit(f"payroll-subscriber stops: {error}")


if __name__ == "__main__":
    main()
