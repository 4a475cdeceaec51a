"""The command `verify`."""

from __future__ import annotations

from weightprint.cli.terminal import Json, ZooFolder, print_document


def verify(zoo: ZooFolder, /, *, json: Json = False) -> int:
    """Read every run of a zoo and check it against its checksum and the recipe. Exit code 1 when something is wrong.

    Example: weightprint verify zoo

    """
    from weightprint.zoo import Zoo

    opened = Zoo(zoo, thorough=True)
    problems = opened.verify()
    document = {"ok": not problems, "runs": len(opened), "problems": problems}
    found = [f"{'zoo' if p['run'] is None else 'run ' + str(p['run'])}: {p['problem']}" for p in problems]
    text = "\n".join([f"{zoo}: {len(opened)} runs, {f'{len(found)} problems' if found else 'all as written'}", *found])
    print_document(document, text, as_json=json)
    return 1 if problems else 0
