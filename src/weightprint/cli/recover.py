"""The command `recover`."""

from __future__ import annotations

from pathlib import Path

from weightprint.cli.terminal import Json, print_document


def recover(zoo: Path, /, *, json: Json = False) -> None:
    """Make runs of a zoo's recordings whose process was killed.

    Example: weightprint recover zoo

    Parameters
    ----------
    zoo
        Folder of a zoo that `wp.Recorder` records into. Recordings that go on are left alone.
    """
    from weightprint.formats.recordings import recover as recover_
    from weightprint.zoo import Zoo

    numbers = recover_(Zoo(zoo).path)
    text = f"{zoo}: recovered {len(numbers)}" + (f": runs {', '.join(map(str, numbers))}" if numbers else "")
    print_document({"zoo": str(zoo), "recovered": numbers}, text, as_json=json)
