"""The application's hand on the drain of its own request."""

from __future__ import annotations

from ._drain import Drain
from ._policy import DrainPolicy

CONTROL_KEY = "drainkit.control"
"""The key of the `DrainControl` in a WSGI environ or an ASGI scope."""


class DrainControl:
    """What one request's application may say about its body.

    It stands under ``"drainkit.control"`` in the WSGI environ or the ASGI scope of every request
    that has a body, and survives middleware that copies them.
    """

    __slots__ = ("_drain", "_policy")

    def __init__(self, policy: DrainPolicy | None) -> None:
        """Begin with the policy of the middleware.

        Args:
            policy: The bounds; ``None`` leaves the body alone.
        """
        self._policy = policy
        self._drain: Drain | None = None

    def bind(self, drain: Drain) -> None:
        """Write through to a drain from now on, and give it the policy of this moment.

        Most requests never need a drain, so an adapter may make it late.
        """
        self._drain = drain
        drain.policy = self._policy

    @property
    def policy(self) -> DrainPolicy | None:
        """The bounds for this request's body; ``None`` leaves the body alone.

        Another policy has an effect until the drain begins.

        Raises:
            ValueError: Something else than a `DrainPolicy` or ``None`` is assigned.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: DrainPolicy | None) -> None:
        if policy is not None and not isinstance(policy, DrainPolicy):
            raise ValueError(f"policy must be a DrainPolicy, or None to decline; got {policy!r}")
        self._policy = policy
        if self._drain is not None:
            self._drain.policy = policy
