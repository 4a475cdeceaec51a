import numpy as np
import pytest

from weightprint.evaluation.intervals import clopper_pearson
from weightprint.meta.judging import set_scores


def test_set_scores_count_coverage_sizes_and_confident_errors():
    sets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
    document = set_scores(sets, np.array([0, 0, 0, 0, 2]))
    assert (document["covered"], document["coverage"]) == (3, 0.6)
    assert document["interval"] == pytest.approx(clopper_pearson(3, 5))
    assert document["mean_size"] == pytest.approx(7 / 5)
    assert document["sizes"] == [1, 2, 1, 1]
    assert document["confident_errors"]["n"] == 1
    assert document["per_class"] == [{"covered": 2, "n": 4}, {"covered": 0, "n": 0}, {"covered": 1, "n": 1}]
