"""Watching a learner's function while it runs: what it may not call, and how long it may take."""

import _thread
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

SECONDS = 10.0
# On a busy machine a function waits for its turn: the clock may run this many times as long as the limit.
PATIENCE = 6
# Only calls into these count: a learner may give a function of their own any name.
WATCHED = ("torch", "mvit_lib", "numpy", "scipy", "skimage", "einops", "timm", "transformers")


class TooLong(Exception):
    """The learner's function took more than the time it has."""


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Interrupt the main thread after `seconds`, as the stop button does; raises TooLong then.

    They are seconds of the processor, of which a busy machine gives few; who only sleeps is interrupted
    after PATIENCE times as long by the clock. Outside the main thread there is no limit: nothing can
    interrupt it there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lock, fired, over = threading.Lock(), threading.Event(), threading.Event()
    begun, worked = time.monotonic(), time.process_time()

    def interrupt() -> None:
        while True:
            left = seconds - (time.process_time() - worked)
            patience = PATIENCE * seconds - (time.monotonic() - begun)
            if left <= 0 or patience <= 0:
                break
            if over.wait(max(0.01, min(left, patience))):
                return
        with lock:
            if not over.is_set():
                fired.set()
                _interrupt_main()

    watcher = threading.Thread(target=interrupt, daemon=True)
    # Programs started in the background of a shell ignore interrupts: here they must not.
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL)
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if ignored else None
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        if not fired.is_set():
            raise
        raise TooLong(f"it ran for more than {seconds:g} s and was stopped") from None
    finally:
        with lock:
            over.set()
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _interrupt_main() -> None:
    """Like Ctrl-C; on POSIX by a real signal, which also ends a sleep."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        _thread.interrupt_main()


@contextmanager
def calls_noted(forbidden: Sequence[str]) -> Iterator[list[str]]:
    """The forbidden names that are called inside, each once, in order.

    forbidden: names of functions and methods of the libraries in WATCHED ("unfold", "conv2d"); "mvit_lib"
    forbids everything of this library. What a library calls on its own account counts too, so a name
    cannot hide behind another function of the same library.
    """
    found: list[str] = []

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        elif event == "c_call":
            module, name = _origin(called), getattr(called, "__name__", "")
        else:
            return
        root = str(module).partition(".")[0]
        if root not in WATCHED or str(module).startswith("mvit_lib.course"):
            return
        hit = name if name in forbidden else "mvit_lib" if root == "mvit_lib" in forbidden else ""
        if hit and hit not in found:
            found.append(hit)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(before)


def watched(function: Callable, forbidden: Sequence[str], found: list[str]) -> Callable:
    """The function, which now writes the forbidden calls it makes into `found`; a class stays as it is."""
    if isinstance(function, type) or not forbidden:
        return function

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with calls_noted(forbidden) as noted:
            result = function(*arguments, **named)
        found.extend(name for name in noted if name not in found)
        return result

    return call


def _origin(function: Callable) -> str:
    """The library a built-in function or method comes from."""
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or getattr(type(owner), "__module__", "")
    return owner.__name__ if not module and hasattr(owner, "__name__") else module or ""
