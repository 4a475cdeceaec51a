"""A zoo as a Hugging Face dataset: its card, and how it is pushed and pulled."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from weightprint.errors import ZooError
from weightprint.files import StrPath
from weightprint.formats.extras import with_extra
from weightprint.zoo import ZOO_FILE, Zoo
from weightprint.zoo.index import INDEX_FILE, SCHEMA
from weightprint.zoo.zoo import TEST_FRACTION

_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
_BOUNDS = (1_000, 10_000, 100_000, 1_000_000)
_KEPT = ["README.md", "runs.parquet", ZOO_FILE, "runs/*/*.safetensors"]


def card(zoo: Zoo, *, license: str | None = None) -> str:
    """The dataset card: what the Hub reads in its head, then what a person wants to know."""
    facts = zoo.info()
    version = _plain(zoo.made_with.get("weightprint", "of an unknown version"))
    size = _SIZES[bisect_right(_BOUNDS, len(zoo))]
    lengths = " to ".join(dict.fromkeys(f"{n:,}" for n in facts["weights"])) or "no"
    rows = [f"| `{name}` | {_values(zoo, name)} |" for name in zoo.index.columns if name not in SCHEMA]
    listing = "\n".join(rows)
    counts = ", ".join(f"{count} {name}" for name, count in facts["status"].items())
    recipe = [f"{name} {value}" for name, value in zoo.recipe.items() if isinstance(value, (int, float, str))]
    shared = f"license: {_plain(license)}\n" if license else ""
    return f"""---
pretty_name: {_plain(facts["space"] or "model zoo")}
{shared}tags:
- model-zoo
- weight-space-learning
- weightprint
size_categories:
- {size}
configs:
- config_name: runs
  data_files: runs.parquet
---
# A zoo of {len(zoo)} trained networks

Each run is one training of one network: {facts["snapshots"]:,} weight vectors in all, {lengths} weights each
({counts}). `runs.parquet` has a row per run; its column `file` names the run's safetensors file, which holds `weights`
(float32 [snapshots, weights]), `curve` (float64, a row per evaluation) and, as JSON in the metadata key `weightprint`,
properties, measurements and the layout of the vector.

Snapshots of one run are alike: keep them on one side of a split. Where `split_value` in `runs.parquet` is below
{TEST_FRACTION}, weightprint tests; keep to that split and results compare.

    weightprint pull OWNER/NAME zoo

makes a zoo of it. Without weightprint:

    import json, safetensors
    with safetensors.safe_open("runs/0000/0000000.safetensors", framework="np") as file:
        weights, about = file.get_tensor("weights"), json.loads(file.metadata()["weightprint"])

| property | values |
|---|---|
{listing}

Recipe: {", ".join([*map(_plain, recipe), ""])}SHA-256 `{zoo.identity}`. Made with weightprint {version}.
"""


def push(folder: StrPath, name: str, *, private: bool = False, endpoint: str | None = None) -> dict[str, str]:
    """Upload a folder that `export_hub` made as the dataset `name` ("owner/name"); made where there is none.

    private:  whether a new one is seen by its owner alone
    endpoint: of another hub than huggingface.co

    Who may write is huggingface_hub's matter (`hf auth login`, or HF_TOKEN). Returns {"url"}. Raises ZooError for a
    folder that is no such export, and with the hub's own words where it refuses.
    """
    folder = Path(folder)
    if not ((folder / "README.md").exists() and (folder / ZOO_FILE).exists()):
        raise ZooError(f"{folder} is no dataset folder", hint=f"weightprint export hub ZOO {folder}")
    hub = with_extra("huggingface_hub", "hub", "this")
    api = hub.HfApi(endpoint=endpoint)
    with _told(hub.errors, name):
        url = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        message = f"{len(Zoo(folder))} runs"
        api.upload_folder(
            folder_path=folder, repo_id=name, repo_type="dataset", allow_patterns=_KEPT, commit_message=message
        )
    return {"url": str(url)}


def pull(name: str, dest: StrPath, *, revision: str | None = None, endpoint: str | None = None) -> Zoo:
    """Download the dataset `name` into a folder and check every run. What is there already is not fetched again.

    revision: branch, tag or commit; the main branch where None

    Raises ZooError where the dataset is not there or is no zoo, CorruptFile for a run that is not as written.
    """
    dest = Path(dest)
    hub = with_extra("huggingface_hub", "hub", "this")
    with _told(hub.errors, name):
        hub.snapshot_download(
            name, repo_type="dataset", revision=revision, local_dir=dest, allow_patterns=_KEPT, endpoint=endpoint
        )
    (dest / INDEX_FILE).unlink(missing_ok=True)
    zoo = Zoo(dest)
    problems = zoo.verify()
    if problems:
        raise ZooError(
            f"{name}: {len(problems)} of {len(zoo)} runs are not as written: {problems[0]['problem']}",
            hint="delete those files and pull again; if it stays so, the dataset itself is damaged",
        )
    return zoo


@contextmanager
def _told(errors: Any, name: str) -> Iterator[None]:
    """Errors of the hub and of the way there as ZooErrors."""
    try:
        yield
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.LocalEntryNotFoundError, OSError) as error:
        said = " ".join(str(error).split())
        raise ZooError(f"the hub did not take or give {name}: {said:.300}", hint="hf auth login") from error


def _values(zoo: Zoo, name: str) -> str:
    column = zoo.index[name].drop_nulls()
    values = column.unique().sort().to_list()
    if len(values) <= 8:
        return ", ".join(_plain(value) for value in values)
    return f"{_plain(values[0])} to {_plain(values[-1])}, {len(values)} values"


def _plain(value: Any) -> str:
    """As text that means nothing to Markdown or YAML."""
    return "".join(c if c.isalnum() or c in " .,_-+/" else " " for c in str(value))[:60]
