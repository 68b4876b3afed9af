"""Profiles a sheet: time by what it is spent on, FLOPs by what the machine can do.

    python -m bench.profile [--only "12 samplers"] [--rows 16]

First a whole sheet: seconds inside the denoiser, and its FLOPs over those that the fastest of its
own products would reach in the same time; the rest by what it is. Then one batch of rows by kind
of operation, each with its own rate where it has FLOPs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.__main__ import all_sheets, end_with_one_line, ours
from bench.limit import Limit, unet_inputs
from bench.peer import Peer
from pipelines import Request, Studio
from pipelines.rendering import renderer, trajectories
from pipelines.rendering.batch_evaluator import BatchEvaluator
from pipelines.runs.events import Stats
from pipelines.runs.store import Store
from pipelines.utils.threads import run_in_short_lived_thread

HERE = Path(__file__).parents[1]
KINDS = {
    "convolutions": ("conv",),
    "linear layers": ("addmm", "linear", "mm"),
    "attention": ("attention", "softmax", "bmm", "baddbmm"),
    "norms": ("norm",),
    "activations": ("silu", "gelu", "sigmoid", "relu"),
    "copies and sums": ("copy", "cat", "add", "mul", "div", "clone", "contiguous", "upsample"),
}
"""Parts of operations' names by kind; the first that fits counts."""


@contextmanager
def timed(owner: Any, name: str, seconds: dict[str, float]) -> Iterator[None]:
    """Adds up what the calls of one function take, while the block runs."""
    inner: Callable[..., Any] = getattr(owner, name)

    def outer(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - started

    setattr(owner, name, outer)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def whole_sheet(studio: Studio, name: str, request: Request, limit: Limit) -> None:
    """Print where a warm run of a sheet spends its time."""
    sheet, costs = all_sheets(request)[name], list[Stats]()
    ours(studio, sheet, costs)
    spent: dict[str, float] = defaultdict(float)
    started = time.perf_counter()
    with (
        timed(BatchEvaluator, "evaluate", spent),
        timed(renderer, "decode", spent),
        timed(trajectories, "encode_prompts", spent),
        timed(Store, "save_picture", spent),
    ):
        ours(studio, sheet, costs)
    total = time.perf_counter() - started
    rows, batches = costs[-1].rows_computed, costs[-1].batches
    inside = spent["evaluate"]
    print(f"{name}: {total:.2f} s, {rows} rows in {batches} batches, {rows / batches:.1f} a batch")
    limit.measure()
    share = limit.share_of_rows(rows, inside)
    print(f"  denoiser {inside:.2f} s ({inside / total:.0%}), at {share:.0%} of the limit")
    for what, key in (("VAE", "decode"), ("text", "encode"), ("files", "save_picture")):
        print(f"  {what} {spent[key]:.2f} s ({spent[key] / total:.0%})")
    rest = total - sum(spent.values())
    print(f"  schedulers, guidance, and all else {rest:.2f} s ({rest / total:.0%})")


@torch.inference_mode()
def one_batch(network: nn.Module, inputs: tuple[Any, ...], limit: Limit) -> None:
    """Print where one call of the network spends its time, by kind of operation."""
    for _ in range(3):
        network(*inputs)
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    flops: dict[str, float] = defaultdict(float)
    for operation, count in counter.get_flop_counts()["Global"].items():
        flops[kind_of(str(operation))] += count
    runs = 5
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(runs):
            network(*inputs)
    seconds: dict[str, float] = defaultdict(float)
    for row in seen.key_averages():
        seconds[kind_of(row.key)] += row.self_cpu_time_total / 1e6 / runs
    total = sum(seconds.values())
    print(f"one batch of {len(inputs[0])} rows: {total:.3f} s")
    for kind, spent in sorted(seconds.items(), key=lambda one: -one[1]):
        reached = f"{limit.share(flops[kind], spent):.0%} of the limit" if flops[kind] else ""
        print(f"  {kind:18}{spent:.3f} s  {spent / total:5.0%}  {reached}")


def kind_of(operation: str) -> str:
    """Kind of operation that a line of the profile counts as."""
    name = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(p in name for p in parts)), "else")


def main(
    model: Annotated[str, typer.Option(help="Model id, in models/.")] = "emoji",
    only: Annotated[list[str] | None, typer.Option(help="Sheets of python -m bench.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of the single batch.")] = 16,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
) -> None:
    """Print both."""
    studio = Studio(HERE / "models", device="cpu")
    request = studio.resolve(
        Request(model=model, prompt="a red apple", sampler="ddim", steps=steps, guidance_scale=5.0)
    )
    assert request.width and request.height, "just resolved"
    size = request.width, request.height
    peer = run_in_short_lived_thread(
        lambda: Peer.load(studio.manager.library.open(model).info.path)
    )
    limit = Limit.of(peer.pipe, *size)
    print(
        f"products at {limit.rate / 1e9:.0f} GFLOP/s at best, "
        f"{limit.row_flops / 1e9:.2f} GFLOP a row"
    )
    for name in only or ("8 guidance scales", "12 samplers", "4 prompts × 4 seeds"):
        whole_sheet(studio, name, request, limit)
    studio.close()
    one_batch(peer.pipe.unet, unet_inputs(peer.pipe, *size, rows), limit)


if __name__ == "__main__":
    end_with_one_line(main)
