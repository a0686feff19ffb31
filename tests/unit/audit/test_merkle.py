"""The hash tree is RFC 6962's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lms.audit.decider.merkle import EMPTY_ROOT, Tree, leaf_hash, record_bytes

LEAVES = tuple(
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
)
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""The tree heads that the reference implementation of Certificate Transparency gives for those leaves."""


def test_the_tree_heads_are_those_of_the_reference_implementation() -> None:
    tree = Tree()
    assert tree.root() == EMPTY_ROOT == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.add(leaf_hash(leaf))
        assert tree.root() == root


@given(st.integers(0, 300))
def test_a_stored_tree_grows_as_the_tree_itself_does(size: int) -> None:
    tree = Tree()
    for number in range(size):
        tree.add(leaf_hash(str(number).encode()))
    again = Tree.of(tree.size, tree.stored())
    for one in (tree, again):
        one.add(leaf_hash(b"next"))
    assert again.root() == tree.root()


def test_a_stored_tree_that_lacks_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="has 2 subtrees"):
        Tree.of(3, ["00" * 32])


text = st.text(max_size=5)
record = st.tuples(text, text, st.lists(st.tuples(text, text), max_size=3), st.none() | text)


@given(record, record)
def test_two_records_have_the_same_bytes_only_if_they_are_the_same(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    assert (record_bytes(*one) == record_bytes(*other)) == (one == other)
