"""Planned runs: which of them are finished, and how the others get done.

A run leaves its files in a folder of its own, and last of all its stamp, ``run.json``. The stamp
has everything that the run's numbers depend on: its options, the code, the data, what is installed.
A folder with just the planned stamp holds a finished run, which is not done again.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
import sys
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from d2l_recsys.errors import DataError, OutputError
from d2l_recsys.reproduction.workers import work_off
from d2l_recsys.sections.registry import CHAPTERS, Section
from d2l_recsys.storage.files import as_json, prepare_folder
from d2l_recsys.training.interrupts import Stopped

STAMP = "run.json"
# No run executes the code of these rooms. The chapters are found by their own name, wherever they
# are installed.
NOT_RUN = {"baseline", "cli", "leaderboard", "recommend", "chapters"}


class PlannedRun(NamedTuple):
    """A run to do: what it is called, its folder, the folder of its data, and its stamp."""

    name: str
    folder: pathlib.Path
    data_dir: Optional[pathlib.Path]
    stamp: Dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def is_finished(self, read: Callable[[pathlib.Path], Any]) -> bool:
        """Whether ``read``, which raises DataError for a damaged run, finds just this run."""
        try:
            found = read(self.folder).stamp
        except DataError:
            return False
        # How many runs are done at once does not make another run.
        return {**found, "jobs": 0} == {**json.loads(as_json(self.stamp)), "jobs": 0}

    def run_section(self, section: Section, **options: Any) -> Dict[str, Any]:
        """Run ``section``, and return its result. What was in the folder is removed first."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        return section.main()(**options, data_dir=self.data_dir, out=self.folder, quiet=True)


def finish_runs(
    planned: Sequence[PlannedRun],
    do: Callable[[PlannedRun], None],
    read: Callable[[pathlib.Path], Any],
    jobs: int,
    quiet: bool,
) -> List[Any]:
    """Do the runs that are not finished, ``jobs`` at once; return what ``read`` finds of all.

    ``do`` does a run in another process, so it must be a function of a module. Progress is shown on
    standard error. Raises Stopped on Ctrl-C, and what ``work_off`` and ``read`` raise.
    """
    from tqdm import tqdm

    on_terminal = sys.stderr.isatty()
    with tqdm(total=len(planned), unit="run", disable=quiet or not on_terminal) as bar:

        def note(run: PlannedRun, line: str) -> None:
            bar.set_postfix_str(run.name, refresh=False)
            bar.update()
            if not (quiet or on_terminal):
                print(line, file=sys.stderr)

        try:
            todo = []
            for run in planned:
                if run.is_finished(read):
                    note(run, f"{run}: done before")
                else:
                    todo.append(run)
            for run, _ in work_off(todo, do, jobs):
                note(run, run.name)
        except KeyboardInterrupt:
            bar.close()
            raise Stopped("stopped; the same command goes on from here") from None
    return [read(run.folder) for run in planned]


@contextlib.contextmanager
def reading_run(folder: pathlib.Path) -> Iterator[None]:
    """Raise DataError for whatever is wrong with the files of the run that is read in here."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"the run in {folder} is not whole ({reason}); run it again") from error


@contextlib.contextmanager
def alone_in(results: pathlib.Path) -> Iterator[None]:
    """Make the folder ``results`` and keep other processes from doing runs and reporting in it.

    Raises OutputError where one is at it already, and where the folder cannot be made.
    """
    import filelock

    prepare_folder(results, "")
    lock = filelock.FileLock(str(results / ".reproduce.lock"))
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout:
        raise OutputError(
            f"another process is at work in {results}; wait for it, or choose another "
            "folder with --results"
        ) from None
    with held:
        yield


def code_digest(*others: pathlib.Path) -> str:
    """SHA-256 of the code that a run can execute, and of the files ``others``.

    The code is every .py and .json file of this package and of the chapters, but for the rooms in
    ``NOT_RUN``. A folder that is no package, like results left beside a chapter, has no code.
    """
    files = {path.name: path for path in others}
    for package in ("d2l_recsys", CHAPTERS):
        folder = pathlib.Path(find_spec(package).submodule_search_locations[0])
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            is_code = path.suffix in (".py", ".json") and (path.parent / "__init__.py").exists()
            if is_code and inside.parts[0] not in NOT_RUN:
                files[f"{package}/{inside.as_posix()}"] = path
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
