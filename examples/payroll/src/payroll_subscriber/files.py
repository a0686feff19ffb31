"""The monthly file: whole or not at all, and the same bytes whenever it is written."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from payroll_subscriber.store import COLUMNS


def write(folder: Path, period: str, lines: Iterable[tuple[Any, ...]]) -> Path:
    """Write a month's file, and return once it is on the disk under its name."""
    path = folder / f"absences-{period}.csv"
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path
