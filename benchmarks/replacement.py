"""Are faces replaced, by someone else's, who moves as they moved? A strict judge of finished runs.

Takes sources and outputs, looks at nothing else, and measures every face of the source with a pass of its own: whether
it was replaced, obscured or left, as the pictures show; whether a recogniser, aligned on the source frame, takes source
and output for one person at one false match in a thousand; whether outputs of one person match each other and those of
two people do not; how eyes, mouth, gaze and pose follow (means of three readings, since a single one of an iris is as
much noise as glance), and what they are on average;
how steady the mesh is; colour, softness, seams, flicker.
Prints a table against the targets and can write all of it.

    python benchmarks/replacement.py clip.mp4 out.mp4 [clip2.mp4 out2.mp4 ...] [--json result.json]
    python benchmarks/replacement.py --run --engine morphable clip.mp4 clip2.mp4 --outputs folder
    python benchmarks/contact_sheet.py clip.mp4 out.mp4 -o sheet.png --worst result.json --measure seam

A pixelated face has structure and passes for a replaced one: judge outputs of ``--engine pixelate`` by their report.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _replacement_faces import observe
from _replacement_mean import mean_table
from _replacement_measure import measure
from _replacement_recogniser import Dlib, Recogniser, load
from _replacement_score import LOOKS, TARGETS, score
from contact_sheet import CACHE


def judge(
    source: Path, output: Path, recognisers: Sequence[Recogniser], *, every: int = 2, cache: Path | None = None
) -> dict[str, Any]:
    """Everything about one clip: see :func:`_replacement_score.score`. ``seconds``: how long judging took."""
    start = time.process_time()
    tracks = observe(source, cache=cache)
    result = score(measure(source, output, tracks, recognisers, every=every), recognisers)
    result |= {"source": source.name, "output": output.name, "seconds": round(time.process_time() - start, 1)}
    return result


def overall(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of the clips' values, each clip weighted by its faces; those it has no number for are left out."""
    out = {}
    for key in [*(t.key for t in TARGETS), *LOOKS]:
        pairs = [(r["values"].get(key, np.nan), max(r["weights"]["faces"], 1)) for r in results]
        good = [(v, w) for v, w in pairs if np.isfinite(v)]
        out[key] = float(np.average([v for v, _ in good], weights=[w for _, w in good])) if good else float("nan")
    return out


def table(results: Sequence[dict[str, Any]]) -> str:
    """Targets a column, clips a row; a value that misses its target is marked ``!``."""
    heads = ["clip", "faces", *(t.name for t in TARGETS)]
    aims = ["target", "", *(_aim(t.low, t.high) for t in TARGETS)]
    rows = [[r["source"], str(r["weights"]["faces"]), *_cells(r["values"])] for r in results]
    rows.append(["all", str(sum(r["weights"]["faces"] for r in results)), *_cells(overall(results))])
    looks = [[r["source"], *(_number(r["values"].get(k), ".2f") for k in LOOKS)] for r in results]
    tables = [[heads, aims, *rows], [["clip", *LOOKS], *looks], mean_table(results)]
    return "\n\n".join(_markdown(rows) for rows in tables)


def _aim(low: float, high: float) -> str:
    if np.isfinite(low) and np.isfinite(high):
        return f"{low:g} to {high:g}"
    return f">= {low:g}" if np.isfinite(low) else f"<= {high:g}"


def _cells(values: dict[str, float]) -> list[str]:
    out = []
    for t in TARGETS:
        value = values.get(t.key)
        out.append(_number(value, t.style) + (" !" if t.met(value) is False else ""))
    return out


def _number(value: float | None, style: str) -> str:
    return "-" if value is None or not np.isfinite(value) else format(value, style)


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def failures(results: Sequence[dict[str, Any]]) -> list[str]:
    """Every missed target, a line each."""
    return [
        f"{r['source']}: {t.name} {_number(r['values'].get(t.key), t.style)}, wanted {_aim(t.low, t.high)}"
        for r in results
        for t in TARGETS
        if t.met(r["values"].get(t.key)) is False
    ]


def finished_runs(options: argparse.Namespace) -> list[tuple[Path, Path]]:
    """Run the product on every clip, one after the other; its report is written beside each output."""
    from deid.config import RunConfig
    from deid.pipeline import run
    from deid.progress import QuietProgress

    options.outputs.mkdir(parents=True, exist_ok=True)
    pairs = []
    for source in options.clips:
        output = options.outputs / f"{source.stem}.{options.engine}.mp4"
        config = RunConfig(engine=options.engine, seed=options.seed, threads=options.threads, overwrite=True)
        report = run(source, output, config, QuietProgress())
        output.with_suffix(".json").write_text(json.dumps(report.as_dict(), indent=1))
        pairs.append((source, output))
    return pairs


def _plain(value: Any) -> Any:
    """NaN is no JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, help="source and output by turns; sources only with --run")
    parser.add_argument("--run", action="store_true", help="make the outputs first")
    parser.add_argument("--engine", default="morphable", help="with --run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="with --run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="with --run (default: %(default)s)")
    parser.add_argument("--outputs", type=Path, default=Path("replaced"), help="with --run: where outputs go")
    parser.add_argument("--every", type=int, default=2, help="sightings between recognitions (default: %(default)s)")
    parser.add_argument("--recogniser", type=Path, metavar="FILE", help="ONNX or facenet weights: a second judge")
    parser.add_argument("--raw", action="store_true", help="the ONNX file takes BGR from 0 to 255, as SFace does")
    parser.add_argument("--recogniser-threshold", type=float, help="its distance at one false match in a thousand")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where faces found are kept (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write everything here: one clip's result, or a list")
    options = parser.parse_args()
    if not options.run and len(options.clips) % 2:
        parser.error("give a source and an output by turns, or --run")
    pairs = finished_runs(options) if options.run else list(zip(options.clips[::2], options.clips[1::2], strict=True))
    recognisers: list[Recogniser] = [Dlib()]
    if options.recogniser:
        recognisers.append(load(options.recogniser, raw=options.raw, threshold=options.recogniser_threshold))
    results = []
    for source, output in pairs:
        results.append(judge(source, output, recognisers, every=options.every, cache=options.cache))
        print(f"{source.name}: judged in {results[-1]['seconds']} s", file=sys.stderr)
    print(table(results))
    missed = failures(results)
    print("\n" + ("\n".join(missed) if missed else "every target met"))
    if options.json:
        kept = _plain(results)
        options.json.write_text(json.dumps(kept[0] if len(kept) == 1 else kept, indent=1))


if __name__ == "__main__":
    main()
