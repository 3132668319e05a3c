"""An earlier run, read from what ``--json`` printed, as far as it is compared.

Rule: the file may be anything. What is wrong with it is said with the cure, and its content is
shown only as `clean` leaves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ._fates import Fate
from ._target import clean
from ._version import FORMAT

_FATES = frozenset(fate.value for fate in Fate)
_PLAN = ("method", "body", "header_names", "timeout_seconds", "rate_bytes_per_second")


class BadReportError(ValueError):
    """The earlier report cannot be compared with; the message says why, and the cure."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Uploads that differ in nothing but luck, by names.

    Attributes:
        way: The way's name.
        client: The client's.
        size_bytes: The length of the body.
    """

    way: str
    client: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some uploads lost their answers.

    Attributes:
        lost: Those that did, in whichever way.
        tried: All of them.
    """

    lost: int
    tried: int

    def is_like(self, other: Share) -> bool:
        """Whether the same part of the uploads is lost in both."""
        return self.lost * other.tried == other.lost * self.tried

    def __str__(self) -> str:
        return f"{self.lost} of {self.tried}"


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run.

    Attributes:
        url: What was probed, fit to be shown.
        began: When; None if the report does not say.
        server: What the server called itself, fit to be shown; None if it did not.
        shares: What became of its uploads.
        early: How many of its answers arrived early.
        interrupted: Whether it was ended before its end.
        plan: What of its plan is compared, by the names that JSON has.
    """

    url: str
    began: datetime | None
    server: str | None
    shares: Mapping[Spot, Share]
    early: int
    interrupted: bool
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, data: object) -> Earlier:
        """Return the run that a report is about.

        Args:
            data: What `as_data` returned, or JSON's types read from what ``--json`` printed.

        Raises:
            BadReportError: It is no such report, or nothing was uploaded then.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise BadReportError(
                f"it is no report of format {FORMAT}; make one with: drainkit probe URL --json"
            )
        try:
            return cls._of(data)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, BadReportError):
                raise
            raise BadReportError(
                "it is not what --json printed, or a newer drainkit wrote it; make one anew"
            ) from None

    @classmethod
    def _of(cls, data: dict[str, Any]) -> Earlier:
        tried: Counter[Spot] = Counter()
        lost: Counter[Spot] = Counter()
        early = 0
        for one in data["uploads"]:
            spot = Spot(str(one["way"]), str(one["client"]), int(one["size_bytes"]))
            if one["fate"] not in _FATES:
                raise ValueError
            is_delivered = one["fate"] == Fate.DELIVERED.value
            tried[spot] += 1
            lost[spot] += not is_delivered
            noticed = one["sent_at_noticed_bytes"]
            early += is_delivered and noticed is not None and int(noticed) < spot.size_bytes
        if not tried:
            raise BadReportError("nothing was uploaded then; make one with a server that answers")
        server = data["target"]["server"]
        return cls(
            url=clean(str(data["target"]["url"]), 200),
            began=_date(data.get("began")),
            server=clean(str(server), 60) if server is not None else None,
            shares={spot: Share(lost[spot], tried[spot]) for spot in tried},
            early=early,
            interrupted=bool(data["interrupted"]),
            plan={name: data["plan"][name] for name in _PLAN},
        )


def _date(said: object) -> datetime | None:
    began = datetime.fromisoformat(str(said)) if said is not None else None
    return began.astimezone(UTC) if began is not None and began.tzinfo is not None else None
