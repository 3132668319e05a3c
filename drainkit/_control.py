"""The application's hand on the drain of its own request."""

from __future__ import annotations

from ._policy import DrainPolicy

CONTROL_KEY = "drainkit.control"
"""The key of the `DrainControl` in a WSGI environ or an ASGI scope."""


class DrainControl:
    """What one request's application may say about its body.

    It stands under ``"drainkit.control"`` in the WSGI environ or the ASGI scope of every request
    that has a body, and survives middleware that copies them.
    """

    __slots__ = ("_policy",)

    def __init__(self, policy: DrainPolicy | None) -> None:
        self._policy = policy

    @property
    def policy(self) -> DrainPolicy | None:
        """The bounds for this request's body; ``None`` leaves the body alone.

        Raises:
            ValueError: Something else than a `DrainPolicy` or ``None`` is assigned.
        """
        return self._policy

    @policy.setter
    def policy(self, policy: DrainPolicy | None) -> None:
        if policy is not None and not isinstance(policy, DrainPolicy):
            raise ValueError(f"policy must be a DrainPolicy, or None to decline; got {policy!r}")
        self._policy = policy
