"""Stage 5: train the classifier of concept and style that judges pictures.

    python -m training.judges.classifier --minutes 8 [--resume]

It learns from real drawings alone, moved, tinted, blurred and on any background; never from a
generated picture. What it scores on renderings it has not met (other places, sizes and
backgrounds from a seed of their own) is the ceiling of every figure it gives.
Source: He et al. 2015, arXiv:1512.03385 (the residual network).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.concepts import load_concepts
from training.data.drawings import STYLES, load_drawings
from training.data.renderings import Renderings
from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import open_run, run_stage
from training.optim.schedule import RunConfig

CHECKPOINT = Path("classifier") / "checkpoint.safetensors"
BY_ELEMENT = ("stem", "concept", "style")


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run."""

    channels: tuple[int, ...] = (32, 64, 128, 256)
    matrix_rate: float = 0.02
    rate: float = 2e-3
    weight_decay: float = 0.02
    smoothing: float = 0.05
    seed: int = 3
    minutes: float = 8.0


class Block(nn.Module):
    """Two 3×3 convolutions with a way around them; `stride` 2 halves the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.around = nn.Conv2d(inputs, outputs, 1, bias=False)
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        hidden = F.relu(self.norms[0](self.first(x)))
        hidden = self.norms[1](self.second(hidden))
        return F.relu(hidden + self.around(F.avg_pool2d(x, self._stride)))


class Classifier(nn.Module):
    """Logits of the concept and of the style."""

    def __init__(self, concepts: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 3, 2, 1)
        widths = [channels[0], *channels]
        blocks = [Block(a, b, 1 if i == 0 else 2) for i, (a, b) in enumerate(pairwise(widths))]
        self.blocks = nn.Sequential(*blocks)
        self.concept = nn.Linear(channels[-1], concepts)
        self.style = nn.Linear(channels[-1], len(STYLES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 64, 64) in −1..1 to logits (B, concepts) and (B, styles)."""
        state = self.blocks(F.relu(self.stem(pictures))).amax(dim=(2, 3))
        return self.concept(state), self.style(state)


@torch.no_grad()
def accuracy(model: Classifier, renderings: Renderings, count: int = 1000) -> tuple[float, float]:
    """The shares of concepts and of styles named right, over `count` renderings."""
    model.eval()
    right = torch.zeros(2)
    for _ in range(count // 100):
        pictures, concepts, styles = renderings.draw(100)
        found = model(pictures)
        right += torch.stack(
            [(found[0].argmax(1) == concepts).sum(), (found[1].argmax(1) == styles).sum()]
        )
    model.train()
    concept, style = (right / (count // 100 * 100)).tolist()
    return concept, style


def load_classifier(cache: Path) -> tuple[Classifier, dict[str, float]]:
    """The trained judge and its own accuracy ("concept", "style") on renderings it never met."""
    tensors, state = load_checkpoint(cache / CHECKPOINT)
    weights = unprefixed(tensors, "model")
    model = Classifier(len(weights["concept.bias"]), Config().channels)
    model.load_state_dict(weights)
    return model.eval(), state["accuracy"]


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Train for `config.minutes` and return the checkpoint's path."""
    path = cache / CHECKPOINT
    open_run(path.parent, "classifier", config)
    drawings = load_drawings(cache)
    concepts = load_concepts(drawings.names)
    # Convolutions are half as long again in the other layout.
    model = Classifier(len(concepts), config.channels).to(memory_format=torch.channels_last)
    start = loop.start_of(path, resume)
    seen = Renderings(drawings, concepts, config.seed + start.step)
    unseen = Renderings(drawings, concepts, 10**6 + start.step)

    def loss(_: float) -> Tensor:
        pictures, concept, style = seen.draw(config.batch)
        logits = model(pictures.contiguous(memory_format=torch.channels_last))
        error = F.cross_entropy(logits[0], concept, label_smoothing=config.smoothing)
        return error + 0.3 * F.cross_entropy(logits[1], style)

    def measure() -> dict[str, dict[str, float]]:
        return {"accuracy": dict(zip(("concept", "style"), accuracy(model, unseen), strict=True))}

    optimizers = muon_and_adam(
        model.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate,
        (config.weight_decay, config.weight_decay), betas=(0.9, 0.999),
    )  # fmt: skip
    loop.train(loop.Learner(model, optimizers, loss, measure), config, path, start)
    return path


if __name__ == "__main__":
    run_stage(__doc__, Config, train)
