"""What middleware is told when it is made: checked once, for every adapter."""

import functools
import inspect
import itertools
import typing

import pytest

from drainkit import (
    Configuration,
    DrainPolicy,
    Interface,
    PolicyFields,
    check_on_report,
    needs_extra,
)


def name(value):
    """Return an id that is the same in every process."""
    return str(getattr(value, "__qualname__", type(value).__name__)) + str(next(numbers))


numbers = itertools.count()

TWO = Interface(
    name="a thing of two",
    arguments=("first", "second"),
    is_async=False,
    attribute="inner",
    instead={3: "Write three", 1: "Write one"},
    instead_of={"cookies": "Write it elsewhere"},
)
THREE = Interface(
    name="a thing of three",
    arguments=("a", "b", "c"),
    is_async=True,
    attribute="inner",
    instead={2: "Write two"},
)


def told(report):
    """Take a report."""


async def told_later(report):
    """Take a report, if somebody awaits it."""


class Metrics:
    """What is told is an object of it, although its class could be called with one thing."""

    def __init__(self, registry=None):
        """Make the metrics."""

    def __call__(self, report):
        """Take a report."""


class Named:
    def __init__(self, name):
        """Take a name."""

    def __call__(self, report, *, again=False):
        """Take a report."""


class Kept:
    """A class that is told by being made."""

    def __init__(self, report):
        """Take a report."""


class ToldLater:
    async def __call__(self, report):
        """Take a report, if somebody awaits it."""


def test_the_keywords_are_the_fields_of_a_policy_with_their_types():
    expected = typing.get_type_hints(DrainPolicy)

    assert expected == typing.get_type_hints(PolicyFields)
    assert frozenset() == PolicyFields.__required_keys__


@pytest.mark.parametrize(
    ("policy", "fields", "expected"),
    [
        (None, {}, DrainPolicy()),
        (None, {"max_bytes": 3}, DrainPolicy(max_bytes=3)),
        (DrainPolicy(max_bytes=3), {"max_bytes": 4}, DrainPolicy(max_bytes=4)),
        (DrainPolicy(max_bytes=3), {"grace_seconds": 4}, DrainPolicy(max_bytes=3, grace_seconds=4)),
    ],
)
def test_fields_replace_those_of_the_policy(policy, fields, expected):
    assert Configuration(expected, told) == Configuration.of(policy, told, fields)


def test_a_policy_alone_stays_the_object_that_it_is():
    policy = DrainPolicy(max_bytes=3)

    assert policy is Configuration.of(policy, None).policy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"max_bytes": 1}, None), "must be a DrainPolicy or None.*give its fields as keywords"),
        ((3, None), r"must be a DrainPolicy or None; got 3$"),
        ((DrainPolicy, None), "must be a DrainPolicy or None; got <class"),
        ((None, "print"), "on_report must be a callable or None; got 'print'"),
        ((None, told_later), "nobody would await it"),
        ((None, ToldLater()), "nobody would await it"),
        ((None, Metrics), r"not the class of one; got <class .*Metrics'>: write Metrics\(\)$"),
        ((None, Named), r"not the class of one; got <class .*Named'>: write Named\(\.\.\.\)$"),
        ((None, lambda: None), "takes one argument, the report; got <function .*lambda report"),
        ((None, object), "takes one argument, the report; got <class 'object'>"),
        ((None, functools.partial(told, 1)), "takes one argument, the report"),
        ((None, None, {"max_byte": 1}), "'max_byte' is no argument; the fields.*max_bytes, max_s"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        Configuration.of(*arguments)


def test_a_value_that_is_not_allowed_is_refused():
    with pytest.raises(ValueError, match="max_bytes must be an integer"):
        Configuration.of(None, None, {"max_bytes": -1})


@pytest.mark.parametrize(
    "on_report",
    [None, told, print, [].append, Metrics(), Named("x"), Kept, str, functools.partial(print, 1)],
    ids=name,
)
def test_whatever_can_be_called_may_take_reports(on_report):
    assert check_on_report(on_report) is None


def test_only_a_change_is_refused():
    present = Configuration.of(None, told)
    present.refuse_change(Configuration.of(None, told, {}), "call it once")

    for wanted in (Configuration.of(None, None), Configuration.of(None, told, {"max_bytes": 1})):
        with pytest.raises(RuntimeError, match=r"around this application already.*: call it once"):
            present.refuse_change(wanted, "call it once")


# Applications of two arguments, in each form that a framework has.


class Callable:
    def __call__(self, first, second, *, more=None):
        """Be an application."""

    def method(self, first, second):
        """Be an application."""


class Made:
    """A class is an application too (PEP 3333): its objects are what a call returns."""

    def __init__(self, first, second):
        """Be a response."""


class MadeAndCalled(Made):
    """The same, and what a call returns can be called, whatever for."""

    def __iter__(self):
        """Be what the answer consists of."""

    def __call__(self, first, second):
        """Be something else."""


class Chosen(Callable):
    """A class that says itself what a call of it makes."""

    def __new__(cls, first, second):
        """Make something else."""


def two(first, second):
    """Be an application."""


def of_one(request):
    """Be a view of werkzeug."""


@functools.wraps(of_one)
def wrapped(*arguments):
    """Be what werkzeug's Request.application makes of a view."""


class Unaskable:
    def __call__(self, first, second):
        """Be an application."""

    @property
    def __signature__(self):
        """Fail, as a proxy does outside of its context."""
        raise RuntimeError("working outside of a context")


@pytest.mark.parametrize(
    "app",
    [
        *(two, Callable(), Callable().method, Made, wrapped, Unaskable()),
        *(MadeAndCalled, Chosen),
        functools.partial(lambda a, b, c: None, 1),
        lambda *arguments: None,
        lambda first, second, third=None: None,
    ],
    ids=name,
)
def test_every_form_of_an_application_passes(app):
    assert TWO.check(app) is None


def of_three(a, b, c):
    """Be called with three arguments."""


class OptionalTwo(Callable):
    """A framework's class, which can be called as an application is."""

    def __init__(self, name, folder=None, path=None):
        """Be made."""


class OptionalThree:
    """The same, of the other world."""

    def __init__(self, debug=False, routes=None, state=None):
        """Be made."""

    async def __call__(self, a, b, c):
        """Be an application."""


class Request:
    cookies = ()


async def async_three(a, b, c):
    """Be called with three arguments."""


async def async_two(first, second):
    """Be asynchronous where nobody awaits."""


@pytest.mark.parametrize(
    ("interface", "app", "message"),
    [
        (TWO, None, r"app must be a thing of two, called with \(first, second\); got None$"),
        (TWO, "two", "got 'two'$"),
        (TWO, of_three, r"got <function of_three .*>, which is called otherwise\. Write three$"),
        (TWO, async_three, "which is called otherwise. Write three$"),
        (TWO, of_one, "which is called otherwise. Write one$"),
        (TWO, lambda: None, "which is called otherwise$"),
        (TWO, async_two, "which is asynchronous$"),
        (THREE, two, "which is called otherwise. Write two$"),
        (THREE, Callable(), "which is called otherwise. Write two$"),
        (THREE, Callable, "which is called otherwise$"),
        (TWO, Callable, r"got the class <class .*>: make one of it, Callable\(\)$"),
        (TWO, OptionalTwo, r"got the class <class .*>: make one of it, OptionalTwo\(\.\.\.\)$"),
        (TWO, OptionalThree, r"got the class <class .*>\. Write three$"),
        (THREE, OptionalTwo, r"got the class <class .*>\. Write two$"),
        (THREE, OptionalThree, r"make one of it, OptionalThree\(\)$"),
        (TWO, Request(), r"got <.*Request object .*>\. Write it elsewhere$"),
    ],
    ids=name,
)
def test_what_is_no_application_is_refused_with_what_to_write(interface, app, message):
    with pytest.raises(TypeError, match=message):
        interface.check(app)


def test_an_asynchronous_application_passes_where_it_is_awaited():
    assert THREE.check(async_three) is None
    assert THREE.check(of_three) is None


class Middleware:
    def __init__(self, app):
        self.app = TWO.inside(self, app)

    def __call__(self, first, second):
        return self.app(first, second)


class Framework:
    """A framework's application: what it is called with goes to what stands in its attribute."""

    def __init__(self):
        self.inner = lambda first, second: (first, second)

    def __call__(self, first, second):
        return self.inner(first, second)


def test_middleware_around_itself_is_refused_with_the_first_call():
    app = Framework()
    app.inner = Middleware(app)

    with pytest.raises(RuntimeError, match=r"app\.inner = Middleware\(app\.inner\), not"):
        app(1, 2)


def test_middleware_around_a_frameworks_application_is_fine_and_asks_once():
    app = Framework()
    middleware = Middleware(app)

    assert (1, 2) == middleware(1, 2)
    assert app is middleware.app


def test_an_application_without_the_attribute_is_kept_as_it_is():
    assert two is Middleware(two).app


# Extras


def test_a_missing_module_is_told_with_the_extra_that_brings_it():
    with pytest.raises(ImportError) as caught, needs_extra("some_package", "extra"):
        import no_such_module.inner  # noqa: F401

    assert 'some_package needs no_such_module, which is not installed: pip install "drainkit[' in (
        str(caught.value)
    )
    assert "no_such_module" == caught.value.name
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'x' from 'y'", name="y"),
        ModuleNotFoundError("No module named 'drainkit_wsgi'", name="drainkit_wsgi"),
        ModuleNotFoundError("somebody's own words"),
        SyntaxError("not Python"),
    ],
    ids=name,
)
def test_every_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, needs_extra("some_package", "extra"):
        raise error

    assert error is caught.value


def test_what_is_shared_names_no_world():
    """The engine is told what an application looks like; it does not know."""
    source = inspect.getsource(inspect.getmodule(Interface))
    words = ("scope", "environ", "start_response", "MIDDLEWARE")

    assert [] == [word for word in words if word in source]
