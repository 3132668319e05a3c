"""What the tests of WSGI and of ASGI servers have in common; two files run side by side."""

from tests.attacks.attacks import ATTACKS
from tests.attacks.conftest import Attacked
from tests.attacks.expected import applies, surprises


def cases(servers: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return every server with every attack that can be made on it."""
    return [
        (server, attack.name)
        for server in servers
        for attack in ATTACKS.values()
        if applies(server, attack)
    ]


def check(figures: Attacked, server: str, attack: str) -> None:
    """Check that an attack did what is known of it, and nothing else."""
    row = figures.rows(server)[attack]

    assert (frozenset(), frozenset()) == surprises(row), row
