"""What a deployment does to early answers: uploads to it, and says which answers get lost."""

from . import words
from ._data import as_data, error_shown, schema
from ._html import report
from ._picture import ENDS, Picture, picture
from ._plan import (
    CLIENTS,
    DEFAULT_MAX_TOTAL_BYTES,
    DEFAULT_SIZES,
    DEFAULT_TRIES,
    WAYS,
    Plan,
)
from ._run import Attempt, Probe, Reuse
from ._target import BadTargetError, Family, NotTestedError, Target, is_loopback, parse_header
from ._verdict import Fate, Kind, Verdict, cells, fates, judge, not_tested, pair, rows
from ._version import VERSION

__all__ = [
    "CLIENTS",
    "DEFAULT_MAX_TOTAL_BYTES",
    "DEFAULT_SIZES",
    "DEFAULT_TRIES",
    "ENDS",
    "VERSION",
    "WAYS",
    "Attempt",
    "BadTargetError",
    "Family",
    "Fate",
    "Kind",
    "NotTestedError",
    "Picture",
    "Plan",
    "Probe",
    "Reuse",
    "Target",
    "Verdict",
    "as_data",
    "cells",
    "error_shown",
    "fates",
    "is_loopback",
    "judge",
    "not_tested",
    "pair",
    "parse_header",
    "picture",
    "report",
    "rows",
    "schema",
    "words",
]
