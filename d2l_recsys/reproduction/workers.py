"""Worker processes. Each loads its libraries once and then does one job after another.

The workers end when their parent process ends, for whatever reason. Their current jobs are then
lost; finished jobs are kept.
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

from tqdm import tqdm

from d2l_recsys.errors import RecsysError, WorkerError

SECONDS_TO_LEAVE = 10
Job = TypeVar("Job")


def work_off(
    jobs: Sequence[Job], work: Callable[[Job], Any], num_processes: int
) -> Iterator[Tuple[Job, Any]]:
    """Yield (job, ``work(job)``) for each of ``jobs``, in the order in which the jobs end.

    ``work`` is a function of a module. Jobs and results are pickled. The processes are spawned, not
    forked, because MXNet's threads do not survive a fork. Each process uses one thread: sums of
    floating-point numbers depend on the number of threads, and results must not depend on the
    number of processes.

    Raises RecsysError or OSError if a job raises one, because the user can act on it. Raises
    RuntimeError with the traceback for any other exception of a job, and WorkerError if a process
    was killed. After an error all running jobs are killed, and no new job starts.
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
        # A second signal, which some programs send at once, must not leave a worker running.
        with _ignoring_signals():
            for worker in workers:
                worker.end(at_once=not all_done)


class _Worker:
    """A worker process, and our end of the connection to it."""

    def __init__(self, work: Callable) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        # A daemon process ends when this process exits.
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _as_children_begin():
            self._process.start()
        theirs.close()

    def begin(self, job: Any) -> None:
        self.job = job
        # If the process has died, ``result`` reports it.
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def result(self) -> Any:
        try:
            value, error, trace = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise WorkerError(
                f"the process that ran {self.job} was killed (exit code {self._process.exitcode}; "
                "-9 often means too little memory); finished runs are kept: repeat the command to "
                "continue"
            ) from None
        if error is not None:
            raise error
        if trace is not None:
            raise RuntimeError(f"error in {self.job}:\n{trace}")
        return value

    def end(self, at_once: bool) -> None:
        """Let an idle process exit by itself, or kill it at once."""
        if at_once:
            self._process.kill()
        self.connection.close()
        self._process.join(SECONDS_TO_LEAVE)
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def _ignoring_signals() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM while this context is active."""
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _as_children_begin() -> Iterator[None]:
    """Set one thread and ignore Ctrl-C and SIGTERM while a child process starts.

    Child processes inherit our environment and signal handlers, so set them here while starting
    one. Ctrl-C reaches every process of a terminal, and a cluster may send SIGTERM to all processes
    of a job. Only the parent process shall act on them.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with _ignoring_signals():
            yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _serve(connection: multiprocessing.connection.Connection, work: Callable) -> None:
    """The main loop of a worker: do one job after another until the connection closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # By default, tqdm's lock is a semaphore of the system. A process that is killed would leave it
    # behind, and Python would print a warning.
    tqdm.set_lock(threading.RLock())
    while True:
        try:
            job = connection.recv()
        except EOFError:
            # Leave without Python's clean-up at exit, in which destructors of MXNet can fail.
            os._exit(0)
        value = error = trace = None
        try:
            value = work(job)
        except (RecsysError, OSError) as raised:
            error = raised
        except Exception:
            trace = traceback.format_exc()
        try:
            connection.send((value, error, trace))
        except OSError:  # The parent process has ended.
            os._exit(1)
        # Nets and their graphs are in reference cycles, so only the collector frees their memory.
        gc.collect()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
