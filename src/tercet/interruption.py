"""Signals as exceptions, and signals that wait for a good moment: a training ends its step and saves before.

Knows nothing of what is interrupted.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

NUMBERS = (signal.SIGINT, signal.SIGTERM)
MOMENT = 0.05  # seconds until an interruption comes again, which destructors rarely take: a guess


class Terminated(BaseException):
    """A request from outside to end (SIGTERM)."""


def raise_on_signals() -> None:
    """From now on SIGINT raises KeyboardInterrupt and SIGTERM Terminated; a second one ends the process at once.

    What the process was told to ignore, as a shell does for what runs in its background, stays ignored.
    """
    heard = [number for number in NUMBERS if signal.getsignal(number) != signal.SIG_IGN]

    def listen(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        for number in heard:
            signal.signal(number, handler)

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        listen(signal.SIG_DFL)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def once_more(ignored: sys.UnraisableHookArgs) -> None:
        """Python drops what is raised in a destructor; an interruption that met one comes again a moment later."""
        if not isinstance(ignored.exc_value, KeyboardInterrupt | Terminated):
            sys.__unraisablehook__(ignored)
            return
        listen(interrupt)
        number = signal.SIGINT if isinstance(ignored.exc_value, KeyboardInterrupt) else signal.SIGTERM
        threading.Timer(MOMENT, signal.raise_signal, [number]).start()

    listen(interrupt)
    sys.unraisablehook = once_more


class HeldSignals:
    """In its block the first SIGINT or SIGTERM is only noticed, as `came`; it acts at `let_go` or at the block's end.

    A second one ends the process at once. A signal that the process ignores stays ignored, and outside of the main
    thread, where Python takes no signals, nothing is held.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in NUMBERS}
            # A handler of None was not set by Python and could not be put back.
            self._before = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}
        self._hold(self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def let_go(self) -> None:
        """Let what came act as it would have; where its handler returns, hold on."""
        with self.acting():
            pass

    @contextmanager
    def acting(self) -> Iterator[None]:
        """In this block signals act as they come, and what came before acts now."""
        self._release()
        try:
            yield
        finally:
            self._hold(self._notice)

    def _release(self) -> None:
        number, self.came = self.came, None
        for held, handler in self._before.items():
            signal.signal(held, handler)
        if number is not None:
            signal.raise_signal(number)

    def _notice(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.came = number
        self._hold(signal.SIG_DFL)

    def _hold(self, handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
        for number in self._before:
            signal.signal(number, handler)
