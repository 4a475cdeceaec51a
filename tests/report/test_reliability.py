import numpy as np
from docs.generate.reliability import reliability_figure

from weightprint.evaluation.calibration import calibration_scores


def test_a_reliability_diagram_shows_every_bin_with_its_runs():
    probabilities = np.array([[0.95, 0.05]] * 6 + [[0.6, 0.4]] * 4)
    truth = np.array([0] * 6 + [1] * 3 + [0])
    document = {"property": "optimizer", "model": "trees", "before": calibration_scores(probabilities, truth, draws=50)}
    picture = reliability_figure([document, document])
    assert picture.alt.count("claimed 60 %, right 25 % of 4; claimed 95 %, right 100 % of 6") == 2
    assert picture.standalone.startswith("<?xml")
