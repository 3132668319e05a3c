"""A word names an application, or the error says what to write instead."""

import sys

import pytest

from drainkit import APPLICATION_VARIABLE, load_application

MODULE = """
class Site:
    app = "the application"

def make(greeting, *, tries=1):
    return (greeting, tries)

def wsgi(environ, start_response):
    raise RuntimeError("it is not called")

def anything(**options):
    return options

app = Site.app
site = Site()
"""


@pytest.fixture(autouse=True)
def shop(tmp_path, monkeypatch):
    """A package on the path, and a module in it that needs something which is not there."""
    folder = tmp_path / "shop_of_the_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    (folder / "web.py").write_text(MODULE, encoding="utf-8")
    (folder / "broken.py").write_text("import not_installed_of_the_test\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(APPLICATION_VARIABLE, raising=False)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("shop_of_the_test.web:app", "the application"),
        (" shop_of_the_test.web:site.app ", "the application"),
        ("shop_of_the_test.web:make('hello', tries=3)", ("hello", 3)),
        ('shop_of_the_test.web:make("hello:world")', ("hello:world", 1)),
    ],
)
def test_a_word_names_an_application_as_gunicorn_takes_it(name, found):
    assert found == load_application(name)


def test_without_a_word_the_environment_names_it(monkeypatch):
    monkeypatch.setenv(APPLICATION_VARIABLE, "shop_of_the_test.web:app")

    assert "the application" == load_application(None)


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        (None, ValueError, "no application is named.*DRAINKIT_APP"),
        ("shop_of_the_test.web", ValueError, "'shop_of_the_test.web' names no application: write"),
        (":app", ValueError, "names no application"),
        ("shop_of_the_test.web:", ValueError, "names no application"),
        ("shop_of_the_test.web:app if 1 else 2", ValueError, "names no application"),
        ("shop_of_the_test.web:make(app)", ValueError, "arguments must be literals"),
        ("shop_of_the_test.web:nope", ImportError, "has no attribute 'nope'"),
        ("shop_of_the_test.nope:app", ImportError, "no module 'shop_of_the_test.nope' for the"),
        ("nope_of_the_test.web:app", ImportError, "no module 'nope_of_the_test' for the"),
        (print, TypeError, r"write DrainMiddleware\(app\)"),
        (
            "shop_of_the_test.web:wsgi()",
            TypeError,
            r"wsgi cannot be called so \(missing a required .*'environ'\).*"
            r"is the application itself, write 'shop_of_the_test\.web:wsgi'",
        ),
        ("shop_of_the_test.web:make(1, 2)", TypeError, r"it takes \(greeting, \*, tries=1\): if"),
        ("shop_of_the_test.web:app()", TypeError, "app is no function, but 'the application'; wr"),
        ("shop_of_the_test.web:anything(**{'a': 1})", ValueError, "arguments must be literals"),
    ],
)
def test_a_word_that_names_nothing_is_told_with_the_cure(name, error, told):
    with pytest.raises(error, match=told):
        load_application(name)


def test_what_the_application_itself_lacks_is_its_own_error():
    with pytest.raises(ModuleNotFoundError, match="No module named 'not_installed_of_the_test'"):
        load_application("shop_of_the_test.broken:app")
