"""Work shared among processes whose results come in the order of the items, so that their number changes nothing."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import TypeVar

from trm_jax.errors import DataError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_WORKERS = 256
_AHEAD = 4  # items handed out per process, so that a slow one in front keeps none waiting


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Generator[_Result, None, None]:
    """Yields the function of each item in order, computed by `workers` processes, or by this one where that is 1.

    Items are taken as they are needed, so there may be endlessly many. Processes are spawned: one in which JAX
    is loaded must not be forked. Function and items have to be picklable then, and a script has to keep its
    calls under `if __name__ == "__main__"`. Raises DataError for workers outside
    1 to 256 and when a process dies.
    """
    if not 1 <= workers <= _MOST_WORKERS:
        raise DataError(f"workers is {workers}: give 1 to {_MOST_WORKERS} processes")
    if workers == 1:
        yield from map(function, items)
        return
    queue, context = iter(items), get_context("spawn")
    ear, mouth = context.Pipe(duplex=False)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_when_told, initargs=(ear,)) as pool:
        try:
            with _deaf():
                pending = deque(pool.submit(function, item) for item in islice(queue, _AHEAD * workers))
            while pending:
                result = pending.popleft().result()
                with _deaf():
                    pending.extend(pool.submit(function, item) for item in islice(queue, 1))
                yield result
        except BrokenProcessPool:
            raise DataError(
                "a worker process ended early: give workers=1, or keep a script's calls under "
                'if __name__ == "__main__"'
            ) from None
        finally:
            mouth.close()  # whoever is still at work need not come to its end
            pool.shutdown(cancel_futures=True)
            ear.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes started here never hear of Ctrl-C, which reaches all of a terminal's; this one does so later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_when_told(ear: Connection) -> None:
    """Lets a worker end when its parent says so or is killed, instead of working on for nobody."""
    parent = parent_process()
    if parent is not None:

        def watch() -> None:
            wait([parent.sentinel, ear])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
