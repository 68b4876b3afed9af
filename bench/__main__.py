"""Measures Contact Sheet against diffusers' own pipeline on this machine.

    python -m bench [--pairs 5] [--only "8 guidance scales"] [--backend openvino] [--sd15]

Close everything else first. Every ratio is ours by theirs, so less is better, and has the
largest pixel difference beside it: a fast wrong picture would show there. "of naive" is the share
of a cell-by-cell loop's denoiser rows that were computed; "of limit" the denoiser's FLOPs over
what the fastest of its own convolutions and matrix products would reach in the same time, all else
included: best of many, in this process, between the runs. A share above 100 % ends the bench.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bench.paired_runs import compare
from pipelines.devices.library_probes import keep_unused_out
from pipelines.errors import ContactSheetError

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.peer import Peer
    from pipelines import Request, Sheet, Studio
    from pipelines.runs.events import Stats

HERE = Path(__file__).parents[1]


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    prompt: Annotated[str, typer.Option(help="What the pictures show.")] = "a red apple",
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    pairs: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="Comparisons to make; may be given several times.")
    ] = None,
    backend: Annotated[str, typer.Option(help="What computes our rows.")] = "torch",
    sd15: Annotated[
        bool, typer.Option(help="A random UNet of SD 1.5's size at 256 px: many minutes.")
    ] = False,
    json_file: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = (
        HERE / "bench" / "results" / "latest.json"
    ),
) -> None:
    """Measure, print a table, write JSON."""
    with tempfile.TemporaryDirectory() as folder:
        models = HERE / "models"
        if sd15:
            from bench import random_sd15

            models, model, side = Path(folder), random_sd15.ID, 256
            random_sd15.build(HERE / "models" / "emoji", models)
        else:
            side = None
        cold = None if sd15 else cold_start(model, prompt)
        figures = measure(models, model, prompt, steps, side, pairs, only, backend)
    if cold is not None:
        Console().print(f"cold start, fresh process to file on disk: {cold:.1f} s")
        figures["cold_start_seconds"] = round(cold, 2)
    json_file.parent.mkdir(parents=True, exist_ok=True)
    json_file.write_text(json.dumps(figures, indent=2) + "\n")
    Console().print(f"written to {json_file}")


def measure(
    models: Path,
    model: str,
    prompt: str,
    steps: int,
    side: int | None,
    pairs: int,
    only: Sequence[str] | None,
    backend: str,
) -> dict[str, Any]:
    """Run all comparisons, each printed as it comes."""
    from bench.limit import Limit
    from bench.peer import Peer
    from pipelines import InvalidRequest, Request, Studio
    from pipelines.utils.threads import run_in_short_lived_thread

    studio = Studio(models, device="cpu", backend=backend)
    request = studio.resolve(
        Request(
            model=model, prompt=prompt, sampler="ddim", steps=steps, guidance_scale=5.0,
            width=side, height=side,
        )
    )  # fmt: skip
    sheets = all_sheets(request)
    unknown = [name for name in only or [] if name not in sheets]
    if unknown:
        raise InvalidRequest(f"no comparison {unknown[0]!r}; there are {', '.join(sheets)}")
    studio.warm_up(request.model)
    studio.manager.free_idle()
    studio.warm_up(request.model)  # again, now that the libraries are imported
    loading = studio.manager.history[-1].seconds
    print(f"{request.model} loaded from disk in {loading:.2f} s")
    peer = run_in_short_lived_thread(
        lambda: Peer.load(studio.manager.library.open(request.model).info.path)
    )
    assert request.width is not None and request.height is not None
    limit = Limit.of(peer.pipe, request.width, request.height)
    print(
        f"{backend}: {limit.row_flops / 1e9:.2f} GFLOP a row, "
        f"products at {limit.rate / 1e9:.0f} GFLOP/s at best"
    )
    print(HEADER)
    found = []
    for name in only or sheets:
        costs: list[Stats] = []
        cells = [studio.resolve(cell) for cell in sheets[name].expand()]
        work = partial(ours, studio, sheets[name], costs)
        other = partial(studio.call, partial(theirs, peer, cells))
        one = compare(name, work, other, pairs, limit.measure)
        cost = costs[-1]
        summary: dict[str, Any] = {
            **one.summary(),
            "rows": cost.rows_computed,
            "rows_naive": cost.rows_naive,
            "batches": cost.batches,
        }
        summary["of_limit"] = round(
            limit.share_of_rows(cost.rows_computed, summary["ours_seconds"]), 3
        )
        print(line(summary), flush=True)
        found.append({**summary, "ours_all": one.ours, "peer_all": one.peer})
    studio.close()
    return {
        "settings": json.loads(request.to_json()),
        "backend": backend,
        "machine": machine(),
        "limit_gflops": round(limit.rate / 1e9, 1),
        "row_gflop": round(limit.row_flops / 1e9, 3),
        "load_seconds": round(loading, 2),
        "comparisons": found,
    }


def cold_start(model: str, prompt: str) -> float:
    """Seconds from `python app.py generate …` in a fresh process to the file on disk."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cold.png"
        command = [sys.executable, "app.py", "generate", prompt, "--model", model]
        started = time.perf_counter()
        subprocess.run([*command, "--out", out], cwd=HERE, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        if not out.is_file():
            raise FileNotFoundError(f"{' '.join(command)} wrote no picture")
    return seconds


def all_sheets(request: Request) -> dict[str, Sheet]:
    """Sheets that are measured, by name."""
    from pipelines import Axis, Sheet
    from pipelines.samplers import SAMPLERS

    samplers = [row.id for row in SAMPLERS.values() if row.kind == "diffusion"]
    prompts = ("a red apple", "a cat face", "a house", "a rocket, on a blue background")

    def sheet(**axes: Any) -> Sheet:
        fields = [Axis(field=name, values=tuple(values)) for name, values in axes.items()]
        return Sheet(base=request, axes=tuple(fields))

    return {
        "one picture": Sheet(base=request),
        "8 seeds": Sheet.seeds(request, 8),
        "8 guidance scales": sheet(guidance_scale=(1, 2, 3, 4, 5, 7, 10, 15)),
        "12 samplers": sheet(sampler=samplers[:12]),
        "4 prompts × 4 seeds": sheet(prompt=prompts, seed=range(4)),
    }


def ours(studio: Studio, sheet: Sheet, costs: list[Stats]) -> list[Image]:
    """Make all cells in one run; what it cost is added to `costs`."""
    from pipelines.runs.events import CellDone, RunFinished

    done = {}
    for event in studio.run(sheet):
        if isinstance(event, CellDone):
            done[event.cell] = event.image
        elif isinstance(event, RunFinished):
            costs.append(event.stats)
    return [done[cell] for cell in range(len(sheet.indices()))]


def theirs(peer: Peer, cells: Sequence[Request]) -> list[Image]:
    """One pipeline call a cell."""
    return [picture for cell in cells for picture in peer.make(cell)]


def machine() -> dict[str, Any]:
    """Describe the machine and the versions that figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "transformers")},
    }


def end_with_one_line(command: Callable[..., None]) -> None:
    """Run a command of the bench; what it cannot measure ends it with one line and status 1."""
    keep_unused_out()
    try:
        typer.run(command)
    except ContactSheetError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


HEADER = (
    f"{'what':22}{'ours':>8}{'diffusers':>11}{'ratio':>8}{'from – to':>15}{'faster':>8}"
    f"{'apart':>8}{'rows':>7}{'of naive':>10}{'batches':>9}{'of limit':>10}"
)


def line(s: dict[str, Any]) -> str:
    """One comparison as a row below `HEADER`."""
    spread = f"{s['ratio_min']:.2f} – {s['ratio_max']:.2f}"
    return (
        f"{s['name']:22}{s['ours_seconds']:>7.2f}s{s['peer_seconds']:>10.2f}s{s['ratio']:>7.2f}×"
        f"{spread:>15}{1 / s['ratio']:>7.2f}×{s['pixels_apart']:>4}/255{s['rows']:>7}"
        f"{s['rows'] / s['rows_naive']:>10.0%}{s['batches']:>9}{s['of_limit']:>10.0%}"
    )


if __name__ == "__main__":
    end_with_one_line(main)
