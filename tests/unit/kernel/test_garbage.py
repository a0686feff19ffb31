"""A process that has started leaves its imports out of collections, and still finds cycles."""

import subprocess
import sys

_PROCESS = """
import gc
from lms.kernel import garbage

class Node:
    alive = 0
    def __init__(self):
        Node.alive += 1
        self.itself = self
    def __del__(self):
        Node.alive -= 1

garbage.collect_seldom()
assert gc.get_freeze_count() > 1_000, gc.get_freeze_count()
for _ in range(3 * garbage.YOUNG):
    Node()
assert 0 < Node.alive <= garbage.YOUNG + 1_000, Node.alive
"""


def test_imports_are_left_out_of_collections_and_cycles_are_found_without_being_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", _PROCESS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
