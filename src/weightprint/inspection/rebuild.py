"""Make the shipped meta-classifier again, and score it on files of strangers.

    python -m weightprint.inspection.rebuild ZOO OUT [--strangers FOLDER]

ZOO is a population of the space `everyday`, FOLDER holds real files with a table
(`weightprint.inspection.strangers`). The trees see no real file. Thresholds are set on runs held out and on one half of
the strangers' repositories. Scored are that half, the other one, all files, and one file per set-up.
"""

from __future__ import annotations

import argparse
import json

from weightprint.inspection import learning
from weightprint.inspection.cases import cases_of_runs, cases_of_strangers
from weightprint.inspection.judge import Shapes, replies, scores
from weightprint.inspection.strangers import read_strangers
from weightprint.zoo import Zoo


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make the shipped meta-classifier again.")
    parser.add_argument("zoo")
    parser.add_argument("out")
    parser.add_argument("--strangers", default=None, help="folder of real files with a table.csv")
    options = parser.parse_args()
    zoo = Zoo(options.zoo)
    runs = [run for run in zoo if run.status == "complete" and run.converged]
    strangers = read_strangers(options.strangers) if options.strangers else []
    facts = {"recipe": zoo.identity, "space": zoo.space_name, "seed": zoo.recipe.get("seed"), "sampled": len(zoo)}
    development = [s for s in strangers if s.development]
    shipped = learning.make(runs, development, facts=facts)
    shipped.save(options.out)
    shapes = Shapes.fit(cases_of_runs(runs, learning.last_rows(runs)), shipped.properties)
    held_out = [s for s in strangers if not s.development]
    populations = {"development": development, "held_out": held_out, "all": strangers}
    cases = {name: cases_of_strangers(files) for name, files in populations.items()}
    cases["one_per_setup"] = list({case.setup: case for case in reversed(cases["all"])}.values())
    answers = {name: replies(shipped, shapes, of) for name, of in cases.items()}
    print(json.dumps({n: {p: scores(rows) for p, rows in of.items() if rows} for n, of in answers.items()}, indent=2))


if __name__ == "__main__":
    main()
