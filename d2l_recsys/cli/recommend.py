"""``d2l-recsys recommend``: train or load a model by name, and show its recommendations."""

import contextlib
import inspect
import io
import os
import pathlib
import sys
from typing import Any, Dict, List, Optional, Tuple

from typer import Option
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.errors import DataError, SettingError, Stopped
from d2l_recsys.sections.options import plain
from d2l_recsys.sections.registry import SYSTEMS, Section
from d2l_recsys.settings import check_settings, nearest


def resolve(name: str) -> Tuple[Section, Dict[str, Any], str]:
    """The system called ``name``, the options to train it with, and its folder in the results.

    ``name`` is a system, or an entry of the leaderboard: a system with options. Raises SettingError
    if it is neither, or if the system does not rank items.
    """
    from d2l_recsys.leaderboard.entries import ENTRIES
    from d2l_recsys.recommend import check_ranks, ranks_items

    if name in ENTRIES and name not in SYSTEMS:
        return ENTRIES[name].section, dict(ENTRIES[name].options), name
    if name not in SYSTEMS:
        names = [section.name for section in SYSTEMS.values() if ranks_items(section)]
        names += [other for other in ENTRIES if other not in SYSTEMS]
        raise SettingError(f"--model is {name!r}; {nearest(name, names)}; or name a run's folder")
    if f"{name}-ranking" in ENTRIES:
        raise SettingError(f"{name} predicts clicks and does not rank items; try {name}-ranking")
    check_ranks(name, SYSTEMS[name])
    return SYSTEMS[name], {}, name


def trained(
    name: str,
    seed: int = 0,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
) -> Any:
    """Load the ``TrainedModel`` called ``name``; train it first if there is none.

    Its folder is ``results/NAME/seed-S``, or ``results/NAME`` for a system that does not use the
    seed. Before training, prints a line on standard error. Raises what ``resolve``, ``load_model``
    and the system's ``main`` raise, and DataError for a model of another system or of other data.
    """
    from d2l_recsys.saved_models import MODEL, load_model

    section, options, folder = resolve(name)
    main = section.main()
    path = pathlib.Path(results, folder, *[f"seed-{seed}"] * section.draws)
    if not (path / MODEL).exists():
        print(f"training {name} first; the model will be saved in {path}", file=sys.stderr)
        if section.draws:
            options = {**options, "seed": seed}
        try:
            # The bar goes to standard error. The result lines of the run are not wanted here.
            with contextlib.redirect_stdout(io.StringIO()):
                main(data_dir=data_dir, out=path, **options)
        except Stopped as stopped:
            message = f"stopped; run the command again to train {name} from scratch"
            raise Stopped.by(stopped, message) from None
    model = load_model(path)
    if model.section != section.name:
        raise DataError(
            f"{path} has a model of {model.section}, not of {section.name}; remove this folder, or "
            "choose another one with --results"
        )
    _check_made(path, model, options, data_dir)
    return model


def _check_made(path: pathlib.Path, model: Any, options: Any, data_dir: Any) -> None:
    """Raise DataError if the run in ``path`` used other data; print its unexpected settings.

    The expected settings are the defaults of the system and ``options``. If the folder has no
    result, there is nothing to check.
    """
    from d2l_recsys.datasets.movielens import dataset_ml100k
    from d2l_recsys.runs.results import read_result

    if not (path / "result.json").exists():
        return
    result = read_result(path)
    if result["dataset"].get("sha256") != dataset_ml100k(data_dir)["sha256"]:
        raise DataError(
            f"the model in {path} was trained on other ratings; name their folder with --data-dir, "
            "or another folder of results with --results"
        )
    arguments = inspect.signature(SYSTEMS[model.section].main()).parameters
    expected = {name: argument.default for name, argument in arguments.items()}
    expected.update(options)
    own = {
        name: value
        for name, value in result["settings"].items()
        if name in expected and plain(value) != plain(expected[name])
    }
    if own:
        told = ", ".join(f"{name} {value}" for name, value in own.items())
        print(f"the model in {path} was trained with {told}", file=sys.stderr)


def highest_trained(
    seed: int, data_dir: Optional[pathlib.Path], results: pathlib.Path, compares: bool
) -> str:
    """The name of the trained system that stands highest on the leaderboard.

    A system counts if its folder, as in ``trained``, has its model, and if the model was trained on
    the present data. ``compares`` asks for a system that can compare items. If none counts, returns
    the first name of the leaderboard. Prints a line on standard error that names the system.
    """
    from d2l_recsys.datasets.movielens import dataset_ml100k
    from d2l_recsys.leaderboard.entries import STANDING
    from d2l_recsys.model_bases.contract import compares_items
    from d2l_recsys.runs.results import read_result
    from d2l_recsys.saved_models import MODEL

    sha256 = dataset_ml100k(data_dir)["sha256"]
    for name in STANDING:
        section, _, folder = resolve(name)
        path = pathlib.Path(results, folder, *[f"seed-{seed}"] * section.draws)
        if not (path / MODEL).exists():
            continue
        with contextlib.suppress(DataError):
            result = read_result(path)
            if (result["chapter"], result["dataset"].get("sha256")) != (section.name, sha256):
                continue
            if not compares or compares_items(section.model()):
                print(
                    f"using {name}, which stands highest on the leaderboard of the models in "
                    f"{results}; choose another with --model",
                    file=sys.stderr,
                )
                return name
    print(
        f"no system is trained in {results}; using {STANDING[0]}, which stands highest on the "
        "leaderboard; choose another with --model",
        file=sys.stderr,
    )
    return STANDING[0]


def recommend(
    model: Annotated[
        Optional[str],
        Option(
            metavar="NAME|FOLDER",
            help="A system, trained first with its defaults if needed; or the folder of a run.",
            show_default="the highest on the leaderboard of those that are trained",
        ),
    ] = None,
    user: Annotated[Optional[int], "Recommend movies to this user, an id as in u.data."] = None,
    like: Annotated[
        Optional[str], Option(metavar="TITLE", help="Show the movies most similar to this one.")
    ] = None,
    n: Annotated[int, Option("-n", help="The largest number of movies to show.")] = 10,
    seed: Annotated[int, "Seed of the run, if the system NAME uses a seed."] = 0,
    data_dir: Optional[pathlib.Path] = None,
    results: pathlib.Path = pathlib.Path("results"),
    json: AsJson = False,
) -> None:
    """Recommend movies to a user, or show the movies that are most similar to one.

    The movies that the user has rated are left out. Equal scores are sorted by the movies' ids.
    """
    from d2l_recsys import recommend as by_model
    from d2l_recsys.model_bases.contract import compares_items
    from d2l_recsys.saved_models import load_model

    if user is None and like is None:
        raise SettingError("give --user, --like or both")
    check_settings(seed=seed)
    by_model.check_count(n)
    is_folder = model is not None and _is_folder(model)
    section = None if model is None or is_folder else resolve(model)[0]
    # Check the options and find the user and the movie first: training takes time.
    tables = []
    if user is not None:
        highest = by_model.rated_highest(user, n, data_dir)
        tables.append(("rated highest", f"rated highest by user {user}", highest))
    if like is not None:
        title, item_id, note = _find(like, data_dir)
        if section is not None and not compares_items(section.model()):
            raise by_model.no_vectors(model)
    if model is None:
        model = highest_trained(seed, data_dir, results, compares=like is not None)
    loaded = load_model(model) if is_folder else trained(model, seed, data_dir, results)
    if is_folder:
        _check_made(pathlib.Path(model), loaded, {}, data_dir)
    shown = loaded.section if is_folder else model
    if user is not None:
        found = by_model.recommend(loaded, user, n, data_dir)
        tables.append(("recommended", f"recommended by {shown}", found))
    if like is not None:
        found = by_model.similar(loaded, item_id, n, data_dir)
        tables.append(("similar", f"most like {title}, by {shown}{note}", found))
    document = {
        "model": shown,
        "user": user,
        "like": None if like is None else item_id,
        "tables": [{"about": about, "movies": _movies(frame)} for about, _, frame in tables],
    }
    show(
        document,
        lambda: "\n\n".join(f"{heading}\n{_table(frame)}" for _, heading, frame in tables),
        json,
    )


def _movies(frame: Any) -> List[Dict[str, Any]]:
    """The movies of a table, in values that JSON has."""
    import pandas as pd

    movies = frame.to_dict("records")
    return [{**m, "year": None if pd.isna(m["year"]) else int(m["year"])} for m in movies]


def _is_folder(model: str) -> bool:
    """Whether ``model`` names a folder. The name of a system or entry never does."""
    from d2l_recsys.leaderboard.entries import ENTRIES

    is_name = model in SYSTEMS or model in ENTRIES
    return not is_name and (os.sep in model or pathlib.Path(model or "-").is_dir())


def _find(text: str, data_dir: Optional[pathlib.Path]) -> Tuple[str, int, str]:
    """The movie's title with the year, its id, and a line of text if the data has further ids."""
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
    note = f"\n(item {item_id}, which has the most ratings; the same movie is also item {ids})"
    return title_with_year(movie["title"], movie["year"]), item_id, note if others else ""


def _table(frame: Any) -> str:
    """A table of rank, title, year, genres and score; or of title, year, genres and rating."""
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
