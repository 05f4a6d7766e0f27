import os
import signal
import threading

import pytest

from d2l_recsys.errors import Stopped
from d2l_recsys.sections.signals import sigterm_stops
from d2l_recsys.training.interrupts import noting_interrupts


@pytest.fixture(autouse=True)
def usual_handlers():
    """Set the handlers back: a stopped command leaves SIGTERM ignored, and children inherit it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_noted_and_the_second_raised():
    with noting_interrupts() as interrupted:
        assert not interrupted()
        interrupt()
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_in_a_command_sigterm_is_noted_too():
    """Outside a command, SIGTERM ends the program, as in every program."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with noting_interrupts():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with sigterm_stops():
        with noting_interrupts() as interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupted() == signal.SIGTERM
            with pytest.raises(KeyboardInterrupt):
                interrupt()
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        # The command ends. A second signal changes nothing.
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_after_a_command_that_was_not_stopped_sigterm_ends_the_program_again():
    with sigterm_stops():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_handler_stays_in_charge():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with noting_interrupts() as interrupted:
            interrupt()
            assert (seen, interrupted()) == ([1], False)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone():
    found = []

    def work():
        with noting_interrupts() as interrupted:
            found.append((signal.getsignal(signal.SIGINT), interrupted()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(signal.default_int_handler, False)]
