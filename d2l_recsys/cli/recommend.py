"""``d2l-recsys recommend``: a model by name, trained where it is not yet, and what it says."""

import inspect
import os
import pathlib
import sys
from typing import Any, Dict, List, Optional, Tuple

from typer import Option
from typing_extensions import Annotated

from d2l_recsys.errors import DataError, SettingError
from d2l_recsys.sections.registry import SYSTEMS, Section, nearest
from d2l_recsys.settings import check_settings
from d2l_recsys.training.interrupts import Stopped


def resolve(name: str) -> Tuple[Section, Dict[str, Any], str]:
    """The system that ``name`` stands for, the options to run it with, its folder in all results.

    A name is a system's, or one that the leaderboard has for a system with options. Raises
    SettingError for a name that is none of a system that ranks items.
    """
    from d2l_recsys.leaderboard.entries import ENTRIES
    from d2l_recsys.recommend import check_ranks, ranks_items

    if name in ENTRIES and name not in SYSTEMS:
        return ENTRIES[name].section, dict(ENTRIES[name].options), name
    if name not in SYSTEMS:
        names = [section.name for section in SYSTEMS.values() if ranks_items(section)]
        names += [other for other in ENTRIES if other not in SYSTEMS]
        raise SettingError(f"--model is {name!r}; {nearest(name, names)}; or name a folder")
    check_ranks(name, SYSTEMS[name])
    return SYSTEMS[name], {}, name


def trained(
    name: str,
    seed: int = 0,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
) -> Any:
    """The ``TrainedModel`` called ``name``, which is trained where it has not been yet.

    Its folder is ``results/NAME/seed-S``, or ``results/NAME`` for a system that draws nothing. A
    line on standard error tells of the training. Raises what ``resolve``, ``load_model`` and the
    system's ``main`` raise.
    """
    from d2l_recsys.saved_models import MODEL, load_model

    section, options, folder = resolve(name)
    main = section.main()
    path = pathlib.Path(results, folder, *[f"seed-{seed}"] * section.draws)
    if not (path / MODEL).exists():
        print(f"training {name} first; from then on it is in {path}", file=sys.stderr)
        if section.draws:
            options = {**options, "seed": seed}
        try:
            main(data_dir=data_dir, out=path, quiet=True, **options)
        except Stopped:
            raise Stopped(f"stopped; the same command trains {name} from the beginning") from None
    model = load_model(path)
    if model.section != section.name:
        raise DataError(
            f"{path} has a model of {model.section}, not of {section.name}; remove it, or choose "
            "another folder with --results"
        )
    _check_made(path, model, options, data_dir)
    return model


def _check_made(path: pathlib.Path, model: Any, options: Any, data_dir: Any) -> None:
    """Raise DataError where the run in ``path`` was on other data, and tell its own settings.

    ``options`` are those that it was to have beside the defaults. A model that no run has left
    there says nothing of itself.
    """
    from d2l_recsys.datasets.movielens import dataset_ml100k
    from d2l_recsys.runs.results import read_result

    if not (path / "result.json").exists():
        return
    result = read_result(path)
    if result["dataset"].get("sha256") != dataset_ml100k(data_dir)["sha256"]:
        raise DataError(
            f"the model in {path} was trained on other ratings; name those with --data-dir, or "
            "another folder with --results"
        )
    arguments = inspect.signature(SYSTEMS[model.section].main()).parameters
    expected = {name: argument.default for name, argument in arguments.items()}
    expected.update(options)
    own = {
        name: value
        for name, value in result["settings"].items()
        if name in expected and _plain(value) != _plain(expected[name])
    }
    if own:
        told = ", ".join(f"{name} {value}" for name, value in own.items())
        print(f"the model in {path} was trained with {told}", file=sys.stderr)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def recommend(
    model: Annotated[
        str,
        Option(
            metavar="NAME|FOLDER",
            help="A system, trained with its defaults unless it has been; or the folder of a run.",
        ),
    ],
    user: Annotated[Optional[int], "Recommend to this user, an id as in u.data."] = None,
    like: Annotated[
        Optional[str], Option(metavar="TITLE", help="Show the movies most like this one.")
    ] = None,
    n: Annotated[int, Option("-n", help="Movies to show, at most.")] = 10,
    seed: Annotated[int, "Seed of the run, for a NAME whose system draws."] = 0,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
) -> None:
    """Recommend to a user what a model scores highest, or show what it holds to be like a movie.

    What the user has rated is left out. Equal scores stand by the movies' ids.
    """
    from d2l_recsys import recommend as by_model
    from d2l_recsys.model_bases.contract import compares_items
    from d2l_recsys.saved_models import load_model

    if user is None and like is None:
        raise SettingError("give --user, --like or both")
    check_settings(seed=seed)
    by_model.check_count(n)
    is_folder = _is_folder(model)
    section = None if is_folder else resolve(model)[0]
    # What can be told of what was asked before a model is trained is told by then.
    tables = []
    if user is not None:
        highest = by_model.rated_highest(user, n, data_dir)
        tables.append((f"user {user} has rated highest", highest))
    if like is not None:
        title, item_id, note = _find(like, data_dir)
        if section is not None and not compares_items(section.model()):
            raise by_model.no_vectors(model)
    loaded = load_model(model) if is_folder else trained(model, seed, data_dir, results)
    if is_folder:
        _check_made(pathlib.Path(model), loaded, {}, data_dir)
    shown = loaded.section if is_folder else model
    if user is not None:
        found = by_model.recommend(loaded, user, n, data_dir)
        tables.append((f"recommended by {shown}", found))
    if like is not None:
        found = by_model.similar(loaded, item_id, n, data_dir)
        tables.append((f"most like {title}, by {shown}{note}", found))
    print("\n\n".join(f"{heading}\n{_table(frame)}" for heading, frame in tables))


def _is_folder(model: str) -> bool:
    """Whether that names a folder; the name of a system goes before one."""
    from d2l_recsys.leaderboard.entries import ENTRIES

    is_name = model in SYSTEMS or model in ENTRIES
    return not is_name and (os.sep in model or pathlib.Path(model or "-").is_dir())


def _find(text: str, data_dir: Optional[pathlib.Path]) -> Tuple[str, int, str]:
    """The movie's title with the year, its id, and a line to add where the data has it twice."""
    import numpy as np

    from d2l_recsys.data import read_data_ml100k
    from d2l_recsys.recommend import movies_of
    from d2l_recsys.recommend.titles import find_movie, title_with_year

    ratings, _, num_items = read_data_ml100k(data_dir)
    movies = movies_of(range(1, num_items + 1), data_dir)
    num_ratings = np.bincount(ratings["item_id"], minlength=num_items + 1)[1:]
    item_id, others = find_movie(text, movies, num_ratings)
    movie = movies.iloc[item_id - 1]
    ids = " and ".join(map(str, others))
    note = f"\n(item {item_id}, which has most ratings; the same movie is also item {ids})"
    return title_with_year(movie["title"], movie["year"]), item_id, note if others else ""


def _table(frame: Any) -> str:
    """Rank, title, year, genres and score; or title, year, genres and rating."""
    import pandas as pd
    from tabulate import tabulate

    is_ranked = "score" in frame
    rows: List[List[str]] = []
    for rank, movie in enumerate(frame.to_dict("records"), 1):
        number = f"{movie['score']:.3f}" if is_ranked else str(movie["rating"])
        year = "" if pd.isna(movie["year"]) else str(movie["year"])
        row = [movie["title"], year, ", ".join(movie["genres"]), number]
        rows.append([str(rank), *row] if is_ranked else row)
    headers = ["title", "year", "genres", "score" if is_ranked else "rating"]
    aligned = ["left", "left", "left", "right"]
    if is_ranked:
        headers, aligned = ["rank", *headers], ["right", *aligned]
    return tabulate(rows, headers, disable_numparse=True, colalign=aligned)
