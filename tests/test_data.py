import re
import types

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_ratings
from hypothesis import given, settings
from hypothesis import strategies as st

from d2l_recsys.data import (
    load_data_ml100k,
    load_ranking_ml100k,
    read_data_ml100k,
    split_and_load_ml100k,
    split_data_ml100k,
)
from d2l_recsys.datasets import movielens
from d2l_recsys.datasets.location import default_data_dir
from d2l_recsys.datasets.movielens import (
    COLUMNS,
    RECBOLE,
    dataset_ml100k,
    find_ml100k,
    read_items_ml100k,
    read_users_ml100k,
)
from d2l_recsys.errors import DataError, SettingError


@pytest.fixture(scope="module")
def d2l():
    return pytest.importorskip("d2l.mxnet")


@st.composite
def frames(draw):
    """Small frames of ratings: unique pairs, ids without gaps, and few different times."""
    num_users = draw(st.integers(1, 6))
    pairs = draw(
        st.sets(st.tuples(st.integers(1, num_users), st.integers(1, 8)), min_size=1, max_size=30)
    )
    pairs |= {(user, 1) for user in range(1, num_users + 1)}
    order = draw(st.permutations(sorted(pairs)))
    rows = [(u, i, draw(st.integers(1, 5)), draw(st.integers(0, 3))) for u, i in order]
    return pd.DataFrame(rows, columns=COLUMNS), num_users, 8


@settings(max_examples=60, deadline=None)
@given(frame=frames())
def test_seq_aware_split_equals_d2l(d2l, frame):
    ours = split_data_ml100k(*frame, split_mode="seq-aware")
    theirs = d2l.split_data_ml100k(*frame, split_mode="seq-aware")
    for part, other in zip(ours, theirs):
        assert part.to_numpy().tolist() == other.to_numpy().tolist()
        assert list(part.columns) == COLUMNS


def test_random_split_equals_d2l_on_the_same_draws(d2l, ratings, monkeypatch):
    draws = np.random.default_rng(5).uniform(size=len(ratings))
    stub = types.SimpleNamespace(random=types.SimpleNamespace(uniform=lambda *_: draws))
    monkeypatch.setattr(d2l, "np", stub)
    theirs = d2l.split_data_ml100k(ratings, 30, 40, "random", 0.3)
    ours = split_data_ml100k(ratings, 30, 40, "random", 0.3, rng=5)
    for part, other in zip(ours, theirs):
        pd.testing.assert_frame_equal(part, other)
    assert 0.2 < len(ours[1]) / len(ratings) < 0.4


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_load_equals_d2l(d2l, ratings, feedback):
    theirs = d2l.load_data_ml100k(ratings, 30, 40, feedback)
    ours = load_data_ml100k(ratings, 30, 40, feedback)
    for part, other in zip(ours[:3], theirs[:3]):
        assert part.tolist() == other
    if feedback == "explicit":
        np.testing.assert_array_equal(ours[3], theirs[3].asnumpy())
    else:
        assert ours[3] == theirs[3]
        assert list(ours[3]) == list(theirs[3])
    assert [part.dtype for part in ours[:3]] == [np.int32, np.int32, np.float32]


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_data_set_is_read_split_and_loaded_as_by_d2l(d2l, ml100k_dir, tmp_path):
    lines = find_ml100k(ml100k_dir).ratings.read_bytes()
    body = lines.partition(b"\n")[2] if lines.startswith(b"user_id") else lines
    (tmp_path / "u.data").write_bytes(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d2l, "download_extract", lambda name: str(tmp_path))
        theirs = d2l.read_data_ml100k()
    ours = read_data_ml100k(ml100k_dir)
    pd.testing.assert_frame_equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]
    splits = [split(*ours, "seq-aware") for split in (split_data_ml100k, d2l.split_data_ml100k)]
    for part, other in zip(*splits):
        np.testing.assert_array_equal(part, other)


@pytest.mark.network
def test_the_real_data_set_has_the_chapters_statistics(ml100k_dir):
    data, num_users, num_items = read_data_ml100k(ml100k_dir)
    assert (num_users, num_items, len(data)) == (943, 1682, 100000)
    assert data.iloc[0].tolist() == [196, 242, 3, 881250949]
    assert round(1 - len(data) / (num_users * num_items), 6) == 0.936953
    assert not dataset_ml100k(ml100k_dir)["substitute"]


@pytest.mark.network
def test_items_and_users_of_the_real_data_set(ml100k_dir):
    items, users = read_items_ml100k(ml100k_dir), read_users_ml100k(ml100k_dir)
    assert items["item_id"].tolist() == list(range(1, 1683))
    assert items.iloc[0].tolist() == [1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"]]
    assert items.iloc[266]["title"] == "unknown"
    assert items["year"].isna().sum() == 1
    assert items.loc[items["title"].str.startswith("Land Before"), "year"].tolist() == [1995]
    assert users["user_id"].tolist() == list(range(1, 944))
    assert users.iloc[0].tolist() == [1, 24, "M", "technician", "85711"]


def test_both_layouts_read_alike(tmp_path, ratings):
    grouplens, wheel = tmp_path / "grouplens", tmp_path / "wheel" / "ml-100k"
    grouplens.mkdir()
    wheel.mkdir(parents=True)
    body = ratings.to_csv(sep="\t", header=False, index=False)
    (grouplens / "u.data").write_text(body)
    (wheel / "ml-100k.inter").write_text(RECBOLE.ratings_header + "\n" + body)
    flags = ["|".join("1" if g in genres else "0" for g in movielens.GENRES) for genres in (
        ["unknown"], ["Comedy", "Sci-Fi"], ["Drama"], ["Children's"])]  # fmt: skip
    (grouplens / "u.item").write_text(
        f"1|unknown||||{flags[0]}\n"
        f"2|Café (1993) |01-Jan-1993||http://x|{flags[1]}\n"
        f"3|Seven (Se7en) (1995)|01-Jan-1995||http://x|{flags[2]}\n"
        f"4|The Land (1995) (V)|01-Jan-1995||http://x|{flags[3]}\n",
        encoding="latin-1",
    )
    (wheel / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tunkonwn\tunkonwn\tunknown\n"
        "2\tCafé\t1993\tComedy Sci-Fi\n"
        "3\tSeven (Se7en)\t1995\tDrama\n"
        "4\tThe Land (1995)\tV\tChildren's\n",
        encoding="utf-8",
    )
    (grouplens / "u.user").write_text("1|24|M|writer|01234\n")
    (wheel / "ml-100k.user").write_text(
        "id\tage\tgender\toccupation\tzip\n1\t24\tM\twriter\t01234\n"
    )
    for read in (read_items_ml100k, read_users_ml100k, lambda folder: read_data_ml100k(folder)[0]):
        pd.testing.assert_frame_equal(read(grouplens), read(tmp_path / "wheel"))
    assert read_items_ml100k(grouplens)["title"].tolist() == [
        "unknown", "Café", "Seven (Se7en)", "The Land"]  # fmt: skip
    assert dataset_ml100k(grouplens)["sha256"] == dataset_ml100k(tmp_path / "wheel")["sha256"]
    assert dataset_ml100k(grouplens)["substitute"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("u.item", "1|Toy Story (1995)|x\n", r"u\.item, line 1: found 3 columns, expected 24"),
        ("u.item", "one" + "|0" * 23, r"u\.item, line 1: item id is 'one'"),
        ("u.user", "1|24|M|writer|1\n2|x|M|writer|1\n", r"u\.user, line 2: age is 'x'"),
        ("u.user", "", r"u\.user, line 1: found 1 columns, expected 5"),
    ],
)
def test_damaged_item_and_user_files_name_the_line(ratings_dir, name, content, message):
    (ratings_dir / name).write_text(content)
    read = read_items_ml100k if name == "u.item" else read_users_ml100k
    with pytest.raises(DataError, match=message):
        read(ratings_dir)


def test_missing_item_file_names_itself(ratings_dir):
    (ratings_dir / "u.item").unlink()
    with pytest.raises(DataError, match=r"u\.item cannot be read"):
        read_items_ml100k(ratings_dir)


def test_windows_line_ends_read_alike(ratings_dir):
    expected = read_data_ml100k(ratings_dir)[0]
    path = ratings_dir / "u.data"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    pd.testing.assert_frame_equal(read_data_ml100k(ratings_dir)[0], expected)


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200) | st.text('0123456789\t\n\r .-x"', max_size=80))
def test_any_bytes_either_read_or_raise_the_data_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "u.data").write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        data, _, _ = read_data_ml100k(folder)
    except DataError:
        with pytest.raises(DataError, match=r"u\.data"):
            read_data_ml100k(folder)
    else:
        text = (folder / "u.data").read_bytes().decode("ascii").replace("\r\n", "\n")
        plain = [
            [int(field) for field in line.split("\t")] for line in text.rstrip("\n").split("\n")
        ]
        assert data.to_numpy().tolist() == plain
        assert re.fullmatch(r"[-\d\t\n]*", text)
        assert (data.dtypes == np.int64).all()


def test_split_and_load_serves_every_test_rating_and_whole_training_batches(ratings_dir):
    num_users, num_items, train_iter, test_iter = split_and_load_ml100k(
        batch_size=50, data_dir=ratings_dir, shuffle_rng=1
    )
    assert (num_users, num_items) == (30, 40)
    users = np.concatenate([batch[0] for batch in test_iter])
    assert sorted(users) == list(range(30))
    parts = split_data_ml100k(*read_data_ml100k(ratings_dir), split_mode="seq-aware")
    train, test = (load_data_ml100k(part, 30, 40) for part in parts)
    for column, expected in zip(zip(*test_iter), test):
        np.testing.assert_array_equal(np.concatenate(column), expected)
    # 330 rows: 6 batches, 30 rows rolled over, then 7 batches.
    epochs = [list(train_iter) for _ in range(2)]
    assert [len(epoch) for epoch in epochs] == [6, 7]
    assert {len(batch[0]) for epoch in epochs for batch in epoch} == {50}
    assert epochs[0][0][0].tolist() != train[0][:50].tolist(), "the training rows are not shuffled"
    assert {part.dtype for batch in epochs[0] for part in batch} == {
        np.dtype("int32"), np.dtype("float32")}  # fmt: skip
    implicit = split_and_load_ml100k("random", "implicit", 0.5, 16, ratings_dir, split_rng=0)[2]
    assert {score for batch in implicit for score in batch[2]} == {1.0}


@pytest.mark.parametrize(
    "line",
    [
        "1\x009\t2\t4\t0",
        '1\t2\t"4"\t0',
        "1\t2\t4.0\t0",
        "1\t2\t1e0\t0",
        "+1\t2\t4\t0",
        " 1\t2\t4\t0",
        "1\t2\t4\t99999999999999999999",
        "1\t2\t4\t9223372036854775808",
        "1\t2\t4\t0\r1\t3\t4\t0",
        "1\t\t4\t0",
    ],
)
def test_what_pandas_would_forgive_is_refused(ratings_dir, line):
    path = ratings_dir / "u.data"
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(DataError, match=r"u\.data, line 361: "):
        read_data_ml100k(ratings_dir)


def test_a_folder_where_the_ratings_belong_is_refused(tmp_path):
    (tmp_path / "u.data").mkdir()
    with pytest.raises(DataError, match=r"u\.data is not a file"):
        find_ml100k(tmp_path)
    with pytest.raises(DataError, match="--data-dir: "):
        find_ml100k("x" * 300)


def test_an_empty_frame_cannot_be_split():
    with pytest.raises(DataError, match="no ratings to split"):
        split_data_ml100k(pd.DataFrame(columns=COLUMNS), 0, 0, "seq-aware")


def test_bad_choices_and_ids_are_refused(ratings):
    with pytest.raises(SettingError, match="--split is 'by user'"):
        split_data_ml100k(ratings, 30, 40, "by user")
    with pytest.raises(SettingError, match=r"test_ratio is 1\.5"):
        split_data_ml100k(ratings, 30, 40, "random", 1.5)
    with pytest.raises(SettingError, match="--feedback is 'likes'"):
        load_data_ml100k(ratings, 30, 40, "likes")
    with pytest.raises(DataError, match="user_id 30 is outside 1-29"):
        load_data_ml100k(ratings[ratings["user_id"] == 30], 29, 40)
    with pytest.raises(DataError, match="item_id 40 is outside 1-39"):
        load_data_ml100k(ratings[ratings["item_id"] == 40], 30, 39)


def test_the_data_folder_can_be_named_by_the_environment(ratings_dir, monkeypatch):
    monkeypatch.setenv("D2L_RECSYS_DATA", str(ratings_dir))
    assert default_data_dir() == ratings_dir
    assert len(read_data_ml100k()[0]) == len(made_up_ratings())
    monkeypatch.setenv("D2L_RECSYS_DATA", str(ratings_dir / "nowhere"))
    with pytest.raises(DataError, match=r"D2L_RECSYS_DATA: the folder .* does not exist"):
        read_data_ml100k()


def test_ranking_data_holds_out_each_users_last_and_agrees_with_itself(ratings_dir):
    data = load_ranking_ml100k(ratings_dir)
    frame, num_users, num_items = read_data_ml100k(ratings_dir)
    assert (data.num_users, data.num_items) == (num_users, num_items)
    train, test = split_data_ml100k(frame, num_users, num_items, "seq-aware")
    assert data.test_items == {u - 1: [i - 1] for u, i in zip(test["user_id"], test["item_id"])}
    pairs = list(zip(data.users.tolist(), data.items.tolist()))
    assert pairs == [(u - 1, i - 1) for u, i in zip(train["user_id"], train["item_id"])]
    assert pairs == [(u, i) for u in sorted(data.candidates) for i in data.candidates[u]]
    assert data.users.dtype == data.items.dtype == np.int32


def test_a_user_whose_only_rating_is_held_out_is_refused(tmp_path):
    (tmp_path / "u.data").write_text("1\t1\t3\t0\n1\t2\t3\t1\n2\t1\t4\t0\n3\t1\t1\t1\n3\t2\t1\t1\n")
    with pytest.raises(DataError, match=r"u\.data: user 2 has one rating, which is held out"):
        load_ranking_ml100k(tmp_path)


def test_validation_is_the_same_split_once_more_without_the_last_ratings(ratings_dir):
    frame, *counts = read_data_ml100k(ratings_dir)
    _, last = split_data_ml100k(frame, *counts, "seq-aware")
    before, validation = split_data_ml100k(frame, *counts, "validation")
    for user, of_user in frame.groupby("user_id"):
        # A plain loop: hold out the latest rating (of tied ratings the first in the file). Then do
        # the same again with the other ratings.
        rows = of_user.to_dict("records")
        for held_out in (last, validation):
            latest = max(rows, key=lambda row: row["timestamp"])
            found = held_out[held_out["user_id"] == user]
            assert found["item_id"].tolist() == [latest["item_id"]]
            rows.remove(latest)
        assert set(before[before["user_id"] == user]["item_id"]) == {r["item_id"] for r in rows}
    assert len(before) == len(frame) - 2 * counts[0]
    data = load_ranking_ml100k(ratings_dir, "validation")
    pairs = zip(data.users + 1, data.items + 1, data.ratings)
    expected = before[["user_id", "item_id", "rating"]].itertuples(index=False)
    assert [tuple(map(int, pair)) for pair in pairs] == list(map(tuple, expected))
    assert data.test_items == {
        u - 1: [i - 1] for u, i in zip(validation["user_id"], validation["item_id"])
    }
    assert sum(map(len, data.candidates.values())) == len(before)


def test_ranking_is_tested_on_a_split_by_time(ratings_dir):
    with pytest.raises(SettingError, match=r"--split is 'random'.*choose one of: seq-aware, val"):
        load_ranking_ml100k(ratings_dir, "random")


@pytest.mark.parametrize(("count", "few"), [(1, "one rating, which is"), (2, "two ratings, which")])
def test_users_with_too_few_ratings_to_validate_on_are_refused(tmp_path, count, few):
    ratings = ["1\t1\t3\t0", "1\t2\t3\t1", "1\t3\t3\t2", "2\t1\t4\t0", "2\t2\t4\t0"]
    (tmp_path / "u.data").write_text("\n".join(ratings[: 3 + count]) + "\n")
    with pytest.raises(DataError, match=rf"u\.data: user 2 has {few}"):
        load_ranking_ml100k(tmp_path, "validation")


def test_where_no_user_has_two_ratings_there_is_nothing_to_validate_on(tmp_path):
    (tmp_path / "u.data").write_text("1\t1\t3\t0\n2\t2\t3\t1\n")
    with pytest.raises(DataError, match="no user has two ratings"):
        load_ranking_ml100k(tmp_path, "validation")
