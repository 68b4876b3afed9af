"""The text encoder's first minutes: to tell from a caption what the drawing looks like.

A few minutes of plain regression and classification spare the UNet hours: it starts with text
whose meaning is already laid out, instead of learning words through the noise.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from training import common
from training.data.captions import BACKGROUND_NAMES, Wording, caption
from training.data.concepts import Concept
from training.data.drawings import STYLES
from training.text import MAX_TOKENS

BATCH = 256
PEAK_RATE = 1.5e-3


class Heads(nn.Module):
    """What is read off a caption's last state: concept, style, background and the clean latents."""

    def __init__(self, hidden: int, concepts: int) -> None:
        super().__init__()
        self.concept = nn.Linear(hidden, concepts)
        self.style = nn.Linear(hidden, len(STYLES))
        self.background = nn.Linear(hidden, len(BACKGROUND_NAMES))
        self.latents = nn.Linear(hidden, 4 * 16 * 16)

    def losses(self, state: Tensor, picked: Tensor, latents: Tensor) -> Tensor:
        """Cross-entropies of the three choices and the error of the latents, (4,).

        Args:
            state: (B, hidden).
            picked: concept, style and background, (3, B) int64.
            latents: (B, 4, 16, 16).
        """
        return torch.stack(
            [
                F.cross_entropy(self.concept(state), picked[0]),
                F.cross_entropy(self.style(state), picked[1]),
                F.cross_entropy(self.background(state), picked[2]),
                F.mse_loss(self.latents(state), latents.flatten(1)),
            ]
        )


def draw_captions(
    concepts: list[Concept], tokenizer: CLIPTokenizer, rng: np.random.Generator, count: int
) -> tuple[Tensor, Tensor]:
    """Random captions as tokens, (count, MAX_TOKENS), and what each asks for, (3, count)."""
    sizes = (len(concepts), len(STYLES), len(BACKGROUND_NAMES))
    picked = np.stack([rng.integers(size, size=count) for size in sizes])
    wording = Wording()
    captions = [
        caption(concepts[c], STYLES[s], BACKGROUND_NAMES[b], wording, rng) for c, s, b in picked.T
    ]
    tokens = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return tokens.input_ids, torch.from_numpy(picked)


def teach_text(
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    values: Tensor,
    concepts: list[Concept],
    minutes: float,
    seed: int,
) -> None:
    """Train `text` in place for some minutes; the heads are thrown away.

    Args:
        values: the clean latents, (concepts, styles, backgrounds, 4, 16, 16).
    """
    heads = Heads(text.config.hidden_size, len(concepts))
    parameters = [*text.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=(0.9, 0.99), weight_decay=0.01)
    rng, clock, step = np.random.default_rng((seed, 1)), common.Clock(minutes), 0
    while clock.progress < 1:
        rate = common.cosine(clock.progress, 0.05, PEAK_RATE)
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens, picked = draw_captions(concepts, tokenizer, rng, BATCH)
        latents = values[picked[0], picked[1], picked[2]].float()
        losses = heads.losses(text(tokens).pooler_output, picked, latents)
        losses.sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        if step % 50 == 0 or clock.progress >= 1:
            shown = " ".join(f"{value:.3f}" for value in losses.tolist())
            common.log.info("text step %d concept, style, background, latents: %s", step, shown)
