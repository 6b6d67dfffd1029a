"""Signals wait for a good moment, but only where there is one who waits for them."""

import signal
import sys
import threading

import pytest

from tercet.interruption import HeldSignals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


@pytest.fixture(autouse=True)
def heard():
    """The signals that this test's own handler has heard; the handlers are put back."""
    numbers = []
    before = {
        number: signal.signal(number, lambda n, _: numbers.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_it_is_let_go(heard, number):
    with HeldSignals() as signals:
        assert signals.came is None
        signals.let_go()
        assert heard == []
        signal.raise_signal(number)
        assert signals.came == number
        assert heard == []
        signals.let_go()
        assert heard == [number]
        assert signals.came is None
        signal.raise_signal(number)  # is held again
        assert heard == [number]
    assert heard == [number, number]
    signal.raise_signal(number)
    assert heard == [number] * 3


def test_signals_act_at_once_where_they_may(heard):
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        with signals.acting():
            assert heard == [signal.SIGINT]
            signal.raise_signal(signal.SIGTERM)
            assert heard == [signal.SIGINT, signal.SIGTERM]
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGINT, signal.SIGTERM]
        assert signals.came == signal.SIGTERM
    assert heard == [signal.SIGINT, signal.SIGTERM, signal.SIGTERM]


def test_a_second_one_would_end_the_process():
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        signals.let_go()


def test_what_raises_is_put_off():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []

    def block():
        with HeldSignals():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.came is None
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_in_another_thread_nothing_is_held():
    found = []

    def hold():
        with HeldSignals() as signals:
            found.append(signals.came)
            signals.let_go()

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert found == [None]
