"""An interrupt is noticed whoever handles the signal, and puts everything back."""

import gc
import logging
import signal
import sys

import dagster as dg
import pytest

from pipelines.interrupts import Interrupts
from warehouse.ingest.progress import Silence


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_nobody_heeded_ends_the_next_report(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        with Interrupts() as interrupts:
            progress = interrupts.guard(lambda _label, _log: Silence())("Reading", logging.getLogger())
            progress.start(3, "documents")
            progress.advance()
            signal.raise_signal(number)
            with pytest.raises(dg.DagsterExecutionInterruptedError):
                progress.advance()
            assert interrupts.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_was_there_before_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


class _Collected:
    """Raises where Python can only print: in the last moment of an object."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error


def test_an_interrupt_in_the_garbage_collector_prints_nothing_and_any_other_error_does() -> None:
    printed: list[type[BaseException] | None] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: printed.append(unraisable.exc_type)
    try:
        with Interrupts():
            _Collected(dg.DagsterExecutionInterruptedError())
            _Collected(KeyError())
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert printed == [KeyError]
