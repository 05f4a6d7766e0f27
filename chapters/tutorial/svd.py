"""The tutorial's SVD: a truncated SVD of all ratings (Sarwar et al. 2000).

R has the rating of each user for each item, and 0 where there is none. Each row is demeaned: its
mean over *all* items, rated or not, is subtracted from all of its cells. The k largest singular
values approximate the result, and the mean is added again:

    m_u = (1 / num_items) * sum over all items i of R[u, i]
    R - m 1' = U Sigma V'  (only the k largest singular values)
    R_hat[u, i] = (U Sigma V')[u, i] + m_u

The items that the user has not rated are ranked by R_hat. An unrated cell counts as a rating of 0,
and the SVD fits these zeros. So R_hat is not a predicted rating. It tells how much the item is like
those that the user has rated.

``chapters/extras/svd.py`` differs in two ways. It fills an unrated cell with the mean of the user's
*ratings* (or with 0, without demeaning), so that a prediction is a rating. And it is tested on
held-out items, where the tutorial learns from all ratings and only shows a list.

Run this file from the root of the checkout. It needs no MXNet:

    python chapters/tutorial/svd.py
    python chapters/tutorial/svd.py --num-factors 20 --user 1
"""

from typing import Any, Dict, Tuple

import numpy as np
import scipy.sparse
from typing_extensions import Annotated

from d2l_recsys.chapters.extras.svd import SVD, check_num_factors, truncated_svd
from d2l_recsys.loaders.interactions import RankingData, rating_rows
from d2l_recsys.recommend import in_words, recommend
from d2l_recsys.runs.all_ratings import AllRatingsClosedFormRun
from d2l_recsys.runs.plots import draw_singular_values
from d2l_recsys.sections import command_line
from d2l_recsys.sections.options import section

__all__ = ["SVD", "fit", "main"]


def fit(data: RankingData, num_factors: int) -> Tuple[SVD, np.ndarray]:
    """Compute the truncated SVD of the demeaned rows; also return the singular values.

    The singular values are float64 (num_factors,), the largest first. Raises SettingError unless
    ``num_factors`` is smaller than the number of users and smaller than the number of items.
    """
    check_num_factors(num_factors, data.sizes)
    R = rating_rows(data).astype(np.float64)
    means = R.mean(axis=1)
    U, sigma, V = truncated_svd(scipy.sparse.csr_matrix(R - means[:, None]), num_factors)
    return SVD(*(part.astype(np.float32) for part in (U * sigma, V, means))), sigma


def squared_error(data: RankingData, model: SVD) -> float:
    """The mean of (R - R_hat)^2 over all cells of the matrix, rated or not."""
    R = rating_rows(data)
    return float(np.square(R - model.score_all(np.arange(data.num_users)), dtype=float).mean())


@section("tutorial_svd")
def main(
    run: AllRatingsClosedFormRun,
    num_factors: int = 50,
    user: Annotated[int, "Id (as in u.data) of the user who gets recommendations."] = 837,
) -> Dict[str, Any]:
    """Factorize all ratings of MovieLens-100K as the tutorial does."""
    model, sigma = run.fit(fit, num_factors)
    numbers = {"train_loss": run.fit(squared_error, model)}
    result = run.finish(model, numbers, draw_singular_values(sigma, run.title))
    if not run.quiet:
        best = recommend(run.trained(model), user, 5, run.data_dir)
        run.say(f"user {user}: {in_words(best)}")
    return result


if __name__ == "__main__":
    command_line.run(main)
