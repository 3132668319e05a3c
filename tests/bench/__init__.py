"""What drainkit costs: the benchmarks behind ``docs/explanation/cost.md``.

``nox -s bench`` runs them; nothing here runs with the tests but the check that page and figures
agree.
"""
