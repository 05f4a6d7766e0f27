"""The exercises of sections 15.1 and 15.2: recommender systems, and their data."""

from d2l_recsys.exercises.exercise import Exercise, Grid, Part

EXERCISES = [
    Exercise(
        "15.1.1",
        "Where do recommender systems shape daily life?",
        """\
They choose what people see first: films and music, products in a shop, news, posts of a social
network, jobs, partners, places on a map, and advertisements. Few people look beyond the first
screen, so the order of a list decides what is bought, read or heard.

Even a small model changes this order much. On the [leaderboard](leaderboard/leaderboard.md), the
ten most popular movies that a user has not seen contain the user's next movie for 8.4 % of the
users. The best system there finds it for 20.8 %. It also shows other movies: half of its
suggestions have fewer than 192 ratings, while half of the popular ones have more than 417. What
people like later depends on what they were shown. So such a system also makes its own future
data.""",
    ),
    Exercise(
        "15.1.2",
        "Which recommendation tasks are worth a study?",
        """\
- **Ranking and rating are two tasks.** Matrix factorization predicts ratings well, but it ranks
  no better than popularity: its NDCG@10 is 0.040, that of popularity is 0.042.
- **Sequences and sessions.** The systems that read the order of a history lead the leaderboard.
  With an anonymous visitor, only the session is known (15.7.3).
- **Cold start.** A new user or a new item has no row in the tables of factors.
- **Several aims at once:** diversity, new items, fairness towards those who make the items.
- **Feedback.** A list changes what is clicked, so logged clicks are a biased sample.
- **Explanations and conversations,** groups of users, bundles of items, and privacy.
- **Evaluation.** Offline numbers depend on the split: in the chapter, the test sets of two
  models differ, which accounts for most of the difference between their errors (`ERRATA.md`,
  R1).""",
    ),
    Exercise(
        "15.2.1",
        "Which other data sets are like MovieLens-100K?",
        """\
The project reads these data sets:

| data set | rows | content | sparsity | terms |
|---|---:|---|---:|---|
| MovieLens-100K | 100,000 ratings | 943 users, 1,682 movies | 0.937 | research, no redistribution |
| MovieLens-100K as clicks | 100,000 clicks | 10 fields | | the same |
| the book's clicks | a small sample | 34 fields | | none stated |
| Criteo, display advertising | 45.8 million clicks | 13 counts, 26 hashed values | | Criteo's own |
| Avazu, click-through rate | 40.4 million clicks | 23 fields | | Kaggle's rules |

Similar sets of ratings: MovieLens-1M (6,040 users, 3,706 rated movies, sparsity 0.955),
MovieLens-25M (162,541 users, 59,047 movies, 0.997), and the Netflix Prize (480,189 users, 17,770
movies, 100 million ratings, 0.988). Amazon and Yelp have reviews, Last.fm has songs that were
played, Goodreads has books. Larger sets are sparser, so two items have fewer users in common.
[`data/README.md`](../data/README.md) tells how to use your own copy.""",
        [Part("MovieLens-100K", [Grid("movielens", {}, {}, {"data": "MovieLens-100K"})])],
    ),
    Exercise(
        "15.2.2",
        "What does MovieLens itself offer?",
        """\
movielens.org is a free service of GroupLens, a research group at the University of Minnesota.
Users rate movies in half stars and get predicted ratings and lists. They can choose among
several recommenders, set tags, and search by tags. GroupLens publishes the ratings for research:
100K, 1M, 10M, 20M, 25M and 32M are fixed, "latest" grows. The larger ones also have tags and the
tag genome, which says how much each tag fits each movie.

MovieLens-100K is the first of them: ratings in whole stars from seven months of 1997 and 1998,
of users with at least 20 ratings, with age, gender, occupation and zip code. From 10M on, the
sets have no such personal data. `d2l-recsys run movielens` prints its first rows and its
histogram: 34 % of the ratings are 4 stars, and only 6 % are 1 star.""",
    ),
]
