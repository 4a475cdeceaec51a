"""The pages of `weightprint inspect`: what it says of one file or several, and of two files compared."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weightprint.inspection import words
from weightprint.inspection.notable import headline, notable
from weightprint.inspection.relation import Comparison
from weightprint.inspection.verdicts import CANNOT_SAY, SHIPPED, Inspection, Verdict
from weightprint.inspection.words import in_words, printable
from weightprint.inspection.world import Outlyingness
from weightprint.report.drawing import DASHED, INK, PALETTE, Picture, draw, look, row_axis, short, title_of
from weightprint.report.pages import render_page, write_page
from weightprint.report.scores import enumeration, in_order
from weightprint.report.tables import UNKNOWN, Table, whole_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {
    "conv first": "first convolution",
    "conv second": "second convolution",
    "conv last": "last convolution",
    "hidden first": "first hidden layer",
    "hidden last": "last hidden layer",
    "output": "output layer",
    "norm": "normalisations",
    "mean": "all layers, on average",
    "least": "all layers, the least of each feature",
    "largest": "all layers, the most of each feature",
}
"""What plays a role in a network (`weightprint.features.anatomy.roles`), in words."""

SIZE = (3.4, 2.3)
MOST_DRAWN = 40
"""Layers in the figure; all are in the table."""

COLUMNS = ("layer", "shape", "correlation", "distance", "correlation in order", "by chance", "units moved")

MEANINGS = {
    "same_architecture": "Same architecture",
    "same_run": "One run",
    "fine_tuned": "One fine-tuned from the other",
}

FAINTEST = 0.05
"""A filter whose largest weight is a smaller share of the layer's is not brought to full contrast."""


def write_verdicts(path: str | os.PathLike[str], entries: Sequence[Inspection | Mapping[str, Any]]) -> Path:
    """Write one HTML file that needs nothing else: no network, no fonts, no scripts. Returns its path.

    entries: inspections with details, or {"file", "error"} for a file that could not be read; several make a table
             and a part for each

    Raises ZooError when the folder for the file does not exist.
    """
    return write_page(path, render(entries))


def render(entries: Sequence[Inspection | Mapping[str, Any]]) -> str:
    """The HTML of the page; the same entries give the same text."""
    read = [entry for entry in entries if isinstance(entry, Inspection)]
    problems = [entry for entry in entries if not isinstance(entry, Inspection)]
    names = words.short_names([entry.file if isinstance(entry, Inspection) else entry["file"] for entry in entries])
    parts = [
        _part(entry, name, number)
        for number, (entry, name) in enumerate(zip(entries, names, strict=True))
        if isinstance(entry, Inspection)
    ]
    one = len(entries) == len(parts) == 1
    if one:
        title, answer, facts = names[0], parts[0]["answer"], parts[0]["facts"]
    else:
        answered = sum(any(v.verdict != CANNOT_SAY for v in entry.properties.values()) for entry in read)
        unread = f" {len(problems)} could not be read." if problems else ""
        answer = f"Of {len(read)} networks, something is said of how {answered} were trained.{unread}"
        title, facts = f"{len(entries)} checkpoint files", []
    return render_page(
        "verdict.html",
        title=title,
        answer=answer,
        facts=facts,
        one=one,
        parts=parts,
        problems=[problem["error"] for problem in problems],
        overview=_overview(entries, names),
        links=[f"file-{i}" if isinstance(entry, Inspection) else "" for i, entry in enumerate(entries)],
    )


def _overview(entries: Sequence[Inspection | Mapping[str, Any]], names: Sequence[str]) -> Table:
    """A row per file: what is said of each property."""
    properties = in_order(name for entry in entries if isinstance(entry, Inspection) for name in entry.properties)
    rows = []
    for entry, name in zip(entries, names, strict=True):
        if isinstance(entry, Inspection):
            answers = [_in_short(entry.properties.get(key)) for key in properties]
            rows.append([name, f"{entry.architecture['parameters']:,}", *answers])
        else:
            rows.append([name, "not read", *[UNKNOWN] * len(properties)])
    return Table(["file", "parameters", *map(in_words, properties)], rows)


def _in_short(verdict: Verdict | None) -> str:
    if verdict is None:
        return UNKNOWN
    p = verdict.probabilities.get(verdict.verdict)
    return str(verdict.verdict) + ("" if p is None else f" {whole_percent(p)}")


def _part(inspection: Inspection, name: str, number: int) -> dict[str, Any]:
    """What the page shows of one file."""
    facts, properties = inspection.facts, inspection.properties
    common = words.common_reason(properties)
    details = inspection.details or {"layers": {}, "left_out": 0, "filters": None}
    layers = {printable(layer): known for layer, known in details["layers"].items()}
    spectra = {layer: known for layer, known in layers.items() if known["spectrum"] is not None}
    return {
        "id": f"file-{number}",
        "name": name,
        "answer": _answer(inspection, common),
        "facts": [words.stored_as(inspection), words.size_of(inspection)],
        "common": common,
        "verdicts": [_verdict(key, verdict, common) for key, verdict in properties.items()],
        "world": next((_world(v.outlyingness) for v in properties.values() if v.outlyingness is not None), None),
        "sentences": [sentence for sentence in (headline(facts), *notable(facts)) if sentence],
        "declared": [f"{in_words(key)} {value}" for key, value in facts["declared_properties"].items()],
        "disagreements": inspection.disagreements,
        "layers": _layers(inspection),
        "filters": _filter_images(details["filters"]) if details["filters"] else [],
        "filters_of": details["filters"],
        "histograms": [
            _histogram(f"f{number}-weights-{i}", layer, known["histogram"])
            for i, (layer, known) in enumerate(layers.items())
        ],
        "spectra": [
            _spectrum_figure(f"f{number}-spectrum-{i}", layer, known["spectrum"])
            for i, (layer, known) in enumerate(spectra.items())
        ],
        "spectrum_table": Table.of([_spectrum(layer, known) for layer, known in spectra.items()]),
        "left_out": details["left_out"],
    }


def _answer(inspection: Inspection, common: str) -> str:
    """What is said of the network, in a sentence or two."""
    if common:
        return f"Nothing can be said of how it was trained: {common}."
    said = [f"{in_words(k)} {v.verdict}" for k, v in inspection.properties.items() if v.verdict != CANNOT_SAY]
    silent = [in_words(k) for k, v in inspection.properties.items() if v.verdict == CANNOT_SAY]
    if not said:
        return "Nothing can be said of how it was trained."
    return f"By its weights: {enumeration(said)}." + (f" Cannot say: {enumeration(silent)}." if silent else "")


def _verdict(name: str, verdict: Verdict, common: str) -> dict[str, Any]:
    """The card of one property. Where one reason holds for all, it is said once, and nothing rests on anything."""
    silent = verdict.verdict == CANNOT_SAY
    values = sorted(verdict.probabilities.items(), key=lambda pair: -pair[1])
    evidence = () if common else verdict.evidence
    longest = max((one.share for one in evidence), default=1.0)
    return {
        "name": in_words(name),
        "answer": str(verdict.verdict),
        "silent": silent,
        "reason": verdict.reason if silent and verdict.reason != common else "",
        "bars": []
        if common and words.flat(verdict)
        else [(str(v), p, not common and v in verdict.set) for v, p in values],
        "evidence": [(one, one.share / longest) for one in evidence],
        "likeliest": str(values[0][0]) if values else "",
        "judged_on": "" if common else verdict.judged_on,
        "by": "" if verdict.by == SHIPPED else verdict.by,
    }


def _world(lies: Outlyingness) -> dict[str, Any]:
    head, sentences = words.standing(lies)
    order = [role for role in lies.roles if role not in PARTS] + list(PARTS)
    rows = [(PARTS.get(role, role), *lies.roles[role]) for role in order if role in lies.roles]
    return {"head": head, "sentences": sentences, "rows": rows}


def _layers(inspection: Inspection) -> Table:
    start = inspection.facts["initialization"]
    dead, norms = inspection.facts["dead_units"], inspection.facts["norms"]
    rows = []
    for layer in inspection.architecture["layers"]:
        name = layer["name"]
        scheme = start["layers"].get(name, {}).get("scheme")
        notes = [f"as drawn by {scheme}"] if name in start["untrained"] and scheme else []
        notes += [f"{sum(dead[name].values())} dead units"] if name in dead else []
        notes += ["norm untouched"] if norms.get(name, {}).get("untouched") else []
        shape = " × ".join(f"{side:,}" for side in layer["shape"]) or "1"
        described = (name, words.kind_of(layer), shape, f"{layer['parameters']:,}")
        rows.append((*described, ", ".join(layer["reads"]), "; ".join(notes)))
    return Table(("layer", "kind", "shape", "parameters", "reads from", "remarks"), rows)


def _spectrum(layer: str, known: Mapping[str, Any]) -> dict[str, str]:
    spectrum, law = known["spectrum"], known["spectrum"]["power_law"]
    longer, shorter = spectrum["sides"]
    alpha = distance = tail = chance = UNKNOWN
    if law is not None:
        alpha = f"{law['alpha']:.2f} ± {law['error']:.2f}" + ("" if law["reliable"] else " *")
        distance, tail = f"{law['distance']:.3f}", f"{law['tail']:,}"
        chance = UNKNOWN if law["chance"] is None else f"{law['chance']:.2f}"
    return {
        "layer": layer,
        "matrix": f"{longer:,} × {shorter:,}" + (" of it" if known["sampled"] else ""),
        "eigenvalues beyond chance": str(spectrum["beyond"]),
        "stable rank": f"{spectrum['stable_rank']:.1f}",
        "α of the power law": alpha,
        "distance (KS)": distance,
        "eigenvalues fitted": tail,
        "α that chance gives": chance,
    }


def _histogram(name: str, layer: str, histogram: Mapping[str, Any]) -> Picture:
    """A layer's weights, with the distribution of an initialisation beside them (`weightprint.inspection.details`)."""
    edges, shares, beside = np.array(histogram["edges"]), np.array(histogram["share"]), histogram["draw"]

    def paint(axes: Axes) -> None:
        axes.stairs(100 * shares, edges, fill=True, color=PALETTE[0], alpha=0.55, label="weights")
        if beside is not None:
            text = f"{beside['scheme']}{': fits' if beside['fits'] else ', for comparison'}"
            style = "-" if beside["fits"] else DASHED
            finer = np.linspace(edges[0], edges[-1], len(beside["share"]) + 1)
            drawn = 100 * np.array(beside["share"])
            axes.stairs(drawn, finer, color=PALETTE[1], linestyle=style, linewidth=1.4, label=text)
        top = max(100 * shares.max(), 1e-9)
        axes.set_ylim(0, 1.08 * max(top, min(100 * max(beside["share"]), 2 * top) if beside else 0))
        axes.locator_params(nbins=5)
        _finish(axes, layer, edges, "% of weights")

    outside = f"; {histogram['outside']:.1%} lie beyond" if histogram["outside"] >= 0.0005 else ""
    law = "" if beside is None else f", beside {beside['scheme']}, which {'fits' if beside['fits'] else 'does not fit'}"
    alt = f"Weights of layer {layer} between {edges[0]:.3g} and {edges[-1]:.3g}{outside}{law}."
    return draw(name, SIZE, paint, alt=alt)


def _spectrum_figure(name: str, layer: str, spectrum: Mapping[str, Any]) -> Picture:
    """A layer's eigenvalues beside those of chance, and the power law fitted to the largest."""
    drawn, law = spectrum["histogram"], spectrum["power_law"]
    edges, counts = np.array(drawn["edges"]), np.array(drawn["count"])

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

        axes.stairs(counts, edges, fill=True, color=PALETTE[0], alpha=0.55, label="eigenvalues")
        axes.stairs(drawn["chance"], edges, color=PALETTE[1], linewidth=1.3, label="chance")
        axes.axvline(spectrum["edges"][1], color=INK, linewidth=1, linestyle=DASHED, label="edge of chance")
        top = max(counts.max(), 1) * 1.15
        if law is not None:
            tail = np.array(drawn["power_law"])
            kept = edges[:-1] >= law["x_min"]
            middles = np.sqrt(edges[1:] * edges[:-1])
            axes.plot(
                middles[kept], tail[kept], color=PALETTE[2], linewidth=1.5, label=f"power law, α {law['alpha']:.1f}"
            )
        axes.set_ylim(0, max(top, min(max(drawn["chance"]) * 1.1, 1.6 * top)))
        axes.set_xscale("log")
        decades = np.log10(edges[-1] / edges[0])
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 2 else (1, 3) if decades > 1 else (1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.set_xlabel("size")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        _finish(axes, layer, edges, "eigenvalues")

    longer, shorter = spectrum["sides"]
    fitted = "" if law is None else f" A power law with α {law['alpha']:.2f} is fitted to the {law['tail']} largest."
    alt = (
        f"Spectrum of layer {layer}: {shorter} eigenvalues of a matrix of {longer} × {shorter}, {spectrum['beyond']} "
        f"beyond what chance gives; the edge of chance is {spectrum['edges'][1]:.3g}.{fitted}"
    )
    return draw(name, (SIZE[0], SIZE[1] + 0.35), paint, alt=alt)


def _finish(axes: Axes, layer: str, edges: np.ndarray, counted: str) -> None:
    axes.set_xlim(edges[0], edges[-1])
    title_of(axes, layer)
    axes.set_ylabel(counted)
    axes.grid(axis="y")
    axes.figure.legend(loc="outside lower center", ncols=2)


def _filter_images(filters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The first layer's filters as images: `src` (a PNG as an address), `width`, `height` in weights.

    Weights of three channels are red, green and blue; other channels stand side by side in grey. Middle grey is 0.
    """
    from matplotlib.image import imsave

    values = np.array(filters["values"])  # [o, c, h, w]
    largest = np.abs(values).max(axis=(1, 2, 3))
    scale = np.maximum(largest, FAINTEST * max(largest.max(), 1e-30))
    images = 0.5 + 0.5 * values / scale[:, None, None, None]
    found = []
    for image in images:
        grey = np.repeat(np.hstack(list(image))[..., None], 3, axis=2)
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else grey
        buffer = io.BytesIO()
        imsave(buffer, (255 * pixels).round().astype(np.uint8), format="png")
        src = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        found.append({"src": src, "width": pixels.shape[1], "height": pixels.shape[0]})
    return found


def write_comparison(path: str | os.PathLike[str], compared: Comparison) -> Path:
    """Write one HTML file that needs nothing else. Returns its path.

    Raises ZooError when the folder for the file does not exist.
    """
    return write_page(path, _render_comparison(compared))


def _render_comparison(compared: Comparison) -> str:
    """The HTML of the page; the same comparison gives the same text."""
    names = words.short_names(compared.files)
    rows = [
        [
            words.pair_name(layer.names),
            " × ".join(f"{side:,}" for side in layer.shape) + (", a sample" if layer.sampled else ""),
            *words.pair_cells(layer),
        ]
        for layer in compared.layers
    ]
    return render_page(
        "comparison.html",
        title=f"{names[0]} and {names[1]}",
        answer=compared.sentence,
        answers=[(MEANINGS.get(key, in_words(key)), answer) for key, answer in compared.answers.items()],
        evidence=compared.evidence,
        layers=[picture] if (picture := _comparison_figure(compared)) else [],
        table_of_layers=Table(COLUMNS, rows),
        note=words.PAIR_NOTE,
        left_out=[(name, layers) for name, layers in zip(names, compared.left_out, strict=True) if layers],
    )


def _comparison_figure(compared: Comparison) -> Picture | None:
    """Correlation by layer, in place and with units in order, beside chance."""
    drawn = [(layer, layer.pairing) for layer in compared.layers if layer.pairing is not None][:MOST_DRAWN]
    if not drawn:
        return None
    names = [words.pair_name(layer.names) for layer, _ in drawn]
    rows = np.arange(len(names))
    in_place, ordered, chance = np.array(
        [(1.0 if layer.equal else one.correlation, one.matched_correlation, one.chance) for layer, one in drawn], float
    ).T  # NaN for what is not known

    def paint(axes: Axes) -> None:
        series = (("in their places", in_place, -0.14), ("with units in order", ordered, 0.14))
        for i, (label, values, offset) in enumerate(series):
            marks, known = look(i), np.isfinite(values)
            axes.hlines(rows[known] + offset, 0, values[known], color=marks["color"], linewidth=1.6)
            axes.plot(values[known], rows[known] + offset, **marks, linestyle="", markersize=5, label=label)
        known = np.isfinite(chance)
        if known.any():
            label, ends = "by chance, units in order", (rows[known] - 0.05, rows[known] + 0.33)
            axes.vlines(chance[known], *ends, color=INK, linewidth=1.4, alpha=0.75, label=label)
        axes.axvline(0, color=INK, linewidth=0.7)
        row_axis(axes, [short(printable(name), 26) for name in names])
        least = np.nanmin([-0.1, *in_place, *ordered])
        axes.set(xlim=(least - 0.03, 1.05), ylim=(len(names) - 0.5, -0.5), xlabel="correlation")
        axes.figure.legend(loc="outside lower center", ncols=2)

    told = "; ".join(
        f"{name} {', '.join(words.pair_cells(one)[::2])}" for name, (one, _) in zip(names, drawn, strict=True)
    )
    alt = f"Correlation of {len(names)} layers' weights, in place, in order, and units moved: {printable(told)}."
    return draw("layers", (4.3, 1.1 + 0.34 * len(names)), paint, alt=alt, wide=True)
