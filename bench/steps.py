"""Measures how far pictures are from the converged one, by diffusers' numbers and by ours.

    python -m bench.steps [beta] [next] [start] [count] [flow]

Distance: root mean square of the pixels' difference, 0 to 255, on "a red apple", seed 0, guidance
3, from 500 steps of DPM++ 2M with every timestep told, or of Flow Heun.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipelines import ContactSheetError, Request, Studio

HERE = Path(__file__).parents[1]
BASE = Request(model="emoji", prompt="a red apple", seed=0, guidance_scale=3.0)
FLOW = BASE.replace(model="emoji-flow", sampler="flow_euler")
GROUPS: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {
    "beta": [("dpmpp_2m", "beta", (8, 10, 12, 20))],
    "next": [("ddim", "sgm_uniform", (350, 499, 600)), ("euler", "sgm_uniform", (350,))],
    "start": [
        ("dpmpp_2m", "default", (1, 20, 25, 50, 499, 500, 600)), ("euler", "default", (334,)),
        ("ddim", "default", (1, 2)),
    ],
    "count": [("dpmpp_2m", "default", (999, 1000)), ("euler", "default", (1000,))],
    "flow": [
        ("flow_euler", "default", (3, 4, 5, 8)), ("flow_euler", "karras", (10,)),
        ("flow_euler", "exponential", (10,)), ("flow_euler", "beta", (5, 10)),
        ("flow_heun", "default", (5,)),
    ],
}  # fmt: skip
"""What is measured: sampler, schedule and numbers of steps."""


def distance(studio: Studio, request: Request, limit: np.ndarray) -> str:
    """Distance of a picture from the converged one, or what kept it from being made."""
    try:
        picture = np.asarray(studio.image(request), float)
    except ContactSheetError as error:
        return str(error)[:60]
    return f"{np.sqrt(((picture - limit) ** 2).mean()):.1f}"


def main(
    groups: Annotated[list[str] | None, typer.Argument(help="All by default.")] = None,
) -> None:
    """Measure and print one line a setting."""
    studio = Studio(HERE / "models", None, device="cpu")
    ends = {
        "emoji": BASE.replace(sampler="dpmpp_2m", schedule="sgm_uniform", steps=500),
        "emoji-flow": FLOW.replace(sampler="flow_heun", steps=250),
    }
    limits: dict[str, np.ndarray] = {}
    print("sampler, schedule, steps: as diffusers → ours")
    for group in groups or GROUPS:
        for sampler, schedule, counts in GROUPS[group]:
            base = FLOW if sampler.startswith("flow") else BASE
            if base.model not in limits:
                limits[base.model] = np.asarray(studio.image(ends[base.model]), float)
            limit = limits[base.model]
            for steps in counts:
                ours = base.replace(sampler=sampler, schedule=schedule, steps=steps)
                before = distance(studio, ours.replace(as_diffusers=True), limit)
                after = distance(studio, ours, limit)
                print(f"{group}: {sampler} {schedule} {steps}: {before} → {after}", flush=True)
    studio.close()


if __name__ == "__main__":
    typer.run(main)
