from weightprint.report.figures import place_maps, scatter_figures


def row(**known):
    return {"property": "optimizer", "chance": 0.25, "probability": 0.5, **known}


def test_a_map_of_places_names_its_highest_and_needs_several_snapshots():
    rows = [row(start=s, snapshot=t, probability=0.3 + 0.1 * t + s / 1e4) for s in (0, 900) for t in (1, 2)]
    (picture,) = place_maps(rows, ["optimizer"], borders=[(500.0, "conv2"), (5000.0, "beyond")])
    assert "highest 59.0 % at weight 900 of snapshot 2" in picture.alt
    assert "conv2" in picture.svg
    assert "beyond" not in picture.svg
    assert place_maps([r for r in rows if r["snapshot"] == 1], ["optimizer"], borders=[]) == []
    assert place_maps([r for r in rows if r["start"] == 0], ["optimizer"], borders=[]) == []


def test_runs_are_told_apart_by_their_data_set_unless_there_are_too_many():
    def picture(datasets):
        rows = [{"property": "optimizer", "accuracy": 0.5, "value": 0.5, "dataset": name} for name in datasets]
        (drawn,) = scatter_figures("s", rows, "accuracy", x="accuracy", y="slices", by="dataset")
        return drawn.svg

    assert "svhn" in picture(["svhn", None, 3])
    assert "set4" not in picture([f"set{i}" for i in range(12)])
