"""The command `sample`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

from cyclopts import Parameter

from weightprint.cli.terminal import Bar, Json, ZooFolder, print_document
from weightprint.sampling.options import EngineOptions, PlanOptions

RETRY_HINT = "to try failed runs again: the same sample command with --retry-failed; log.jsonl says what went wrong"


def sample(
    zoo: ZooFolder,
    /,
    *,
    space: str,
    runs: int,
    plan: Annotated[PlanOptions, Parameter(name="*")] = PlanOptions(),  # noqa: B008 - frozen
    engine: Annotated[EngineOptions, Parameter(name="*", negative=())] = EngineOptions(),  # noqa: B008
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Sample a weight space: train many small networks under randomly drawn set-ups.

    The same command goes on where an interrupted one stopped; a larger --runs extends the zoo.

    Example: weightprint sample zoo --space fixed --runs 300 --data images --max-epochs 19

    Parameters
    ----------
    space
        main, fixed, wild, everyday, demo, or the path of a TOML file.
    runs
        How many runs the zoo has in the end.
    dry_run
        Only say how long it would take and how large it would be.
    """
    from weightprint.sampling.sample import estimate, run_sampling
    from weightprint.sampling.sample import plan as plan_sampling

    sampling = plan_sampling(zoo, space, runs, **vars(plan))
    if dry_run:
        with redirect_stdout(sys.stderr):  # Ray reports deaths on standard output
            document = estimate(sampling, **vars(engine))
        bound = "at most " if document["upper_bound"] else "about "
        text = (
            f"{document['missing']} of {document['runs']} runs to sample: {bound}{document['hours']:.2f} hours "
            f"on {document['workers']} workers, {document['gigabytes']:.2f} GB"
        )
    else:
        with redirect_stdout(sys.stderr), Bar("sampling", unit="runs") as bar:
            document = run_sampling(sampling, **vars(engine), progress=bar.update).to_json()
        text = (
            f"{document['zoo']}: {document['runs']} runs; of those asked for {document['completed']} complete, "
            f"{document['diverged']} diverged, {document['failed']} failed; "
            f"{document['sampled']} sampled now in {document['seconds']:.0f} s"
        )
        if document["failed"]:
            text += f"\n{RETRY_HINT}"
    print_document(document, text, as_json=json)
