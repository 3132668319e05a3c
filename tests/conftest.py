"""How long hypothesis searches: shortly in every run, for as long as wanted when asked.

Every run looks at the same examples, so that a change alone can break it.
``pytest --hypothesis-profile=deep`` looks at a hundred times as many, others each time.
"""

from hypothesis import HealthCheck, Phase, settings

try:
    from hypothesis.internal.conjecture import providers
except ImportError:  # one that draws no constants
    providers = None

EXAMPLES = 100

# Time is no property of what is tested here, and the machines that test are busy.
settings.register_profile(
    "short",
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "deep",
    parent=settings.get_profile("short"),
    max_examples=100 * EXAMPLES,
    derandomize=False,
    # Climbing towards a target() may go on for ever among examples known already, uncounted.
    phases=[phase for phase in Phase if phase is not Phase.target],
)
settings.load_profile("short")

# Now and then Hypothesis draws a constant of a loaded module that is not installed: one of ours.
# Which are loaded depends on the tests that this process has run before
# (tests/core/test_examples.py finds out where Hypothesis has moved this).
_constants = getattr(providers, "_get_local_constants", None)
_no_constants = getattr(providers, "_local_constants", None)


def _the_same_in_every_run():
    return _no_constants if settings.default.derandomize else _constants()


if _constants is not None:
    providers._get_local_constants = _the_same_in_every_run
