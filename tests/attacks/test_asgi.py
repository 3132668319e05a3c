"""Every attack on every ASGI server: the bounds hold, or the gap is known."""

import pytest

from tests.attacks.cases import cases, check
from tests.attacks.conftest import Attacked
from tests.attacks.runner import ATTACKED_ASGI

pytestmark = pytest.mark.server


@pytest.mark.parametrize(("server", "attack"), cases(ATTACKED_ASGI))
def test_an_attack_ends_at_the_bounds(figures: Attacked, server: str, attack: str) -> None:
    check(figures, server, attack)
