"""Which signals ask a run to stop, and what a second one does."""

import signal

import pytest

from jaxharm.training.preemption import Preemption


@pytest.fixture(autouse=True)
def usual_handlers():
    """Those of a program in the foreground: tests may run where some signals are ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_the_run_to_stop_and_its_handler_is_put_back(number):
    before = signal.getsignal(number)
    with Preemption() as preemption:
        assert not preemption.reached(1)
        signal.raise_signal(number)
        assert preemption.reached(2)
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Preemption() as preemption:
            signal.raise_signal(signal.SIGHUP)
            assert not preemption.reached(1)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_ends_at_once(capfd):
    with Preemption():
        signal.raise_signal(signal.SIGINT)
        assert "Ctrl-C again ends at once, without saving" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
