"""Whether a link can be made here is found out by making one; these tests make none."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.link import emulated


class End:
    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield


class There:
    client = End()


@contextlib.contextmanager
def made(*_: object) -> Iterator[There]:
    yield There()


def refused(*_: object) -> object:
    raise emulated.LinkError("no network namespace")


def test_where_one_can_be_made_no_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.sys, "platform", "linux")
    monkeypatch.setattr(emulated, "emulated", made)

    # Behind its cache, which holds what is true here.
    assert emulated.unavailable.__wrapped__() is None


def test_where_none_can_be_made_the_reason_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.sys, "platform", "linux")
    monkeypatch.setattr(emulated, "emulated", refused)
    why = emulated.unavailable.__wrapped__()

    assert why is not None
    assert why.startswith("no network namespace")
    assert "be root" in why


def test_where_there_is_no_linux_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated.sys, "platform", "darwin")
    monkeypatch.setattr(emulated, "emulated", made)

    assert "network namespaces are Linux's" == emulated.unavailable.__wrapped__()
