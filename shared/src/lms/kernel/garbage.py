"""How often a process looks for garbage cycles.

A service keeps some hundred thousand objects from its imports for as long as it lives, and makes many short-lived ones
for each request and each batch of facts, hardly any of them in a cycle. With Python's own thresholds the collector
walks over them again and again: more than half of the time of reading facts for a rebuild went there
(docs/benchmarks.md).
"""

import gc

YOUNG = 20_000
"""So many more objects made than released begin a collection of the youngest ones; Python's own figure is 700."""


def collect_seldom() -> None:
    """Leave what there is now out of every later collection, and collect, less often, from now on.

    To be called once, when everything is imported and before the work begins. Cycles are still found; at most some
    thousands of small objects wait for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    gc.enable()  # whoever starts a process may have left that off for the imports
