"""Stage 6: train the judge of scenes: a shirt's colour; solids, their colours and number.

    python -m training.judges.scene_judge --minutes 5 [--resume]

It learns from real renderings alone, mirrored, moved a little, softened and tinted; its own
accuracy is measured on the last 400 scenes, which it never learns from. A map of features is read
off at every place: what a solid is and which colour it has are told there, so that a red cube
beside a blue cone is no blue cube.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.colours import NAMED
from training.data.pairs import HELD_OUT_SCENES
from training.data.rays import KINDS
from training.data.renderings import SIDE, shrunk
from training.data.scenes import Scenes, load_scenes
from training.judges.classifier import Block
from training.judges.scene_labels import Label, Pair, load_labels
from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import open_run, run_stage
from training.optim.schedule import RunConfig

COLOURS = tuple(NAMED)
CHECKPOINT = Path("scene_judge") / "checkpoint.safetensors"
BY_ELEMENT = ("stem", "kind", "colour", "count", "shirt")
MOST = 3


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run."""

    channels: tuple[int, ...] = (32, 64, 128)
    matrix_rate: float = 0.02
    rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 5
    minutes: float = 5.0


class SceneJudge(nn.Module):
    """Logits of shirt colour, of (colour, kind) being there, and of the number of solids."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, third = channels
        self.stem = nn.Conv2d(3, first, 3, 2, 1)
        self.blocks = nn.Sequential(
            Block(first, first, 1), Block(first, second, 2), Block(second, third, 2),
            Block(third, third, 1),
        )  # fmt: skip
        # One more of each: nothing is there.
        self.kind = nn.Conv2d(third, len(KINDS) + 1, 1)
        self.colour = nn.Conv2d(third, len(COLOURS) + 1, 1)
        self.count = nn.Linear(2 * third, MOST)
        self.shirt = nn.Linear(2 * third, len(COLOURS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, 64, 64) in −1..1 to (B, colours), (B, colours · kinds) and (B, 3).

        Math: p(c, k) = max over places of p(colour c)·p(kind k) there; its logit is given
        """
        state = self.blocks(F.relu(self.stem(pictures)))
        pooled = torch.cat([state.mean((2, 3)), state.amax((2, 3))], dim=1)
        colour = self.colour(state).log_softmax(1)[:, :-1, None]
        both = (colour + self.kind(state).log_softmax(1)[:, None, :-1]).amax((3, 4)).flatten(1)
        there = both - torch.log1p(-both.exp().clamp(max=1 - 1e-6))
        return self.shirt(pooled), there, self.count(pooled)


def read_solids(there: Tensor, count: Tensor) -> list[dict[Pair, int]]:
    """The solids that logits name: as many as counted, the likeliest kinds; twins fill up.

    Args:
        there: (B, colours · kinds). count: (B, 3).
    """
    found = []
    for row, number in zip(there, (count.argmax(1) + 1).tolist(), strict=True):
        order = row.argsort(descending=True)[:number].tolist()
        kept = [i for i in order if row[i] > 0] or order[:1]
        pairs = [(COLOURS[i // len(KINDS)], KINDS[i % len(KINDS)]) for i in kept]
        things = dict.fromkeys(pairs, 1)
        things[pairs[0]] += number - len(pairs)
        found.append(things)
    return found


def same_things(found: Mapping[Pair, int], asked: Mapping[Pair, int]) -> bool:
    """Compare found solids with asked ones, by number, colours and kinds.

    Which of two kinds is there twice is not asked: the judge does not know.
    """
    return found.keys() == asked.keys() and sum(found.values()) == sum(asked.values())


def targets(labels: Sequence[Label]) -> tuple[Tensor, Tensor, Tensor]:
    """Shirts (−1 for solids), what is there, and the number less one (−1 for figures)."""
    shirts = torch.tensor([COLOURS.index(x.shirt) if x.shirt else -1 for x in labels])
    there = torch.zeros(len(labels), len(COLOURS) * len(KINDS))
    for row, label in enumerate(labels):
        for colour, kind in label.things:
            there[row, COLOURS.index(colour) * len(KINDS) + KINDS.index(kind)] = 1
    counts = torch.tensor([sum(x.things.values()) - 1 for x in labels])
    return shirts, there, counts


def varied(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored, moved by up to 4 px, softened and tinted at random."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    rows = len(pictures)
    pictures = torch.where(uniform(rows, 1, 1, 1) < 0.5, pictures.flip(3), pictures)
    y, x = torch.randint(0, 9, (2,), generator=generator).tolist()
    edged = F.pad(pictures, (4, 4, 4, 4), mode="replicate")
    pictures = edged[:, :, y : y + SIDE, x : x + SIDE]
    soft = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    pictures = pictures + uniform(rows, 1, 1, 1) * (soft - pictures)
    tint = 0.94 + 0.12 * uniform(rows, 3, 1, 1)
    return ((pictures + 1) * tint - 1).clamp(-1, 1)


@torch.no_grad()
def accuracy(model: SceneJudge, pictures: Tensor, labels: Sequence[Label]) -> dict[str, float]:
    """The shares of shirts, and of one and two solids, named right."""
    model.eval()
    shirt, there, count = model(pictures)
    model.train()
    named = read_solids(there, count)
    shirts = [
        COLOURS[i] == x.shirt
        for i, x in zip(shirt.argmax(1).tolist(), labels, strict=True)
        if x.shirt
    ]
    few = [
        same_things(found, x.things)
        for found, x in zip(named, labels, strict=True)
        if 1 <= sum(x.things.values()) <= 2
    ]
    return {"shirt": round(float(np.mean(shirts)), 3), "solids": round(float(np.mean(few)), 3)}


def load_scene_judge(cache: Path) -> tuple[SceneJudge, dict[str, float]]:
    """The trained judge and its own accuracy ("shirt", "solids") on renderings it never met."""
    tensors, state = load_checkpoint(cache / CHECKPOINT)
    model = SceneJudge(Config().channels)
    model.load_state_dict(unprefixed(tensors, "model"))
    return model.eval(), state["accuracy"]


def small_pictures(scenes: Scenes) -> Tensor:
    """Shrink all scenes to what the judge takes, (N, 3, 64, 64)."""
    chunks: list[NDArray[np.float32]] = [
        np.asarray(scenes.pixels[i : i + 500], np.float32)
        for i in range(0, len(scenes.captions), 500)
    ]
    return torch.cat([shrunk(chunk) for chunk in chunks])


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    path = cache / CHECKPOINT
    open_run(path.parent, "scene_judge", config)
    scenes = load_scenes(cache)
    labels, pictures = load_labels(scenes, cache), small_pictures(scenes)
    shirts, there, counts = targets(labels)
    last = len(labels) - HELD_OUT_SCENES
    model, start = SceneJudge(config.channels), loop.start_of(path, resume)
    generator = torch.Generator().manual_seed(config.seed + start.step)

    def loss(_: float) -> Tensor:
        rows = torch.randint(last, (config.batch,), generator=generator)
        shirt, found, count = model(varied(pictures[rows], generator))
        solid = counts[rows] >= 0
        error = F.cross_entropy(shirt, shirts[rows], ignore_index=-1)
        error = error + F.cross_entropy(count, counts[rows], ignore_index=-1)
        return error + 10 * F.binary_cross_entropy_with_logits(found[solid], there[rows][solid])

    def measure() -> dict[str, dict[str, float]]:
        return {"accuracy": accuracy(model, pictures[last:], labels[last:])}

    optimizers = muon_and_adam(
        model.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate,
        (config.weight_decay, config.weight_decay), betas=(0.9, 0.999),
    )  # fmt: skip
    loop.train(loop.Learner(model, optimizers, loss, measure), config, path, start)
    return path


if __name__ == "__main__":
    run_stage(__doc__, Config, train)
