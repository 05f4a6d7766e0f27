"""Find a movie by the title that a user types."""

import difflib
import unicodedata
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import pandas as pd

from d2l_recsys.datasets.movielens import title_and_year
from d2l_recsys.errors import DataError

# MovieLens puts these articles behind a title: "Godfather, The", "Haine, La".
# fmt: off
ARTICLES = frozenset((
    "a", "an", "the", "l", "la", "le", "les", "il", "o", "das", "den", "der", "det", "die", "el",
    "los", "las", "un", "une",
))
# fmt: on
# How many movies an error message names at most, and how many characters of the typed title.
MOST_NAMED = 5
MOST_SHOWN = 60
# Apostrophes are removed from a word; all other punctuation separates words.
APOSTROPHES = str.maketrans("", "", "'`\u2018\u2019")

Words = List[str]


class FoundMovie(NamedTuple):
    """The id of a found movie, and further ids that the data has for the same movie."""

    item_id: int
    others: List[int]


class Movie(NamedTuple):
    """An entry of the data, and the words of each of its names; the whole title is the first."""

    item_id: int
    title: str
    year: Optional[int]
    names: List[Words]

    def __str__(self) -> str:
        return title_with_year(self.title, self.year)


def title_with_year(title: str, year: Optional[int]) -> str:
    """The title with its year, as in ``Toy Story (1995)``; without an unknown year."""
    return title if pd.isna(year) else f"{title} ({year})"


def find_movie(text: str, movies: pd.DataFrame, num_ratings: Sequence[int]) -> FoundMovie:
    """Find the movie whose title is ``text``, with or without the year.

    Case, accents, punctuation and the place of the article do not matter. A title in parentheses is
    also a name of its movie. A match of the whole title comes first, then a match of a part (before
    or in parentheses), then a match without the article. If the data has several entries with the
    same title and year, the one with the most ratings is taken; of equals, the lowest id.

    Parameters
    ----------
    movies : the frame of ``read_items_ml100k``
    num_ratings : the number of ratings of each movie

    Raises DataError if no movie has the title (the message names up to five similar titles), or if
    movies of several titles or years match.
    """
    title, year = title_and_year(text)
    wanted = _words(title)
    shown = repr(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "...")
    if not wanted:
        raise DataError(f"{shown} is not a title; give the title of a movie")
    entries = _by_ratings(movies, num_ratings)
    of_other_years: List[Movie] = []
    for called in _called(wanted, entries):
        found = [entry for entry in called if year in (None, entry.year)]
        if len({("".join(entry.names[0]), entry.year) for entry in found}) > 1:
            items = "; ".join(f"{entry}, item {entry.item_id}" for entry in found[:MOST_NAMED])
            more = "; ..." * (len(found) > MOST_NAMED)
            raise DataError(
                f"several movies are called {shown}: {items}{more}; give the title with the year"
            )
        if found:
            return FoundMovie(found[0].item_id, sorted(entry.item_id for entry in found[1:]))
        of_other_years = of_other_years or called
    if of_other_years:
        raise DataError(f"no movie is called {shown}; there is {_listed(of_other_years)}")
    near = _near(wanted, entries)
    hint = f"did you mean {_listed(near)}?" if near else "no title is similar"
    raise DataError(f"no movie is called {shown}; {hint}")


def _by_ratings(movies: pd.DataFrame, num_ratings: Sequence[int]) -> List[Movie]:
    """All entries, the one with the most ratings first; equals are sorted by id."""
    order = np.lexsort((movies["item_id"], -np.asarray(num_ratings)))
    rows = movies.iloc[order]
    years = [None if pd.isna(year) else int(year) for year in rows["year"]]
    return [
        Movie(item_id, title, year, _names(title))
        for item_id, title, year in zip(rows["item_id"].tolist(), rows["title"], years)
    ]


def _names(title: str) -> List[Words]:
    """The words of the whole title, of the part before its parentheses and of the part in them."""
    before, bracket, rest = title.partition("(")
    parts = [before, rest[:-1]] if bracket and rest.endswith(")") else []
    return [_words(name) for name in [title, *parts]]


def _words(text: str) -> Words:
    """The words of a title without accents, case and punctuation; the article comes first."""
    head, comma, article = text.rpartition(",")
    if comma and "".join(_plain(article)) in ARTICLES:
        text = f"{article} {head}"
    return _plain(text)


def _plain(text: str) -> Words:
    decomposed = unicodedata.normalize("NFKD", text.replace("&", " and ")).casefold()
    kept = (c for c in decomposed.translate(APOSTROPHES) if not unicodedata.combining(c))
    return "".join(c if c.isalnum() else " " for c in kept).split()


def _called(wanted: Words, entries: Sequence[Movie]) -> List[List[Movie]]:
    """The entries that match ``wanted``: by whole title, by part, and without the article."""
    exact, loose = "".join(wanted), _without_article(wanted)
    return [
        [entry for entry in entries if exact == "".join(entry.names[0])],
        [entry for entry in entries if exact in map("".join, entry.names)],
        [entry for entry in entries if loose in map(_without_article, entry.names)],
    ]


def _without_article(words: Words) -> str:
    return "".join(words[1:] if len(words) > 1 and words[0] in ARTICLES else words)


def _near(wanted: Words, entries: Sequence[Movie]) -> List[Movie]:
    """The entries whose names contain the typed words, then those with a similar spelling."""
    start = " " + " ".join(wanted)
    near = [
        entry
        for entry in entries
        if any(set(wanted) <= set(name) or start in " " + " ".join(name) for name in entry.names)
    ]
    spelled: Dict[str, List[Movie]] = {}
    for entry in entries:
        for name in entry.names:
            spelled.setdefault(" ".join(name), []).append(entry)
    for name in difflib.get_close_matches(" ".join(wanted), spelled, n=MOST_NAMED):
        near += spelled[name]
    return near


def _listed(entries: Sequence[Movie]) -> str:
    """The first five titles with their years, each title once."""
    return ", ".join(list(dict.fromkeys(map(str, entries)))[:MOST_NAMED])
