"""What Django's own ``runtests.py`` is started with: settings, and a runner that records.

``--settings=peers_inside.django_runner``. Its workers are forked, as Django does it on Linux before
Python 3.14, and so they have what was wrapped, and the counts.
"""

import multiprocessing

from django.test.runner import DiscoverRunner

from .outcomes import Outcome, Record
from .setting import Setting

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
}
SECRET_KEY = "of tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "peers_inside.django_runner.Runner"

_record = Record()


class _SharedCounts:
    """Counts of all processes; of a Counter it has the one method that is used."""

    def __init__(self, *names: str) -> None:
        self._values = {name: multiprocessing.Value("l") for name in names}

    def update(self, **more: int) -> None:
        for name, number in more.items():
            value = self._values[name]
            with value.get_lock():
                value.value += number

    def total(self) -> dict[str, int]:
        return {name: value.value for name, value in self._values.items()}


_counts = _SharedCounts("requests", "drains")


def _recording(base):
    """Return a result class that also keeps each outcome."""

    class Result(base):
        def addSuccess(self, test):  # noqa: N802 - unittest's names
            super().addSuccess(test)
            _record.add(test.id(), Outcome.PASSED)

        def addError(self, test, err):  # noqa: N802
            super().addError(test, err)
            _record.add(test.id(), Outcome.FAILED, _reason(err))

        def addFailure(self, test, err):  # noqa: N802
            super().addFailure(test, err)
            _record.add(test.id(), Outcome.FAILED, _reason(err))

        def addSubTest(self, test, subtest, err):  # noqa: N802
            super().addSubTest(test, subtest, err)
            if err is not None:
                _record.add(test.id(), Outcome.FAILED, _reason(err))

        def addSkip(self, test, reason):  # noqa: N802
            super().addSkip(test, reason)
            _record.add(test.id(), Outcome.SKIPPED)

        def addExpectedFailure(self, test, err):  # noqa: N802
            super().addExpectedFailure(test, err)
            _record.add(test.id(), Outcome.XFAILED)

        def addUnexpectedSuccess(self, test):  # noqa: N802
            super().addUnexpectedSuccess(test)
            _record.add(test.id(), Outcome.FAILED, "unexpected success")

    return Result


def _reason(err) -> str:
    kind, value, _ = err
    return f"{kind.__name__}: {value}"


class Runner(DiscoverRunner):
    """Django's runner, which records."""

    def setup_test_environment(self, **options):
        """Wrap what is tested before anything is."""
        from .plugin import install

        super().setup_test_environment(**options)
        install(Setting.told(), _counts)

    def run_suite(self, suite, **options):
        """Run the suite, and write what became of it."""
        result = super().run_suite(suite, **options)
        _record.counts.update(_counts.total())
        _record.write(Setting.told().results)
        return result

    def get_resultclass(self):
        """Return one that records."""
        from unittest import TextTestResult

        return _recording(super().get_resultclass() or TextTestResult)
