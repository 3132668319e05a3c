"""What one run is told: where drainkit stands, and whether requests are given bodies."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

VARIABLE = "DRAINKIT_PEERS"

# More than a small error's head, and in two messages under ASGI.
BODY_BYTES = 3000


class Place(StrEnum):
    """Where drainkit stands around an application of another project's tests.

    The test clients are no server that drainkit knows, so there it discards first. The two other
    outermost places are taken for servers at which it discards between the answer's bytes and its
    end, or behind both.
    """

    OUTERMOST = "outermost"
    OUTERMOST_BETWEEN = "outermost, discards between"
    OUTERMOST_BEHIND = "outermost, discards behind"
    INIT_APP = "init_app"
    ADD_MIDDLEWARE = "add_middleware"
    MIDDLEWARE = "MIDDLEWARE"


OUTERMOST = frozenset({Place.OUTERMOST, Place.OUTERMOST_BETWEEN, Place.OUTERMOST_BEHIND})


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One run.

    Attributes:
        framework: The module ``around_...`` that knows what to wrap.
        place: Where drainkit stands; ``None`` for nowhere.
        body_bytes: What each request without a body is given as one, outside of drainkit. 0 leaves
            requests alone.
        results: The path of the file that outcomes are written to.
    """

    framework: str
    place: Place | None
    body_bytes: int
    results: str

    def in_environment(self) -> dict[str, str]:
        """Return the environment variable that tells it."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def told(cls, environment: Mapping[str, str] = os.environ) -> "Setting":
        """Read it from the environment."""
        fields = json.loads(environment[VARIABLE])
        place = fields.pop("place")
        return cls(place=None if place is None else Place(place), **fields)
