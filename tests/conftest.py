"""How long hypothesis searches: shortly in every run, for as long as wanted when asked.

Every run looks at the same examples, so that a change alone can break it.
``pytest --hypothesis-profile=deep`` looks at a hundred times as many, others each time.
"""

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = 100

# Time is no property of what is tested here, and the machines that test are busy.
settings.register_profile(
    "short", max_examples=EXAMPLES, deadline=None, print_blob=True, derandomize=True
)
settings.register_profile(
    "deep",
    parent=settings.get_profile("short"),
    max_examples=100 * EXAMPLES,
    derandomize=False,
    # Climbing towards a target() may go on for ever among examples known already, uncounted.
    phases=[phase for phase in Phase if phase is not Phase.target],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("short")
