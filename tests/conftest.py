"""How long hypothesis searches: shortly in every run, for as long as wanted when asked.

``pytest --hypothesis-profile=deep`` looks at a hundred times as many examples.
"""

from hypothesis import HealthCheck, settings

EXAMPLES = 100

# Time is no property of what is tested here, and the machines that test are busy.
settings.register_profile("short", max_examples=EXAMPLES, deadline=None, print_blob=True)
settings.register_profile(
    "deep",
    parent=settings.get_profile("short"),
    max_examples=100 * EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("short")
