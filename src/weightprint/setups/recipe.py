"""Recipe: all that fixes a zoo's content but the number of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weightprint.errors import RecipeMismatch, SetupError, ZooError
from weightprint.files import canonical_json, sha256_hex
from weightprint.setups.everyday import EverydaySetup, EverydaySpace
from weightprint.setups.setup import Setup
from weightprint.setups.space import AnySpace, Space

PROCEDURE = 2
"""Raised when the same recipe would train differently for another reason than library versions. 2: gamma starts with
noise, shear has two angles, the order of sums and of dropout's random numbers is that of the compiled kernels."""

EARLIEST_STOP = 20
"""Evaluations that must exist before a run may stop early (paper section 3.2: 20 snapshots are kept)."""

_ARCHITECTURE = ("filter_size", "depth_conv", "depth_fc", "width_conv", "width_fc", "batch_norm", "outputs")
SHAPE_FIELDS = ("batch_size", *_ARCHITECTURE)
"""What the members of a cohort have in common: these fix which tensor operations a training consists of."""

WINDOW = 16
"""Cohorts are formed among this many times their width of consecutive runs: more fills them better, less leaves fewer
members untrained for when only some runs are asked for."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a zoo is sampled by. Equal recipes give equal runs.

    space:      the distribution over set-ups
    seed:       of every random choice
    train_size: images per run before the 90/10 split into training and validation; None for all of each data set
    test_size:  test images per run
    max_epochs: at which a run ends if no rule ended it before; None in the space everyday, whose set-ups say how long
                they are trained
    snapshots:  T, kept of each run
    datasets:   name of images (`images.part_name`) → SHA-256 of them and their labels
    cohort:     runs trained as one, at most; see `cohorts_of`
    window:     consecutive runs among which cohorts are formed
    procedure:  version of the training procedure; recipes of another than PROCEDURE are read but not sampled
    """

    space: AnySpace
    seed: int
    train_size: int | None
    test_size: int
    max_epochs: int | None
    snapshots: int
    datasets: Mapping[str, str]
    cohort: int = 1
    window: int = 1
    procedure: int = PROCEDURE

    def __post_init__(self) -> None:
        if isinstance(self.space, EverydaySpace):
            self._check_everyday(self.space)
        elif self.max_epochs is None or self.snapshots < 1 or self.max_epochs < 1:
            problem = f"snapshots and max-epochs must be at least 1, not {self.snapshots} and {self.max_epochs}"
            raise SetupError(problem, hint="the defaults are 20 and 1000")
        elif self.snapshots > self.max_epochs + 1:
            raise SetupError(
                f"{self.snapshots} snapshots need at least {self.snapshots - 1} epochs, not {self.max_epochs}",
                hint=f"--max-epochs {self.snapshots - 1} or more, or --snapshots {self.max_epochs + 1} or fewer",
            )
        if not 1 <= self.cohort <= self.window:
            problem = f"a cohort must have from 1 run to as many as its window, {self.window}, not {self.cohort}"
            raise SetupError(problem, hint="1 trains runs one by one")

    def _check_everyday(self, space: EverydaySpace) -> None:
        if self.max_epochs is not None:
            raise SetupError(
                f"max-epochs is not for the space everyday, but was {self.max_epochs}: its set-ups are drawn with a "
                "number of steps",
                hint="leave --max-epochs out",
            )
        if not 1 <= self.snapshots <= space.least_steps + 1:
            problem = f"snapshots must be from 1 to {space.least_steps + 1}, not {self.snapshots}"
            raise SetupError(problem, hint="the default is 8")
        if self.cohort != 1:
            problem = f"runs of the space everyday are trained one by one, not in cohorts of {self.cohort}"
            raise SetupError(problem, hint="leave --cohort out")

    def draw(self, run: int) -> Setup | EverydaySetup:
        """The set-up of a run."""
        return self.space.draw(self.seed, run)

    @property
    def most_epochs(self) -> int:
        """At which a run ends if no rule ended it before, in a space whose runs are counted in epochs."""
        assert self.max_epochs is not None  # for the type checker: see `_check_everyday`
        return self.max_epochs

    @property
    def fixed_length(self) -> bool:
        """Whether early stopping cannot make the runs' lengths differ."""
        return self.max_epochs is None or self.max_epochs < max(EARLIEST_STOP, self.snapshots)

    def to_json(self) -> dict[str, Any]:
        cohorts = {"cohort": self.cohort, "window": self.window} if self.cohort > 1 else {}
        return {
            "procedure": self.procedure,
            "space": self.space.to_json(),
            "seed": self.seed,
            "train_size": self.train_size,
            "test_size": self.test_size,
            "max_epochs": self.max_epochs,
            "snapshots": self.snapshots,
            "datasets": dict(self.datasets),
            **cohorts,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, name: str = "space") -> Recipe:
        """The inverse of `to_json`, for recipes of any procedure. Raises ZooError for another form."""
        try:
            fields = dict(value)
            procedure = fields["procedure"]
            everyday = fields["space"].get("family") == EverydaySpace.name
            fields["space"] = EverydaySpace.from_json(fields["space"]) if everyday else Space(name, fields["space"])
            if type(procedure) is not int or procedure < 1:
                raise TypeError(f"procedure must be a whole number from 1, not {procedure!r}")
            return cls(**fields)
        except (TypeError, KeyError, AttributeError) as error:
            raise ZooError(f"a recipe of an unknown form: {error}") from error


def cohorts_of(recipe: Recipe, runs: Iterable[int]) -> list[tuple[int, ...]]:
    """The cohorts that these runs belong to, whole, in the order of their first members.

    In every window of consecutive run numbers, runs whose set-ups agree in SHAPE_FIELDS form cohorts in their order.
    What a run's cohort is depends on the recipe and the run's number alone.
    """
    wanted = set(runs)
    if recipe.cohort == 1:
        return [(run,) for run in sorted(wanted)]
    windows = {run // recipe.window for run in wanted}
    cohorts = [cohort for window in windows for cohort in _cohorts_in(recipe, window)]
    return sorted(cohort for cohort in cohorts if not wanted.isdisjoint(cohort))


def _cohorts_in(recipe: Recipe, window: int) -> Iterator[tuple[int, ...]]:
    alike: dict[tuple[Any, ...], list[int]] = {}
    for run in range(window * recipe.window, (window + 1) * recipe.window):
        setup = recipe.draw(run)
        alike.setdefault(tuple(getattr(setup, field) for field in SHAPE_FIELDS), []).append(run)
    for runs in alike.values():
        for start in range(0, len(runs), recipe.cohort):
            yield tuple(runs[start : start + recipe.cohort])


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """Identity of a recipe: SHA-256 of its canonical JSON."""
    return sha256_hex(canonical_json(recipe).encode())


def refuse_other_recipe(there: Mapping[str, Any], here: Mapping[str, Any], *, where: str) -> None:
    """Raise RecipeMismatch that names every difference; do nothing when there is none."""
    procedures = there.get("procedure"), here.get("procedure")
    if procedures[0] != procedures[1]:
        raise RecipeMismatch(
            f"{where} was made by training procedure {procedures[0]}, not {procedures[1]}",
            hint="it can be read like any other, but only the weightprint that its zoo.json names under made_with can "
            "extend it; sample into a new folder",
        )
    differences = list(_differences(there, here, ""))
    if differences:
        raise RecipeMismatch(
            f"{where} was made by another recipe: {'; '.join(differences)}",
            hint="only --runs, --range, --workers and --engine may change; use a new folder for another recipe",
        )


def _differences(there: Any, here: Any, path: str):
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted({*there, *here}):
            yield from _differences(there.get(key), here.get(key), f"{path}.{key}" if path else str(key))
    elif canonical_json(there) != canonical_json(here):
        yield f"{path} is {canonical_json(there)} there and {canonical_json(here)} here"
