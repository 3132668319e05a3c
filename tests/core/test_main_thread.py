"""What a function that runs in the main thread was told is found from any thread."""

import threading

from drainkit import _main_thread, main_thread_local


def serving(threads, then):
    """Stand for a server's worker."""
    return then()


def ask(name, *, package="tests", function="serv"):
    """Look without what an earlier look has found."""
    _main_thread._local.cache_clear()
    return main_thread_local(package, function, name)


def in_another_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(5.0)
    return found[0]


def test_it_is_found_from_the_main_thread_and_from_any_other():
    here = serving(8, lambda: ask("threads"))
    there = serving(8, lambda: in_another_thread(lambda: ask("threads")))

    assert [8, 8] == [here, there]


def test_what_does_not_run_or_is_not_there_is_none():
    assert None is ask("threads")
    assert None is serving(8, lambda: ask("workers"))
    assert None is serving(8, lambda: ask("threads", package="granian"))


def test_it_is_looked_for_once_in_a_process():
    assert 8 == serving(8, lambda: ask("threads"))
    assert 8 == main_thread_local("tests", "serv", "threads"), "it is not running any more"
