"""A policy that exists is valid, and one that is not says which field is wrong."""

import dataclasses
import math
import re

import pytest

from drainkit import DEFAULTS, Defaults, DrainPolicy, Resource

COUNTS = ("max_bytes", "max_concurrent", "late_read_bytes")
SECONDS_ABOVE_0 = ("max_seconds", "idle_seconds")
NUMBERS_FROM_0 = ("min_bytes_per_second", "grace_seconds")
NUMBERS = SECONDS_ABOVE_0 + NUMBERS_FROM_0
# What None means in a field that may be so.
OR_NONE = {
    "max_bytes": ", or None for no limit",
    "max_seconds": ", or None for the default of what a drain holds",
    "idle_seconds": ", or None for the default of what a drain holds",
    "max_concurrent": ", or None for the default of what a drain holds",
}
FIELDS = tuple(field.name for field in dataclasses.fields(DrainPolicy))


def test_these_tests_know_every_field():
    assert set(FIELDS) == {*COUNTS, *NUMBERS}


def test_the_defaults_are_the_documented_ones():
    """Each has a precedent in the design; a changed one is a changed promise."""
    expected = {
        "max_bytes": 1024**3,
        "max_seconds": None,
        "idle_seconds": None,
        "min_bytes_per_second": 240.0,
        "grace_seconds": 5.0,
        "max_concurrent": None,
        "late_read_bytes": 1024**2,
    }

    assert expected == dataclasses.asdict(DrainPolicy())


def test_what_a_drain_holds_decides_what_a_policy_leaves_open():
    expected = {
        Resource.PROCESS: (20.0, 64, 5.0),
        Resource.THREAD: (20.0, 1000, 5.0),
        Resource.GREENLET: (300.0, 1000, 10.0),
        Resource.TASK: (300.0, 1000, 10.0),
    }

    assert expected == {
        resource: (defaults.max_seconds, defaults.max_concurrent, defaults.idle_seconds)
        for resource, defaults in DEFAULTS.items()
    }


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [(10, 5), (9, 4), (1, 1), (5000, 1000), (math.inf, 1000)],
)
def test_half_of_what_a_server_serves_at_once_is_left_to_other_requests(at_once, expected):
    defaults = DEFAULTS[Resource.TASK].leaving_half(at_once)

    assert Defaults(max_seconds=300.0, max_concurrent=expected, idle_seconds=10.0) == defaults


def problem_with(field, value):
    """Return the text of the ValueError, without the field and the value that it must name."""
    with pytest.raises(ValueError, match=f"^{field} must be ") as caught:
        DrainPolicy(**{field: value})
    text = str(caught.value)
    assert text.endswith(f"; got {value!r}")
    return text.removeprefix(f"{field} must be ").removesuffix(f"; got {value!r}")


@pytest.mark.parametrize("value", ["1", b"1", 1.0, 1.5, True, False, -1, [1], ...], ids=repr)
@pytest.mark.parametrize("field", COUNTS)
def test_a_count_must_be_an_integer_and_not_negative(field, value):
    least = 1 if field == "max_concurrent" else 0
    instead = OR_NONE.get(field, "")

    assert f"an integer of {least} or more{instead}" == problem_with(field, value)


@pytest.mark.parametrize("field", sorted({*FIELDS} - {*OR_NONE}))
def test_no_other_field_may_be_none(field):
    assert re.match("an integer of|a finite number", problem_with(field, None))


def test_max_concurrent_must_not_be_zero():
    """Nothing could be drained; who wants that says max_bytes=0."""
    expected = "an integer of 1 or more" + OR_NONE["max_concurrent"]

    assert expected == problem_with("max_concurrent", 0)


@pytest.mark.parametrize(
    "value",
    ["1", True, False, -1, -0.5, math.nan, math.inf, -math.inf, 1j, [1.0]],
    ids=repr,
)
@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_must_be_finite_and_not_negative(field, value):
    allowed = "above 0" if field in SECONDS_ABOVE_0 else "of 0 or more"

    assert f"a finite number {allowed}{OR_NONE.get(field, '')}" == problem_with(field, value)


@pytest.mark.parametrize("value", [0, 0.0, -0.0], ids=repr)
@pytest.mark.parametrize("field", SECONDS_ABOVE_0)
def test_a_time_limit_must_not_be_zero(field, value):
    assert f"a finite number above 0{OR_NONE.get(field, '')}" == problem_with(field, value)


@pytest.mark.parametrize("field", NUMBERS)
def test_an_integer_that_no_float_can_hold_is_not_finite(field):
    """math.isfinite() raises OverflowError for it, which names neither field nor value."""
    with pytest.raises(ValueError, match=f"^{field} must be a finite number "):
        DrainPolicy(**{field: 10**400})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_bytes", None),
        ("max_bytes", 0),
        ("max_bytes", 10**30),
        ("max_seconds", None),
        ("max_seconds", 1),
        ("max_seconds", 0.001),
        ("idle_seconds", None),
        ("idle_seconds", 1),
        ("min_bytes_per_second", 0),
        ("min_bytes_per_second", 0.5),
        ("grace_seconds", 0),
        ("max_concurrent", None),
        ("max_concurrent", 1),
        ("late_read_bytes", 0),
    ],
)
def test_the_least_and_the_odd_that_are_allowed_are_kept_as_they_are(field, value):
    kept = getattr(DrainPolicy(**{field: value}), field)

    assert value == kept
    assert type(value) is type(kept)


def test_a_policy_cannot_be_changed():
    policy = DrainPolicy()

    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.max_bytes = 1
    # A slotted frozen dataclass says TypeError here on some versions of Python.
    with pytest.raises((AttributeError, TypeError)):
        policy.max_byte = 1
    assert not hasattr(policy, "__dict__")


def test_fields_are_given_by_name_only():
    """A bare 20 could be seconds as well as bytes."""
    with pytest.raises(TypeError, match="positional"):
        DrainPolicy(1024)


def test_equal_policies_are_equal_and_hashable():
    assert DrainPolicy(max_bytes=5) == DrainPolicy(max_bytes=5)
    assert 1 == len({DrainPolicy(max_bytes=5), DrainPolicy(max_bytes=5)})


def test_a_replaced_policy_is_checked_as_well():
    policy = DrainPolicy(max_bytes=5)

    assert DrainPolicy(max_bytes=5, idle_seconds=1) == dataclasses.replace(policy, idle_seconds=1)
    with pytest.raises(ValueError, match=r"^grace_seconds must be a finite number .*; got -1$"):
        dataclasses.replace(policy, grace_seconds=-1)


# --- from_settings ------------------------------------------------------------------------------


def test_settings_change_the_fields_that_they_name():
    policy = DrainPolicy.from_settings({"max_bytes": None, "max_seconds": 3})

    assert DrainPolicy(max_bytes=None, max_seconds=3) == policy


def test_empty_settings_are_the_defaults():
    assert DrainPolicy() == DrainPolicy.from_settings({})


def test_settings_start_from_their_base():
    base = DrainPolicy(max_bytes=7, idle_seconds=2)

    assert DrainPolicy(max_bytes=8, idle_seconds=2) == DrainPolicy.from_settings(
        {"max_bytes": 8}, base=base
    )
    assert base == DrainPolicy(max_bytes=7, idle_seconds=2)


@pytest.mark.parametrize("key", ["max_byte", "MAX_BYTES", "", "__class__", 1, None], ids=repr)
def test_an_unknown_setting_is_named_with_all_that_are_known(key):
    with pytest.raises(ValueError, match="is not a field of DrainPolicy") as caught:
        DrainPolicy.from_settings({key: 1})

    expected = f"{key!r} is not a field of DrainPolicy; the fields are: {', '.join(FIELDS)}"
    assert expected == str(caught.value)


def test_a_bad_setting_is_named_with_its_value():
    with pytest.raises(ValueError, match=r"^max_seconds must be .*; got '20'$"):
        DrainPolicy.from_settings({"max_seconds": "20"})
