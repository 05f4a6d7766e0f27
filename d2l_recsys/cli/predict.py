"""``d2l-recsys predict FOLDER``: the prediction of a trained model for any user and any item."""

import pathlib
from typing import Any, Dict, List, Optional

import typer
from typing_extensions import Annotated

from d2l_recsys.cli.output import AsJson, show
from d2l_recsys.errors import SettingError

TABLE, FIGURE = "predictions.csv", "histogram.png"
NOT_COMPARABLE = "scores of different models are not comparable"


def predict(
    folder: Annotated[pathlib.Path, typer.Argument(help="The folder of a finished run.")],
    user: Annotated[Optional[int], "Id of the user, as in u.data. Default: all users."] = None,
    item: Annotated[Optional[int], "Id of the item, as in u.data. Default: all items."] = None,
    data_dir: Optional[pathlib.Path] = None,
    out: Annotated[
        Optional[pathlib.Path],
        "Folder for the table and the histogram. Default: FOLDER/item-I or FOLDER/user-U.",
    ] = None,
    json: AsJson = False,
) -> None:
    """Predict a rating, or a score, with the model of the run in FOLDER; nothing is trained.

    With --user and --item, shows one prediction. With one of them, predicts for all users or all
    items, and writes a table and a histogram. Give --user, --item or both.
    """
    if user is None and item is None:
        raise SettingError("give --user, --item or both")
    if out is not None and user is not None and item is not None:
        raise SettingError("one prediction writes no files; leave out --out, --user or --item")
    from d2l_recsys.leaderboard.entries import predicts_ratings
    from d2l_recsys.recommend import check_ranks
    from d2l_recsys.recommend.predictions import predict as by_model
    from d2l_recsys.recommend.predictions import predict_both, summary_of
    from d2l_recsys.runs.again import check_data
    from d2l_recsys.runs.results import folder_of, read_result
    from d2l_recsys.saved_models import load_model
    from d2l_recsys.sections.registry import SYSTEMS

    folder = folder_of(folder)
    model = load_model(folder)
    section = SYSTEMS[model.section]
    check_ranks(section.name, section)
    result = read_result(folder)
    check_data(section, result, data_dir)
    on_ratings = predicts_ratings(section, result["settings"])
    document = {
        "model": section.name,
        "kind": "rating" if on_ratings else "score",
        "user": user,
        "item": item,
    }
    if user is not None and item is not None:
        found, printed = predict_both(model, user, item, data_dir)
        document.update(predictions=_rows(found), printed=printed)
        show(document, lambda: _sentences(document, tuple(map(len, model.ids))), json)
        return
    found = by_model(model, user, item, data_dir)
    document.update(predictions=_rows(found), summary=summary_of(found["prediction"]))
    where = out or folder / (f"item-{item}" if user is None else f"user-{user}")
    files = _files(document, found)
    _write(where, files)
    document.update(folder=str(where), files=list(files))
    show(document, lambda: _table(document, found), json)


def _rows(found: Any) -> List[Dict[str, Any]]:
    """The rows of a table of predictions, in values that JSON has."""
    return found.astype(object).where(found.notna(), None).to_dict("records")


def _number(document: Dict[str, Any], value: float) -> str:
    """A predicted rating has three decimals, a score four digits."""
    return f"{value:.3f}" if document["kind"] == "rating" else f"{value:.4g}"


def _title(row: Dict[str, Any]) -> str:
    from d2l_recsys.recommend.titles import title_with_year

    return title_with_year(row["title"], row["year"])


def _sentences(document: Dict[str, Any], sizes: Any) -> str:
    """What the terminal shows for one user and one item."""
    model, user, item = document["model"], document["user"], document["item"]
    (row,) = document["predictions"]
    number = _number(document, row["prediction"])
    pair = f"user {user} and {_title(row)}, item {item}"
    lines = [f"{model} predicts for {pair}: {document['kind']} {number}"]
    if document["kind"] == "score":
        lines[0] += f" ({NOT_COMPARABLE})"
    if model == "mf":
        lines[0] += f" as defined (rows {user - 1} and {item - 1} of P and Q)"
        lines.append(_as_printed(document, sizes))
    lines.append(
        f"user {user} has not rated this movie"
        if row["rating"] is None
        else f"the real rating by user {user}: {row['rating']}"
    )
    return "\n".join(lines)


def _as_printed(document: Dict[str, Any], sizes: Any) -> str:
    """The number of the chapter's code for the same user and item, and why it is another one."""
    user, item, printed = (document[name] for name in ("user", "item", "printed"))
    rows = f"the chapter's code reads rows {user} and {item}"
    if printed is None:
        ends = " and ".join(str(size - 1) for size in sizes)
        return f"as printed, there is no rating: {rows}, but the last rows are {ends}"
    return (
        f"as printed: {printed:.3f} ({rows}, which belong to user {user + 1} and item {item + 1}, "
        "because ids start at 1)"
    )


def _heading(document: Dict[str, Any]) -> str:
    """What a table of predictions, or its histogram, is about."""
    rows, model = document["predictions"], document["model"]
    what = "predicted ratings" if document["kind"] == "rating" else "scores"
    if document["user"] is None:
        return (
            f"{model}: {what} of {_title(rows[0])}, item {document['item']}, by {len(rows)} users"
        )
    return f"{model}: {what} of {len(rows)} movies by user {document['user']}"


def _table(document: Dict[str, Any], found: Any) -> str:
    """What the terminal shows for all users or all items."""
    from tabulate import tabulate

    from d2l_recsys.recommend.predictions import groups_of

    kind, of_all = document["kind"], "users" if document["user"] is None else "movies"
    groups = groups_of(found["prediction"], kind == "rating")
    table = tabulate(
        [[name, str(count)] for name, count in groups],
        [kind, of_all],
        disable_numparse=True,
        colalign=("left", "right"),
    )
    id_name = "user" if document["user"] is None else "item"
    ends = [
        f"{end} {_number(document, document['summary'][end])} "
        f"({id_name} {found[f'{id_name}_id'][row]})"
        for end, row in (
            ("lowest", found["prediction"].argmin()),
            ("highest", found["prediction"].argmax()),
        )
    ]
    center = [f"{name} {_number(document, document['summary'][name])}" for name in ("mean", "sd")]
    given = found["rating"].dropna()
    real = f"real ratings: {len(given)}"
    real += f", mean {given.mean():.3f}" if len(given) else ""
    notes = [NOT_COMPARABLE] if kind == "score" else []
    if document["model"] == "mf":
        notes = ["as defined: the rows of P and Q are the ids minus 1"]
    return "\n".join(
        [
            _heading(document),
            *notes,
            table,
            ", ".join([*center, *ends]),
            real,
            f"written to {document['folder']}: {', '.join(document['files'])}",
        ]
    )


def _files(document: Dict[str, Any], found: Any) -> Dict[str, bytes]:
    """The table and the histogram, by the names of their files."""
    from d2l_recsys.runs.plots import draw_predictions, png

    is_rating, of_users = document["kind"] == "rating", document["user"] is None
    named = ["user_id"] if of_users else ["item_id", "title", "year"]
    table = found[[*named, "prediction", "rating"]].to_csv(index=False)
    given = found["rating"].dropna()
    figure = draw_predictions(
        found["prediction"],
        "predicted rating" if is_rating else "score",
        "users" if of_users else "movies",
        _heading(document),
        float(given.mean()) if is_rating and len(given) else None,
    )
    return {FIGURE: png(figure), TABLE: table.encode("utf-8")}


def _write(folder: pathlib.Path, files: Dict[str, bytes]) -> None:
    from d2l_recsys.storage.files import prepare_folder, write_files

    write_files(prepare_folder(folder), files)
