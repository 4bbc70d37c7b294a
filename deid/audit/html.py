"""An audit as one page that needs nothing else: no scripts, no links, small pictures of the output inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from deid.audit.notes import Bad
from deid.audit.score import RATES

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p.small, caption, td.means, li.small { color: #555d66; font-size: .87rem; }
.verdict { padding: .8rem 1rem; border-radius: 6px; font-weight: 600; }
.passed { background: #e2f3e6; border-left: 6px solid #2d8a46; }
.failed { background: #fbe5e3; border-left: 6px solid #c0392b; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #dfe3e8; vertical-align: top; }
th { font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
caption { caption-side: bottom; text-align: left; padding-top: .3rem; }
.no { color: #b03024; font-weight: 600; } .yes { color: #23713a; }
.sheet { display: flex; flex-wrap: wrap; gap: .5rem; } figure { margin: 0; width: 112px; }
figure img { width: 112px; height: 112px; display: block; border-radius: 4px; }
figcaption { font-size: .75rem; color: #555d66; line-height: 1.25; }
ul.check { list-style: none; padding-left: 0; } ul.check li::before { content: "\\2610"; margin-right: .6rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; }
  table, figure, .person { break-inside: avoid; } .verdict { border: 1px solid #888; } }
"""

_STATES = {"gender": "apparent gender", "age": "apparent age", "skin": "skin tone"}


def page(told: dict[str, Any], pictures: Mapping[int, Sequence[tuple[Bad, str]]]) -> str:
    """``told``: of :func:`deid.audit.report.build`. ``pictures``: by person, what to show of the output, with the
    pictures as addresses of their own."""
    parts = [
        _head(told),
        _criteria(told),
        _suspects(told),
        _overall(told),
        _groups(told),
        "<h2>People</h2>",
        *(_person(p, pictures.get(p["id"], ())) for p in told["people"]),
        _identity(told),
        _fidelity(told),
        _signals(told),
        _media(told),
        _networks(told),
        _remains(told),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Audit of {escape(told['output'])}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n"
        "</body>\n</html>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (), caption: str = "") -> str:
    """``rows`` hold ready HTML; ``numbers``: columns set to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kind = [' class="n"' if k in numbers else "" for k in range(len(row))]
        return "".join(f"<{tag}{kind[k]}>{cell}</{tag}>" for k, cell in enumerate(row))

    end = f"<caption>{caption}</caption>" if caption else ""
    lines = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return f"<table>{end}<thead><tr>{cells('th', heads)}</tr></thead><tbody>\n{lines}</tbody></table>"


def _head(told: dict[str, Any]) -> str:
    verdict = "Passed: every criterion is met." if told["passed"] else "Failed: at least one criterion is not met."
    sentences = "".join(f"<li>{escape(s)}</li>" for s in told["summary"])
    width, height = told["size"]
    sum_of = f" &middot; SHA-256 {escape(told['sha256'])}" if told["sha256"] else ""
    return (
        f"<h1>Audit of {escape(told['output'])}</h1>\n"
        f'<p class="small">{told["frames"]} frames, {told["seconds"]:.2f} s, {width} x {height} &middot; '
        f"deid {escape(told['version'])}{sum_of}</p>\n"
        f'<p class="verdict {"passed" if told["passed"] else "failed"}">{verdict}</p>\n<ul>{sentences}</ul>\n'
        '<p class="small">This page compares a finished clip with the recording it was made of. It shows small '
        "pictures of the finished clip only; where somebody can still be recognised they are shown in coarse squares. "
        "Time is counted from the first frame.</p>"
    )


def _wanted(entry: dict[str, Any]) -> str:
    low, high = entry["at_least"], entry["at_most"]
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"


def _met(entry: dict[str, Any]) -> str:
    words = {True: '<span class="yes">met</span>', False: '<span class="no">not met</span>', None: "not measured"}
    return words[entry["met"]]


def _number(value: float | None, digits: int = 4) -> str:
    return "&ndash;" if value is None else f"{value:.{digits}g}"


def _targets(entries: Sequence[dict[str, Any]], caption: str) -> str:
    rows = [[escape(e["name"]), _number(e["value"]), _wanted(e), _met(e), escape(e["means"])] for e in entries]
    return _table(["", "found", "wanted", "", "what it is"], rows, (1,), caption)


def _criteria(told: dict[str, Any]) -> str:
    return "<h2>What decides</h2>\n" + _targets(
        told["criteria"],
        "Shares are between 0 and 1 and count faces frame by frame. A criterion that could not be measured, because "
        "nobody was replaced for example, does not fail.",
    )


def _suspects(told: dict[str, Any]) -> str:
    if not told["suspects"]:
        return "<h2>Moments to look at</h2>\n<p>None.</p>"
    rows = [
        [
            f"{e['start']:.2f}&ndash;{e['end']:.2f} s",
            f"{e['first_frame']}&ndash;{e['last_frame']}",
            str(e["person"]) if e["person"] else "&ndash;",
            escape(e["why"]) + (f" (at {e['place'][0]}, {e['place'][1]})" if "place" in e else ""),
        ]
        for e in told["suspects"]
    ]
    return "<h2>Moments to look at</h2>\n" + _table(
        ["time", "frames", "person", "why"], rows, (), "The gravest first. Places are in pixels from the top left."
    )


def _rate(rate: dict[str, Any]) -> str:
    if rate["rate"] is None:
        return "&ndash;"
    out = f"{100 * rate['rate']:.2f} %"
    if rate["interval"] is not None:
        low, high = rate["interval"]
        out += f'<br><span class="small">{100 * low:.2f}&ndash;{100 * high:.2f}</span>'
    return out


def _overall(told: dict[str, Any]) -> str:
    rows = [
        [escape(name.replace("_", " ")), _rate(rate), str(rate["frames"]), str(rate["people"]), escape(RATES[name])]
        for name, rate in told["overall"].items()
    ]
    found = told["recognised"]
    more = (
        f"<p>Beside everybody who was filmed: of {found['faces']} replaced faces that were compared, {found['own']} "
        f"lie near the pictures of the person they replace, and {found['another']} near those of somebody else in the "
        "clip.</p>"
    )
    return "<h2>All people together</h2>\n" + _table(
        ["", "share", "faces", "people", "what is counted"], rows, (1, 2, 3),
        "Under a share: where 95 of 100 such shares lie when the people are drawn anew from those seen (2,000 "
        "draws). From 0 to 0 means that it happened to nobody here; with few people that promises little for others.",
    ) + more  # fmt: skip


def _groups(told: dict[str, Any]) -> str:
    shown = ("leak", "bare", "replaced", "obscured", "match")
    rows = []
    for kind, bands in told["groups"].items():
        for band, found in bands.items():
            rows.append(
                [_STATES[kind], escape(band), str(max(r["people"] for r in found.values())),
                 *(_rate(found[name]) for name in shown)]
            )  # fmt: skip
    return "<h2>By apparent gender, age and skin tone</h2>\n" + _table(
        ["", "", "people", *shown], rows, (2, 3, 4, 5, 6, 7),
        "Apparent, as a recogniser guesses from the recording; skin tone by the individual typology angle of the skin "
        "in the light of the scene. They are here so that a tool that fails some people more than others is found out.",
    )  # fmt: skip


def _person(person: dict[str, Any], pictures: Sequence[tuple[Bad, str]]) -> str:
    times = ", ".join(f"{a:.2f}&ndash;{b:.2f} s" for a, b in person["times"][:8])
    more = f" and {len(person['times']) - 8} more" if len(person["times"]) > 8 else ""
    states = ", ".join(f"{escape(state)} {n}" for state, n in person["states"].items())
    rates = person["rates"]
    told = (
        f"Seen {times}{more}; {person['frames']} frames, about {person['height']:.0f} pixels tall. "
        f"Appears {escape(person['apparent_gender'])}, {escape(person['apparent_age'])}, skin "
        f"{escape(person['skin'])}. "
        f"Frames: {states}. Leak {_rate(rates['leak'])}, match {_rate(rates['match'])}."
    )
    figures = "".join(
        f'<figure><img src="{uri}" alt="output face at {bad.seconds:.2f} s"><figcaption>{bad.seconds:.2f} s: '
        f"{escape(bad.why)}</figcaption></figure>"
        for bad, uri in pictures
    )
    return (
        f'<div class="person"><h3>Person {person["id"]}</h3>\n<p>{told}</p>\n'
        f'<p class="small">The worst frames of the finished clip:</p><div class="sheet">{figures}</div></div>'
    )


def _identity(told: dict[str, Any]) -> str:
    heads = ["recogniser", "one person below", "source to output", "outputs of one person", "outputs of two people",
             "originals of two people", "people with two faces", "people who share one"]  # fmt: skip
    keys = ("source_to_output", "outputs_of_one_person", "outputs_of_two_people", "originals_of_two_people")
    rows = []
    for name, found in told["identity"].items():
        rates = [
            "&ndash;" if found[k]["rate"] is None
            else f"{100 * found[k]['rate']:.2f} % match<br>median distance {found[k]['median']:.2f}"
            for k in keys
        ]  # fmt: skip
        rows.append([escape(name), f"{found['threshold']:g}", *rates, str(found["split_people"]),
                     str(found["shared_faces"])])  # fmt: skip
    return "<h2>One person stays one person</h2>\n" + _table(
        heads, rows, (1, 6, 7),
        "Distances between the codes that a recogniser makes of faces. Source and output should be as far apart as "
        "strangers; the new faces of one person should match, those of two people should not, or no "
        "more often than the originals of two people do, which in the dark or out of focus can look alike.",
    )  # fmt: skip


def _fidelity(told: dict[str, Any]) -> str:
    rows = [
        [escape(e["measure"]), _number(e["r"], 3), _number(e["gain"], 3), _number(e["frames_late"], 2),
         str(e["frames_varying"])]
        for e in told["expression"]
    ]  # fmt: skip
    return (
        "<h2>How well the new faces follow</h2>\n"
        + _targets(told["fidelity"], "These do not decide: a clip that moves badly betrays nobody.")
        + _table(
            ["measure", "r", "gain", "frames late", "frames"], rows, (1, 2, 3, 4),
            "Left and right as the viewer sees them. r: correlation of source and output, 1 is perfect. gain: how "
            "large a movement comes out, 1 is as it was. Only faces that move enough to tell are compared.",
        )
    )  # fmt: skip


def _signals(told: dict[str, Any]) -> str:
    shown = [row for row in told["signals"] if row["frames"] and row["frames_varying"]]
    if not shown:
        return ""
    rows = [
        [escape(row["signal"]), escape(row["unit"]), _number(row["r"], 3), _number(row["gain"], 3),
         _number(row["difference"], 3), str(row["frames_varying"])]
        for row in shown
    ]  # fmt: skip
    return "<h2>Signals for behavioural research</h2>\n" + _table(
        ["signal", "unit", "r", "gain", "mean difference", "frames"], rows, (2, 3, 4, 5),
        "Blendshapes by ARKit's names, left and right the subject's; gaze and head in degrees. Read in the same way "
        "off source and output. Mean difference: absolute, less its median. Signals that hardly vary are not shown.",
    )  # fmt: skip


def _media(told: dict[str, Any]) -> str:
    media = told["media"]
    rows = [
        ["frames", str(media["frames"]["source"]), str(media["frames"]["output"])],
        ["largest difference of a frame's time", "", f"{media['largest_time_difference']:.4f} s"],
        *([s["kind"] + " streams", str(s["source"]), str(s["output"])] for s in media["streams"]),
        ["further streams", "", str(media["further_streams"])],
        ["tags that may tell something", "", escape(", ".join(media["telling_tags"])) or "none"],
        ["marked as de-identified", "", escape(media["mark"] or "no")],
    ]
    return "<h2>Sound, frames, times, tags</h2>\n" + _table(["", "recording", "finished clip"], rows, (1, 2))


def _networks(told: dict[str, Any]) -> str:
    items = "".join(f"<li><b>{escape(n['name'])}</b> {escape(n['did'])}.</li>" for n in told["networks"])
    limits = "".join(f'<li class="small">{escape(limit)}</li>' for limit in told["limits"])
    return f"<h2>Which network did what</h2>\n<ul>{items}</ul>\n<h2>What this audit cannot tell</h2>\n<ul>{limits}</ul>"


def _remains(told: dict[str, Any]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in told["remains"].values())
    return (
        "<h2>What remains that can identify</h2>\n<p>None of this is checked here. Go through it while you watch the "
        f'clip with its sound.</p>\n<ul class="check">{items}</ul>'
    )
