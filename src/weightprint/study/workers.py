"""Work side by side in processes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def side_by_side(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """What `work` makes of each of the arguments, as they are done; here and in order with one worker or one thing to
    do. work: can be pickled"""
    if workers <= 1 or len(arguments) <= 1:
        for of_one in arguments:
            yield work(*of_one)
        return
    from joblib import Parallel, delayed

    # A worker whose memory has grown ends between two jobs, and another takes its place.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
    yield from parallel(delayed(work)(*of_one) for of_one in arguments)
