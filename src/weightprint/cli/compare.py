"""The command `compare`."""

from __future__ import annotations

from pathlib import Path

from weightprint.cli.terminal import Json, print_document


def compare(report_a: Path, report_b: Path, out: Path, /, *, json: Json = False) -> None:
    """Put the reports of two studies side by side: what both found, and where they differ, as one page.

    Example: weightprint compare study-a study-b both.html

    Parameters
    ----------
    report_a
        Folder that `weightprint study` wrote.
    report_b
        Another one.
    out
        The HTML file to write.
    """
    from weightprint.report.side_by_side import compare_reports

    document = compare_reports(report_a, report_b, out)
    text = f"{document['answer']}\n\n{document['page']}: {len(document['pairs'])} results in both reports"
    print_document(document, text, as_json=json)
