import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import read_data_ml100k
from d2l_recsys.datasets.movielens import read_items_ml100k
from d2l_recsys.errors import DataError
from d2l_recsys.recommend.titles import FoundMovie, find_movie, title_with_year

# Item id, title, year, number of ratings.
MOVIES = [
    (1, "Toy Story", 1995, 9),
    (2, "Godfather, The", 1972, 8),
    (3, "Godfather: Part II, The", 1974, 7),
    (4, "Haine, La", 1995, 2),
    (5, "Seven (Se7en)", 1995, 6),
    (6, "Die xue shuang xiong (Killer, The)", 1989, 1),
    (7, "Killer (Bulletproof Heart)", 1994, 1),
    (8, "Double vie de Véronique, La (Double Life of Veronique, The)", 1991, 3),
    (9, "Sabrina", 1954, 2),
    (10, "Sabrina", 1995, 5),
    (12, "Chasing Amy", 1997, 4),
    (11, "Chasing Amy", 1997, 3),
    (13, "Sliding Doors", 1998, 1),
    (16, "Sliding Doors", 1998, 2),
    (15, "Sliding Doors", 1998, 2),
    (17, "E.T. the Extra-Terrestrial", 1982, 9),
    (18, "Batman & Robin", 1997, 1),
    (19, "Star Maker, The (Uomo delle stelle, L')", 1995, 1),
    (20, "unknown", None, 0),
    (21, "Star Wars", 1977, 10),
    (22, "Star Trek", 1979, 2),
    (23, "Stargate", 1994, 3),
    (24, "Starship Troopers", 1997, 4),
    (25, "Star Trek: Generations", 1994, 5),
    (26, "Blood Star", 1993, 6),
    (27, "Big Trees, Small Axes", 1990, 1),
    (28, "Life Less Ordinary, A", 1997, 1),
    (29, "Scout (Blood Star)", 1993, 1),
    (30, "War, The", 1994, 1),
    (31, "War", 1994, 1),
    (32, "Ulee's Gold", 1997, 1),
    (33, "Métisse noire", 1993, 1),
]


def frame(movies):
    table = pd.DataFrame(movies, columns=["item_id", "title", "year", "num_ratings"])
    return table.astype({"year": "Int64"})


def find(text, movies=MOVIES):
    table = frame(movies)
    return find_movie(text, table, table["num_ratings"])


@pytest.mark.parametrize(
    ("text", "item_id"),
    [
        ("Toy Story", 1),
        ("  toy   STORY  (1995) ", 1),
        ("Toy Story (1995) (V)", 1),
        ("Toystory!", 1),
        ("Godfather, The", 2),
        ("the godfather", 2),
        ("Godfather,The (1972)", 2),
        ("Godfather", 2),
        ("A Godfather", 2),
        ("The Godfather: Part II", 3),
        ("godfather part ii", 3),
        ("la haine", 4),
        ("HAINE, LA", 4),
        ("se7en", 5),
        ("seven", 5),
        ("Seven (Se7en) (1995)", 5),
        ("The Killer", 6),
        ("Killer", 7),
        ("Killer, The (1989)", 6),
        ("Killer (1989)", 6),
        ("Double Vie de Veronique", 8),
        ("the double life of Véronique", 8),
        ("Sabrina (1954)", 9),
        ("Sabrina (1995)", 10),
        ("ET: The Extraterrestrial", 17),
        ("batman and robin", 18),
        ("L'uomo delle stelle", 19),
        ("L\u2019Uomo delle Stelle", 19),
        ("Unknown", 20),
        ("Big Trees, Small Axes", 27),
        ("A Life Less Ordinary", 28),
        # A whole title comes before a title in parentheses, and both before another article.
        ("Blood Star (1993)", 26),
        ("The War", 30),
        ("War", 31),
        ("An War (1994)", None),
    ],
)
def test_a_movie_is_found_as_it_is_typed(text, item_id):
    if item_id is None:
        with pytest.raises(DataError, match="several movies"):
            find(text)
    else:
        assert find(text) == FoundMovie(item_id, [])


def test_of_the_same_movie_twice_the_one_with_most_ratings_is_taken():
    assert find("Chasing Amy") == FoundMovie(12, [11])
    assert find("sliding doors (1998)") == FoundMovie(15, [13, 16])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Sabrina",
            "several movies are called 'Sabrina': Sabrina (1995), item 10; Sabrina (1954), item 9; "
            "give the title with the year",
        ),
        (
            "Sabrina (1960)",
            "no movie is called 'Sabrina (1960)'; there is Sabrina (1995), Sabrina (1954)",
        ),
        ("War (1960)", "no movie is called 'War (1960)'; there is War (1994)"),
        ("Unknown (1995)", "no movie is called 'Unknown (1995)'; there is unknown"),
        ("Toy Stroy", "no movie is called 'Toy Stroy'; did you mean Toy Story (1995)?"),
        ("Toy Story 1995", "no movie is called 'Toy Story 1995'; did you mean Toy Story (1995)?"),
        ("Chasing Army", "no movie is called 'Chasing Army'; did you mean Chasing Amy (1997)?"),
        # Titles with the typed words come first, sorted by ratings, then a similar spelling.
        (
            "star t",
            "no movie is called 'star t'; did you mean Star Trek: Generations (1994), "
            "Star Trek (1979), Stargate (1994), Star Wars (1977)?",
        ),
        (
            "Star",
            "no movie is called 'Star'; did you mean Star Wars (1977), Blood Star (1993), "
            "Star Trek: Generations (1994), Starship Troopers (1997), Stargate (1994)?",
        ),
        (
            "veronique double",
            "no movie is called 'veronique double'; did you mean Double vie de Véronique, La "
            "(Double Life of Veronique, The) (1991)?",
        ),
        ("noire metisse", "no movie is called 'noire metisse'; did you mean Métisse noire (1993)?"),
        ("gold ulees", "no movie is called 'gold ulees'; did you mean Ulee's Gold (1997)?"),
        ("tar", "no movie is called 'tar'; did you mean War (1994), War, The (1994)?"),
        ("xyzzy", "no movie is called 'xyzzy'; no title is similar"),
        ("", "'' is not a title; give the title of a movie"),
        (" ?! ", "' ?! ' is not a title; give the title of a movie"),
        ("(1995)", "'(1995)' is not a title; give the title of a movie"),
        ("q" * 5000, f"no movie is called '{'q' * 60}...'; no title is similar"),
    ],
)
def test_a_title_of_no_movie_or_of_several_gets_a_line_that_helps(text, message):
    with pytest.raises(DataError) as raised:
        find(text)
    assert str(raised.value) == message


def test_not_all_are_named_where_many_are_called_alike():
    movies = [(n, "Film", 1950 + n, n) for n in range(1, 9)]
    with pytest.raises(DataError, match=r"'Film': Film \(1958\), item 8; .*, item 4; \.\.\.; give"):
        find("Film", movies)
    with pytest.raises(DataError, match=r"there is (Film \(\d+\), ){4}Film \(1954\)$"):
        find("Film (2000)", movies)


names = st.text("aBcé', ()&-", max_size=8).map(lambda t: t.strip() + "x")
articles = st.sampled_from(["", ", The", ", La", ", L'", "(The a)"])


@settings(max_examples=25, deadline=None)
@given(
    titles=st.lists(st.tuples(st.builds(str.__add__, names, articles), st.integers(1990, 1992)),
                    min_size=1, max_size=6),
    data=st.data(),
)  # fmt: skip
def test_every_movie_is_found_by_its_title_and_year(titles, data):
    movies = [(n, title, year, data.draw(st.integers(0, 2))) for n, (title, year) in
              enumerate(titles)]  # fmt: skip
    for item_id, title, year, _ in movies:
        for text in (title_with_year(title, year), title_with_year(title.upper(), year)):
            item, others = find(text, movies)
            assert item_id in (item, *others)
            assert all(titles[n][1] == year for n in (item, *others))


def test_movies_of_the_real_data_are_found(ml100k_dir):
    movies = read_items_ml100k(ml100k_dir)
    num_ratings = read_data_ml100k(ml100k_dir)[0]["item_id"].value_counts()[movies["item_id"]]
    for text, item_id in [("Toy Story", 1), ("The Godfather", 127), ("star wars", 50),
                          ("Das Boot", 515), ("La double vie de Veronique", 1005),
                          ("The Return of Martin Guerre", 638)]:  # fmt: skip
        assert find_movie(text, movies, num_ratings).item_id == item_id
    assert find_movie("Chasing Amy", movies, num_ratings) == FoundMovie(268, [246])
    with pytest.raises(DataError, match=r"Sabrina \(1995\), item 274; Sabrina \(1954\), item 486"):
        find_movie("Sabrina", movies, num_ratings)
