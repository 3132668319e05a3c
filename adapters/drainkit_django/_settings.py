"""What ``settings.DRAINKIT`` says, and what is wrong with it.

Rule: a default is spelled in `DrainPolicy` and nowhere here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from drainkit import Configuration, DrainPolicy, OnReport, check_on_report

SETTING = "DRAINKIT"
_ON_REPORT = "on_report"
_POLICY = "policy"
_FIELDS = [field.name for field in dataclasses.fields(DrainPolicy)]


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


def read() -> tuple[Configuration, list[Problem]]:
    """Read ``settings.DRAINKIT``; return what it chooses, and everything that is wrong."""
    problems = list(_misplaced())
    value = getattr(settings, SETTING, {})
    if isinstance(value, DrainPolicy):
        return Configuration(value, None), problems
    if not isinstance(value, Mapping):
        problem = Problem(
            "drainkit.E001",
            f"settings.{SETTING} must be a dict or a DrainPolicy; got {value!r}.",
            f"Write a dict such as {SETTING} = {{'{_FIELDS[0]}': ...}}, or remove the setting.",
        )
        return Configuration(DrainPolicy(), None), [*problems, problem]
    policy = DrainPolicy()
    on_report: OnReport | None = None
    # The policy first: the fields beside it replace its own.
    for key, item in sorted(value.items(), key=lambda entry: entry[0] != _POLICY):
        where = f"settings.{SETTING}[{key!r}]"
        if key == _POLICY:
            if isinstance(item, DrainPolicy):
                policy = item
            else:
                message = f"{where} is {item!r}, which is not allowed."
                hint = "Give a drainkit.DrainPolicy, or its fields as keys."
                problems.append(Problem("drainkit.E003", message, hint))
        elif key == _ON_REPORT:
            try:
                on_report = _on_report(item)
            except (ImportError, TypeError) as exc:
                hint = "Give a callable, or the dotted path of one."
                problems.append(Problem("drainkit.E004", f"{where} is {item!r}: {exc}.", hint))
        elif key not in _FIELDS:
            hint = f"Remove it, or use one of: {', '.join([*_FIELDS, _POLICY, _ON_REPORT])}."
            message = f"{where} is not known to drainkit; its value is {item!r}."
            problems.append(Problem("drainkit.E002", message, hint))
        else:
            try:
                policy = DrainPolicy.from_settings({key: item}, base=policy)
            except ValueError as exc:
                message = f"{where} is {item!r}, which is not allowed."
                problems.append(Problem("drainkit.E003", message, f"{exc}."))
    return Configuration(policy, on_report), problems


def _misplaced() -> Iterator[Problem]:
    """Yield the settings that seem to be drainkit's, and that nobody reads."""
    for name in dir(settings):
        if not name.startswith(SETTING) or name == SETTING:
            continue
        key = name.removeprefix(f"{SETTING}_").lower()
        known = key if key in (*_FIELDS, _POLICY, _ON_REPORT) else _FIELDS[0]
        yield Problem(
            "drainkit.E005",
            f"settings.{name} is not known to drainkit; its value is {getattr(settings, name)!r}.",
            f"Write {SETTING} = {{'{known}': ...}} instead.",
        )


def _on_report(item: Any) -> OnReport | None:
    target = import_string(item) if isinstance(item, str) else item
    check_on_report(target)
    return target  # type: ignore[no-any-return]


@functools.cache
def configuration() -> Configuration:
    """Return what the site chose.

    Raises:
        ImproperlyConfigured: Something is wrong with the setting; the message names each key, its
            value and the cure.
    """
    chosen, problems = read()
    if problems:
        raise ImproperlyConfigured(
            " ".join(f"{problem.message} {problem.hint}" for problem in problems)
        )
    return chosen


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(SETTING):
        configuration.cache_clear()


# Sent by override_settings, in tests.
setting_changed.connect(_forget, dispatch_uid="drainkit")
