"""Sets of classes: how often they hold the true one, and how large they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from weightprint.evaluation.intervals import bootstrap, clopper_pearson, listed


def set_scores(sets: npt.NDArray[np.bool_], truth: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Coverage and size of sets [N, C] for the class numbers [N]."""
    n, classes = sets.shape
    covered = sets[np.arange(n), truth]
    sizes = sets.sum(axis=1)
    wrong = int(((sizes == 1) & ~covered).sum())
    return {
        "n": n,
        "covered": int(covered.sum()),
        "coverage": float(covered.mean()),
        "interval": list(clopper_pearson(int(covered.sum()), n)),
        "mean_size": float(sizes.mean()),
        "mean_size_interval": listed(bootstrap(lambda counts: counts @ sizes / n, n)),
        "sizes": np.bincount(sizes, minlength=classes + 1).tolist(),
        "confident_errors": {"n": wrong, "share": wrong / n, "interval": list(clopper_pearson(wrong, n))},
        "per_class": [
            {"covered": int(covered[truth == c].sum()), "n": int((truth == c).sum())} for c in range(classes)
        ],
    }
