"""Stage 12: train readers of a picture's joints and parts, or of its depth and solids.

    python -m training.judges.map_reader figures --minutes 3 [--resume]
    python -m training.judges.map_reader solids --minutes 3 [--resume]

They judge what a ControlNet drew (`training.evaluation.controls`) and are not shipped. They learn
from real renderings alone, mirrored, moved, softened, tinted; never from a generated picture, and
never from one that is asked for. A minute is one of a single thread's own time. Their own figures
are of renderings they never met.
Source: Lin et al. 2017, arXiv:1612.03144 (the pyramid).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.drawings import SIZE
from training.data.outlines import PARTS
from training.data.poses import KEYPOINTS
from training.data.rays import KINDS
from training.judges.classifier import Block
from training.judges.reader_data import CELL, GRID, Rows, draw_rows, varied
from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import open_run, stage_parser
from training.optim.schedule import RunConfig

BY_ELEMENT = ("stem", "told")
DOMAINS = ("figures", "solids")
OUTPUTS = {"figures": len(KEYPOINTS) + len(PARTS), "solids": 1 + 1 + len(KINDS)}
PEAK = 3
"""Cells around the likeliest one whose mean a joint is."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run.

    Args:
        domain: one of `DOMAINS`.
        pictures: drawn to learn from.
        held_out: drawn beside them, to be measured on.
        spread: of a joint in the map it is learnt as, in cells of 2 px.
    """

    domain: str = "figures"
    channels: tuple[int, ...] = (24, 40, 80, 128)
    width: int = 48
    pictures: int = 3000
    held_out: int = 200
    batch: int = 24
    spread: float = 1.5
    matrix_rate: float = 0.02
    rate: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 17
    minutes: float = 3.0


@dataclass(frozen=True)
class Reading:
    """Joints, depth and labels that a reader finds in N pictures.

    Args:
        joints: (N, 18, 2) x, y in pixels; of figures.
        depth: (N, 128, 128) inverse depth up to scale and offset; of solids.
        labels: (N, 128, 128), rows of `PARTS`, or 0 and i + 1 for `KINDS[i]`.
    """

    joints: NDArray[np.float32]
    depth: NDArray[np.float32]
    labels: NDArray[np.uint8]


class Reader(nn.Module):
    """A small feature pyramid: (B, 3, 128, 128) in −1..1 to (B, outputs, 64, 64)."""

    def __init__(self, outputs: int, channels: Sequence[int], width: int) -> None:
        super().__init__()
        first, *_ = channels
        self.stem = nn.Conv2d(3, first, 5, 2, 2)
        self.down = nn.ModuleList(Block(a, b, 2) for a, b in pairwise(channels))
        self.beside = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.up = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, bias=False) for _ in channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in channels)
        self.told = nn.Conv2d(width, outputs, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Maps of logits; see `joint_logits`, `dense_logits`."""
        states = [F.relu(self.stem(pictures))]
        for block in self.down:
            states.append(block(states[-1]))
        levels = list(zip(states, self.beside, self.up, self.norms, strict=True))
        found: Tensor | float = 0.0
        for state, beside, up, norm in reversed(levels):
            found = F.relu(norm(up(beside(state) + found)))
            if state is not states[0]:
                found = F.interpolate(found, scale_factor=2, mode="bilinear")
        told: Tensor = self.told(found)
        return told


def loss_of(told: Tensor, rows: Rows, spread: float) -> Tensor:
    """Cross entropy of labels, and of joints' places, or for solids the error of the depth."""
    dense = F.cross_entropy(told[:, -rows.classes :], rows.labels)
    if rows.joints is None:
        return dense + 4 * (told[:, 0].sigmoid() - rows.depth).abs().mean()
    middles = (torch.arange(GRID) + 0.5) * CELL
    across, down = (
        torch.exp(-0.5 * ((middles - rows.joints[..., i, None]) / (spread * CELL)) ** 2)
        for i in (0, 1)
    )
    place = (down[..., :, None] * across[..., None, :]).flatten(2)
    place = place / place.sum(2, keepdim=True).clamp(min=1e-6)
    likely = told[:, : len(KEYPOINTS)].flatten(2).log_softmax(2)
    seen = rows.joints[..., 2] > 0
    return dense - (place * likely).sum(2)[seen].mean()


def read_joints(told: Tensor) -> NDArray[np.float32]:
    """The mean place around each joint's likeliest cell, (N, 18, 2) in pixels."""
    cells = told[:, : len(KEYPOINTS)].flatten(2).softmax(2)
    likely, top = torch.unflatten(cells, 2, (GRID, GRID)), cells.argmax(2)
    steps = torch.arange(GRID)
    near_y = (steps - (top // GRID)[..., None]).abs() <= PEAK
    near_x = (steps - (top % GRID)[..., None]).abs() <= PEAK
    kept = likely * near_y[..., :, None] * near_x[..., None, :]
    kept = kept / kept.sum((2, 3), keepdim=True)
    middles = (steps + 0.5) * CELL
    x, y = (kept.sum(2) * middles).sum(2), (kept.sum(3) * middles).sum(2)
    return np.asarray(torch.stack([x, y], 2).numpy(), np.float32)


def as_input(pictures: NDArray[Any]) -> Tensor:
    """Pictures (N, 128, 128, 3) in 0..255 as a reader takes them."""
    scaled = torch.from_numpy(np.asarray(pictures, np.float32)).permute(0, 3, 1, 2)
    return scaled / 127.5 - 1


@torch.no_grad()
def read(reader: Reader, domain: str, pictures: NDArray[Any]) -> Reading:
    """Read pictures (N, 128, 128, 3) in 0..255."""
    reader.eval()
    chunks = [reader(as_input(pictures[i : i + 50])) for i in range(0, len(pictures), 50)]
    told = torch.cat(chunks)
    size = (SIZE, SIZE)
    if domain == "figures":
        joints, depth = read_joints(told), np.empty((0, SIZE, SIZE), np.float32)
    else:
        joints = np.empty((0, len(KEYPOINTS), 2), np.float32)
        grown = F.interpolate(told[:, :1].sigmoid(), size, mode="bilinear")
        depth = grown[:, 0].numpy()
    first = len(KEYPOINTS) if domain == "figures" else 1
    labels = F.interpolate(told[:, first:], size, mode="bilinear").argmax(1)
    return Reading(joints, depth, labels.numpy().astype(np.uint8))


def checkpoint(cache: Path, domain: str) -> Path:
    """Path of a reader's checkpoint."""
    return cache / f"reader-{domain}" / "checkpoint.safetensors"


def load_reader(cache: Path, domain: str) -> Reader:
    """The trained reader of a domain.

    Raises: FileNotFoundError: if it was not trained yet.
    """
    path = checkpoint(cache, domain)
    if not path.exists():
        raise FileNotFoundError(
            f"no reader of {domain} at {path}; "
            f"train it: python -m training.judges.map_reader {domain}"
        )
    tensors, _ = load_checkpoint(path)
    config = Config(domain=domain)
    reader = Reader(OUTPUTS[domain], config.channels, config.width)
    reader.load_state_dict(unprefixed(tensors, "model"))
    return reader.eval()


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` of one thread's time and return the checkpoint's path."""
    path = checkpoint(cache, config.domain)
    open_run(path.parent, "reader", config)
    torch.set_num_threads(1)
    rows = draw_rows(config.domain, config.pictures + config.held_out, config.seed)
    learnt = rows.take(slice(None, config.pictures))
    kept = rows.take(slice(config.pictures, None))
    model = Reader(OUTPUTS[config.domain], config.channels, config.width)
    start = loop.start_of(path, resume)
    generator = torch.Generator().manual_seed(config.seed + start.step)

    def loss(_: float) -> Tensor:
        batch = torch.randint(config.pictures, (config.batch,), generator=generator)
        pictures, some = varied(learnt.take(batch), generator)
        return loss_of(model(pictures), some, config.spread)

    def measure() -> dict[str, float]:
        figures = accuracy(model, config.domain, kept)
        model.train()
        return figures

    optimizers = muon_and_adam(
        model.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate,
        (config.weight_decay, config.weight_decay), betas=(0.9, 0.999),
    )  # fmt: skip
    learner = loop.Learner(model, optimizers, loss, measure)
    loop.train(learner, config, path, start, now=process_time)
    return path


def accuracy(model: Reader, domain: str, rows: Rows) -> dict[str, float]:
    """The reader's own figures on renderings it never met."""
    from training.judges.control_scores import joints_near, overlaps, rank_correlation

    found = read(model, domain, rows.pixels)
    labels = found.labels[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
    own = {"overlap": float(np.nanmean(overlaps(labels, rows.labels.numpy(), rows.classes)))}
    if rows.joints is not None:
        own["joints"] = float(np.nanmean(joints_near(found.joints, rows.joints.numpy())))
    else:
        depth = found.depth[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
        pairs = zip(depth, rows.depth.numpy(), strict=True)
        own["depth"] = float(np.mean([rank_correlation(a, b) for a, b in pairs]))
    return {name: round(value, 3) for name, value in own.items()}


def main() -> None:
    """The command line of this stage."""
    parser = stage_parser(__doc__, Config.minutes)
    parser.add_argument("domain", choices=DOMAINS)
    args = parser.parse_args()
    train(Config(domain=args.domain, minutes=args.minutes), args.cache, args.resume)


if __name__ == "__main__":
    main()
