"""Measures a sheet that grows by one column against its new cells alone.

    python -m bench.growth [--pairs 5]

A 5 × 5 sheet is made, then the same with a sixth value; beside it the five new cells alone, in
turns. The wanted ratio is at most 1.1.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines import Axis, Request, Sheet, Studio
from pipelines.runs.events import RunFinished, Stats

HERE = Path(__file__).parents[1]
SCALES = (1.5, 2.0, 3.0, 5.0, 8.0, 12.0)
SEEDS = Axis(field="seed", values=(1, 2, 3, 4, 5))


def grid(base: Request, scales: tuple[float, ...]) -> Sheet:
    """Seeds against guidance scales."""
    return Sheet(base=base, axes=(SEEDS, Axis(field="guidance_scale", values=scales)))


def timed(models: Path, outputs: Path, sheet: Sheet) -> tuple[float, Stats]:
    """Seconds of one run, the studio warm, and what it cost."""
    studio = Studio(models, outputs, device="cpu")
    # A picture of its own: one from the store would not load the model.
    studio.image(Request(model=sheet.base.model, prompt=f"warm {time.time_ns()}", steps=2))
    started = time.perf_counter()
    (stats,) = [e.stats for e in studio.run(sheet) if isinstance(e, RunFinished)]
    seconds = time.perf_counter() - started
    studio.close()
    return seconds, stats


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
) -> None:
    """Measure and print one line a pair, then the median."""
    base = Request(model=model, prompt="a red apple", sampler="ddim", steps=steps)
    models, ratios = HERE / "models", []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        timed(models, kept, grid(base, SCALES[:5]))
        for pair in range(pairs):
            grown, alone = Path(folder) / f"grown-{pair}", Path(folder) / f"alone-{pair}"
            shutil.copytree(kept, grown)
            sides = [("grown", grown, grid(base, SCALES)), ("alone", alone, grid(base, SCALES[5:]))]
            found = {
                name: timed(models, place, sheet)
                for name, place, sheet in (sides if pair % 2 == 0 else reversed(sides))
            }
            (a, grown_cost), (b, alone_cost) = found["grown"], found["alone"]
            ratios.append(a / b)
            print(
                f"5×5 grown to 5×6: {a:.2f} s, {grown_cost.rows_computed} rows; its five new cells "
                f"alone: {b:.2f} s, {alone_cost.rows_computed} rows; {a / b:.2f}×",
                flush=True,
            )
    print(f"median {statistics.median(ratios):.2f}× ({min(ratios):.2f} – {max(ratios):.2f})")


if __name__ == "__main__":
    typer.run(main)
