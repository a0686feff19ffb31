import pytest

from lms.kernel.keyring import Cipher, Tampered, derive_key
from lms.kernel.sealed import ERASED, Erased


def test_keys_for_two_purposes_differ() -> None:
    assert derive_key("secret", "one") == derive_key("secret", "one")
    assert derive_key("secret", "one") != derive_key("secret", "two")
    assert len(derive_key("secret", "one")) == 32


def test_a_cipher_opens_what_it_sealed_for_the_same_thing_only() -> None:
    cipher = Cipher("test", "secret")
    sealed = cipher.seal(b"plain", "about-this")
    assert cipher.open(sealed, "about-this") == b"plain"
    with pytest.raises(Tampered):
        cipher.open(sealed, "about-that")


def test_the_first_secret_seals_and_every_one_opens() -> None:
    sealed = Cipher("test", "old").seal(b"plain", "it")
    assert Cipher("test", "new", "old").open(sealed, "it") == b"plain"
    assert Cipher("test", "new", "other", "old").opened(sealed, "it") == (2, b"plain")
    assert Cipher("test", "old").open(Cipher("test", "old", "new").seal(b"plain", "it"), "it") == b"plain"
    with pytest.raises(Tampered):
        Cipher("test", "new").open(sealed, "it")


def test_erased_values_are_equal_and_say_so() -> None:
    assert Erased() == ERASED
    assert str(ERASED) == "[erased]"
