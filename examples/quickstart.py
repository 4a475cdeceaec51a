"""Sample a small weight space, name the optimizer from the weights, and run one of the networks.

python examples/quickstart.py [FOLDER] [RUNS]
"""

import sys
from pathlib import Path

import weightprint as wp


def main(folder: str = "quickstart", runs: int = 60) -> None:
    zoo = wp.sample(Path(folder) / "zoo", space="demo", runs=runs, train_size=300, test_size=200, max_epochs=19)
    train, test = zoo.split()  # by run: no run is on both sides

    meta = wp.Trees(target="optimizer").fit(train)
    result = meta.evaluate(test)
    low, high = result["per_run"]["interval"]
    print(f"optimizer named for {result['per_run']['accuracy']:.0%} of {result['n_runs']} test runs")
    print(f"95 % interval {low:.0%} to {high:.0%}; majority {result['majority']:.0%}")
    meta.save(Path(folder) / "optimizer.meta")

    network = zoo[3].module(20)  # the last snapshot of run 3 as a torch module in eval mode
    weights = sum(p.numel() for p in network.parameters())
    print(f"run 3 was trained by {zoo[3].setup.optimizer}; its network has {weights:,} parameters")


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
