"""What the tests over a link share."""

import pytest

from tests.link.emulated import unavailable


@pytest.fixture(scope="session")
def link_allowed() -> None:
    """Skip where no link can be made, and say why."""
    if why := unavailable():
        pytest.skip(why)
