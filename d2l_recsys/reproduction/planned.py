"""Planned runs: find the finished ones, and do the others in worker processes.

Each run writes its files into its own folder, and its stamp, ``run.json``, as the last file. The
stamp records all that the numbers depend on: options, code, data and installed versions. If the
stamp in a folder equals the planned stamp, the run is finished and is not repeated.
"""

import contextlib
import hashlib
import json
import pathlib
import sys
from importlib.util import find_spec
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from d2l_recsys.errors import DataError, RecsysError, Stopped
from d2l_recsys.reproduction.workers import work_off
from d2l_recsys.sections.registry import CHAPTERS, Section
from d2l_recsys.storage.files import as_json

STAMP = "run.json"
# ``code_digest`` leaves these rooms out, because no run uses their code. It reads the package of
# the chapters in a second pass. An installed copy of this package also has the folder ``chapters``
# inside: it is in this set so that its files do not count twice.
NOT_RUN = {"baseline", "cli", "exercises", "leaderboard", "recommend", "sweeps", "chapters"}


class PlannedRun(NamedTuple):
    """A run to do: its name, the folder of its results, the folder of its data, and its stamp."""

    name: str
    folder: pathlib.Path
    data_dir: Optional[pathlib.Path]
    stamp: Dict[str, Any]

    def __str__(self) -> str:
        return self.name

    def is_finished(self, read: Callable[[pathlib.Path], Any]) -> bool:
        """Whether ``read`` finds exactly this run in its folder.

        ``read`` returns the finished run in a folder, or raises DataError if it is damaged.
        """
        try:
            found = read(self.folder).stamp
        except DataError:
            return False
        # The number of parallel jobs does not change a run.
        return {**found, "jobs": 0} == {**json.loads(as_json(self.stamp)), "jobs": 0}

    def run_section(self, section: Section, **options: Any) -> Dict[str, Any]:
        """Remove the files in the folder, run ``section``, and return its result.

        Raises what its ``main`` raises. The message of a RecsysError then begins with the name of
        this run.
        """
        # Of a system without seeds, runs with other options are in folders below.
        for path in self.folder.glob("*"):
            if not path.is_dir():
                path.unlink()
        try:
            return section.main()(**options, data_dir=self.data_dir, out=self.folder, quiet=True)
        except RecsysError as error:
            raise type(error)(f"{self}: {error}") from error


def finish_runs(
    planned: Sequence[PlannedRun],
    do: Callable[[PlannedRun], None],
    read: Callable[[pathlib.Path], Any],
    jobs: int,
    quiet: bool,
) -> List[Any]:
    """Do the unfinished runs, ``jobs`` at once, and return what ``read`` returns for each run.

    ``do`` runs in another process, so it must be a function of a module. Progress goes to standard
    error. Raises Stopped on Ctrl-C or SIGTERM, and what ``work_off`` and ``read`` raise.
    """
    from tqdm import tqdm

    on_terminal = sys.stderr.isatty()
    with tqdm(total=len(planned), unit="run", disable=quiet or not on_terminal) as bar:

        def note(number: int, run: PlannedRun, before: bool = False) -> None:
            bar.set_postfix_str(run.name, refresh=False)
            bar.update()
            if not (quiet or on_terminal):
                finished = "already finished" if before else "finished"
                print(f"{number} of {len(planned)} {finished}: {run}", file=sys.stderr)

        try:
            todo, finished = [], []
            for run in planned:
                if run.is_finished(read):
                    finished.append(run)
                    note(len(finished), run, before=True)
                else:
                    todo.append(run)
            with contextlib.closing(work_off(todo, do, jobs)) as done:
                for number, (run, _) in enumerate(done, start=len(finished) + 1):
                    note(number, run)
        except KeyboardInterrupt as interrupt:
            bar.close()
            message = "stopped; repeat the command to continue from here"
            raise Stopped.by(interrupt, message) from None
    return [read(run.folder) for run in planned]


@contextlib.contextmanager
def reading_run(folder: pathlib.Path) -> Iterator[None]:
    """Turn every error in the block, which reads the files of a run, into a DataError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"the run in {folder} is damaged ({reason}); run it again") from error


def code_digest(*others: pathlib.Path) -> str:
    """SHA-256 of the code that a run can execute, and of the files ``others``.

    The code is every .py and .json file of this package and of the chapters, except the rooms in
    ``NOT_RUN``. Folders that are no package are skipped, such as results beside a chapter.
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
