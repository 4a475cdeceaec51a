"""The commands `push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from weightprint.cli.terminal import Json, print_document


def push(
    folder: Path,
    name: str,
    /,
    *,
    private: Annotated[bool, Parameter(negative=())] = False,
    endpoint: str | None = None,
    json: Json = False,
) -> None:
    """Upload a folder that `export hub` made as a Hugging Face dataset.

    Example: weightprint push shared owner/name

    Parameters
    ----------
    folder
        What `weightprint export hub` wrote.
    name
        Of the dataset, owner/name; made where there is none.
    private
        A new dataset is seen by its owner alone.
    endpoint
        Of another hub than huggingface.co.
    """
    from weightprint.formats.hub import push as push_

    document = push_(folder, name, private=private, endpoint=endpoint)
    print_document(document, document["url"], as_json=json)


def pull(
    name: str,
    zoo: Path,
    /,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    json: Json = False,
) -> None:
    """Download a zoo that is a Hugging Face dataset, and verify it.

    Example: weightprint pull owner/name zoo

    Parameters
    ----------
    name
        Of the dataset, owner/name.
    zoo
        Folder to write. What is there already is not fetched again.
    revision
        Branch, tag or commit.
    endpoint
        Of another hub than huggingface.co.
    """
    from weightprint.formats.hub import pull as pull_

    pulled = pull_(name, zoo, revision=revision, endpoint=endpoint)
    document = {"zoo": str(zoo), "runs": len(pulled)}
    print_document(document, f"{zoo}: {len(pulled)} runs, all as written", as_json=json)
