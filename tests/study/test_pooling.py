import numpy as np
import polars as pl
import pytest

from weightprint.evaluation.answers import table
from weightprint.evaluation.scores import scores
from weightprint.study.bench import pooled


def document(answers, **facts):
    """As an evaluation makes it, without what is not pooled."""
    known = {"n_runs": len(answers), "n_train_runs": 9, "fit_seconds": 1.0, "seconds": 2.0, "capped": False}
    return {**known, "excluded": {}, "per_class": [], **scores(answers), **facts}


def test_one_split_stays_as_it_is():
    answers = table("xy", [0, 1], [0, 0], classes="ab", split=3)
    found = pooled([document(answers)], answers)
    assert found == {**document(answers), "n_splits": 1, "split_seeds": [3]}


def test_several_splits_become_one_document():
    first = table("xy", [0, 1], [0, 0], classes="ab", split=0)
    second = table("xz", [0, 1], [1, 1], classes="ab", split=1)
    documents = [
        document(first, excluded={"kin": 2}),
        document(second, n_train_runs=7, capped=True, fit_seconds=3.0, excluded={"kin": 1, "corrupt": 1}),
    ]
    found = pooled(documents, pl.concat([first, second]))
    assert (found["n_splits"], found["split_seeds"], found["n_runs"], found["n_train_runs"]) == (2, [0, 1], 3, 7)
    assert (found["fit_seconds"], found["seconds"], found["capped"]) == (2, 4, True)
    assert found["excluded"] == {"corrupt": 1, "kin": 2}
    assert found["per_run"]["accuracy"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert [s["per_run"]["accuracy"] for s in found["splits"]] == [0.5, 0.5]
    assert "per_class" not in found


def test_logarithms_are_pooled_as_values_are():
    generator = np.random.default_rng(0)
    parts = [table("vwxyz", *np.exp(generator.normal(size=(2, 5))), split=s) for s in (0, 1)]
    parts[1] = parts[1].with_columns(truth=parts[0]["truth"])
    both = pl.concat(parts)
    found = pooled([document(part, per_run_log10={}) for part in parts], both)
    error = np.log10(both["answer"].to_numpy() / both["truth"].to_numpy())
    assert found["per_run_log10"]["mae"]["value"] == pytest.approx(np.abs(error).mean())
    assert found["per_run"]["mae"]["value"] == pytest.approx(
        np.abs(both["answer"].to_numpy() - both["truth"].to_numpy()).mean()
    )
