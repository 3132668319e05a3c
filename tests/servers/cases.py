"""The cases of the conformance kit, and how patient the tests of the servers are with them."""

from drainkit_conformance import CASES, TIMEOUT_SECONDS, TRIES, Case, page

__all__ = [
    "CASES",
    "KIB",
    "MIB",
    "PAGE",
    "TIMEOUT_SECONDS",
    "TIMEOUT_WITHOUT_SECONDS",
    "TRIES",
    "TRIES_WITHOUT",
    "Case",
]

KIB = 1024
MIB = 1024 * KIB
PAGE = page()

# Without drainkit a loss may be a race: so many tries must show one.
TRIES_WITHOUT = 20
# A 4 MB page without drainkit stops both sides for good: no need to watch it for long.
TIMEOUT_WITHOUT_SECONDS = 2.0
