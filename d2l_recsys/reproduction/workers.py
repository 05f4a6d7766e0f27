"""Work in several processes, each of which loads its libraries once and then does job after job.

The processes end with the one that started them, however that one ends: what they were at is then
lost, what they have finished stays.
"""

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from typing import Any, Callable, Iterator, List, Sequence, Tuple, TypeVar

from d2l_recsys.errors import RecsysError, WorkerError

SECONDS_TO_LEAVE = 10
Job = TypeVar("Job")


def work_off(
    jobs: Sequence[Job], work: Callable[[Job], Any], num_processes: int
) -> Iterator[Tuple[Job, Any]]:
    """Yield each of ``jobs`` with what ``work`` returns for it, in the order in which they end.

    ``work`` is a function of a module; jobs and results are pickled. Processes are started anew,
    not forked, since MXNet's threads do not survive a fork. Each computes with one thread: sums of
    floating-point numbers depend on the number of threads, and no result may on that of processes.

    Raises what a job raises, if that is the user's to mend (RecsysError, OSError), RuntimeError
    with the traceback for any other exception, and WorkerError where a process was ended from
    outside. Jobs under way are then ended, and no other is begun.
    """
    todo = list(reversed(jobs))
    workers: List[_Worker] = []
    all_done = False
    try:
        for _ in range(min(num_processes, len(jobs))):
            workers.append(_Worker(work))
            workers[-1].begin(todo.pop())
        busy = {worker.connection: worker for worker in workers}
        while busy:
            for connection in multiprocessing.connection.wait(list(busy)):
                worker = busy[connection]
                done = worker.job, worker.result()
                if todo:
                    worker.begin(todo.pop())
                else:
                    del busy[connection]
                yield done
        all_done = True
    finally:
        for worker in workers:
            worker.end(at_once=not all_done)


class _Worker:
    """A process, and this end of the line to it."""

    def __init__(self, work: Callable) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # A daemon is ended when this process exits.
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _as_children_begin():
            self._process.start()
        theirs.close()

    def begin(self, job: Any) -> None:
        self.job = job
        # Where the process has been ended, the result tells.
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def result(self) -> Any:
        try:
            value, error, trace = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerError(
                f"the process at work on {self.job} was ended (exit code {self._process.exitcode}; "
                "-9 is often too little memory); what was finished is kept: the same command goes "
                "on from there"
            ) from None
        if error is not None:
            raise error
        if trace is not None:
            raise RuntimeError(f"at work on {self.job}:\n{trace}")
        return value

    def end(self, at_once: bool) -> None:
        """Let an idle process leave as any program does; or end it at once, whatever it is at."""
        if at_once:
            self._process.kill()
        self.connection.close()
        self._process.join(SECONDS_TO_LEAVE)
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def _as_children_begin() -> Iterator[None]:
    """What a process begins with it has from this one, so for the time being this one has it.

    One thread; and no heed of Ctrl-C, which reaches every process of a terminal: this one decides.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    handler = None
    if threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _serve(connection: multiprocessing.connection.Connection, work: Callable) -> None:
    """What a process does: job after job, until it or the process that started it is ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        value = error = trace = None
        try:
            value = work(job)
        except (RecsysError, OSError) as raised:
            error = raised
        except Exception:
            trace = traceback.format_exc()
        connection.send((value, error, trace))
        # Nets and their graphs refer to one another in circles, and keep their memory till then.
        gc.collect()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
