"""The pytest plugin: ``-p peers_inside.plugin``, told by the environment variable of `Setting`."""

import importlib
from collections import Counter

import pytest

from .outcomes import Outcome, Record
from .outside import Outside
from .setting import Setting

_COUNTS = "peers_counts"


def install(setting: Setting, counts: Counter[str]) -> None:
    """Change the framework under test as a setting says; a plain run changes nothing."""
    if setting.place is None and not setting.body_bytes:
        return
    around = importlib.import_module(f"{__package__}.around_{setting.framework}")
    around.install(Outside(setting, counts))


class Recorder:
    """Keeps what pytest reports, in the process that the workers of pytest-xdist report to."""

    def __init__(self, setting: Setting, record: Record) -> None:
        self._setting = setting
        self._record = record

    def pytest_runtest_logreport(self, report):
        """Keep the outcome of a test, of its setup, of its teardown and of its subtests."""
        if report.failed:
            self._record.add(report.nodeid, Outcome.FAILED, _reason(report))
        elif report.skipped:
            outcome = Outcome.XFAILED if hasattr(report, "wasxfail") else Outcome.SKIPPED
            self._record.add(report.nodeid, outcome)
        elif report.when == "call":
            self._record.add(report.nodeid, Outcome.PASSED)

    def pytest_collectreport(self, report):
        """Keep that a module cannot be collected."""
        if report.failed:
            self._record.add(f"{report.nodeid} (collecting)", Outcome.FAILED, _reason(report))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        """Add what a worker has counted."""
        self._record.counts.update(getattr(node, "workeroutput", {}).get(_COUNTS, {}))

    def pytest_sessionfinish(self):
        """Write the outcomes."""
        self._record.write(self._setting.results)


def _reason(report) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash is not None else str(report.longrepr)[-1000:]


class Worker:
    """Tells the process that records what this one has counted."""

    def __init__(self, config, counts: Counter[str]) -> None:
        self._config = config
        self._counts = counts

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        """Hand the counts over."""
        self._config.workeroutput[_COUNTS] = dict(self._counts)


def pytest_configure(config):
    """Wrap what is tested, and record what becomes of it."""
    record = Record()
    setting = Setting.told()
    install(setting, record.counts)
    is_worker = hasattr(config, "workeroutput")
    recorder = Worker(config, record.counts) if is_worker else Recorder(setting, record)
    config.pluginmanager.register(recorder, "peers_recorder")
