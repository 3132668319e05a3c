"""What ``settings.DRAINKIT`` says, and what is wrong with it.

Rule: a default is spelled in `DrainPolicy` and nowhere here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from drainkit import DrainPolicy, OnReport

SETTING = "DRAINKIT"
_ON_REPORT = "on_report"
_FIELDS = [field.name for field in dataclasses.fields(DrainPolicy)]


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a site chose.

    Attributes:
        policy: The bounds of every drain.
        on_report: Told of every drain; ``None`` when nobody is.
    """

    policy: DrainPolicy
    on_report: OnReport | None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the setting.

    Attributes:
        check_id: The id of the system check.
        message: The key and the value.
        hint: The cure.
    """

    check_id: str
    message: str
    hint: str


def read(value: object) -> tuple[Configuration, list[Problem]]:
    """Read the setting's value; return what is good of it and all that is not."""
    policy = DrainPolicy()
    on_report: OnReport | None = None
    if not isinstance(value, Mapping):
        problem = Problem(
            "drainkit.E001",
            f"settings.{SETTING} must be a dict; got {value!r}.",
            f"Write a dict such as {SETTING} = {{'{_FIELDS[0]}': ...}}, or remove the setting.",
        )
        return Configuration(policy, on_report), [problem]
    problems: list[Problem] = []
    for key, item in value.items():
        where = f"settings.{SETTING}[{key!r}]"
        if key == _ON_REPORT:
            try:
                on_report = _on_report(item)
            except ImportError as exc:
                hint = "Give a callable, or the dotted path of one."
                problems.append(Problem("drainkit.E004", f"{where} is {item!r}: {exc}.", hint))
        elif key not in _FIELDS:
            hint = f"Remove it, or use one of: {', '.join([*_FIELDS, _ON_REPORT])}."
            problems.append(Problem("drainkit.E002", f"{where} is not known to drainkit.", hint))
        else:
            try:
                policy = DrainPolicy.from_settings({key: item}, base=policy)
            except ValueError as exc:
                message = f"{where} is {item!r}, which is not allowed."
                problems.append(Problem("drainkit.E003", message, f"{exc}."))
    return Configuration(policy, on_report), problems


def _on_report(item: Any) -> OnReport | None:
    target = import_string(item) if isinstance(item, str) else item
    if target is not None and not callable(target):
        raise ImportError("it cannot be called")
    return target  # type: ignore[no-any-return]


@functools.cache
def configuration() -> Configuration:
    """Return what the site chose.

    Raises:
        ImproperlyConfigured: Something is wrong with the setting; the message names each key, its
            value and the cure.
    """
    chosen, problems = read(getattr(settings, SETTING, {}))
    if problems:
        raise ImproperlyConfigured(
            " ".join(f"{problem.message} {problem.hint}" for problem in problems)
        )
    return chosen


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == SETTING:
        configuration.cache_clear()


# Sent by override_settings, in tests.
setting_changed.connect(_forget, dispatch_uid="drainkit")
