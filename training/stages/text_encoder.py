"""Pretraining of the text encoder: what a caption's picture looks like, what words mean.

A few minutes of plain regression and classification spare the UNet hours: it starts with text
whose meaning is already laid out, instead of learning words through the noise. Beside that it
learns from a sentence model what usual English words mean, so that words that stand in no caption
land near those that do.
Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531 (a small model taught by a larger one).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel

from training.data.captions import BACKGROUND_NAMES
from training.data.corpus import NOTHING, Batch, Corpus
from training.data.drawings import STYLES
from training.data.lexicon import Lexicon
from training.data.tokenizer import tokenize
from training.optim import loop
from training.optim.optimizers import muon_and_adam
from training.optim.schedule import RunConfig

BATCH = 192
PHRASES = 192
MATRIX_RATE = 0.02
RATE = 2e-3
BY_ELEMENT = ("embedding",)
HEADS = "heads"


class Heads(nn.Module):
    """Linear heads on a text's last state: concept, style, background, latents and meaning."""

    def __init__(self, hidden: int, concepts: int, meaning: int) -> None:
        super().__init__()
        self.concept = nn.Linear(hidden, concepts)
        self.style = nn.Linear(hidden, len(STYLES))
        self.background = nn.Linear(hidden, len(BACKGROUND_NAMES))
        self.latents = nn.Linear(hidden, 4 * 16 * 16)
        self.meaning = nn.Linear(hidden, meaning)

    def losses(self, state: Tensor, batch: Batch) -> Tensor:
        """Cross-entropies of the three choices and the error of the latents, (4,).

        Args:
            state: (B, hidden).
        """
        concept, style, background = batch.picked
        return torch.stack(
            [
                F.cross_entropy(self.concept(state), concept, ignore_index=NOTHING),
                F.cross_entropy(self.style(state), style, ignore_index=NOTHING),
                F.cross_entropy(self.background(state), background, ignore_index=NOTHING),
                F.mse_loss(self.latents(state), batch.latents.flatten(1)),
            ]
        )

    def word_losses(self, state: Tensor, lexicon: Lexicon, rows: Tensor) -> Tensor:
        """Losses of phrases against their meaning and the concepts that mean it, (2,).

        Math: mean(1 − cos(m, v)); mean(w · KL(p ‖ q)) with p, w of `Lexicon.kin`
        Args:
            state: of the phrases `rows` of the lexicon, (rows, hidden).
        """
        cosine = F.cosine_similarity(self.meaning(state), lexicon.vectors[rows], dim=1)
        kin, sure = lexicon.kin(rows)
        logs = F.log_softmax(self.concept(state), dim=1)
        apart = F.kl_div(logs, kin, reduction="none").sum(1)
        return torch.stack([1 - cosine.mean(), (sure * apart).mean()])


def teach_text(
    text: CLIPTextModel, corpus: Corpus, lexicon: Lexicon, minutes: float, seed: int
) -> None:
    """Train `text` in place for some minutes; the heads are thrown away."""
    heads = Heads(text.config.hidden_size, len(corpus.concepts), lexicon.vectors.shape[1])
    tokens, odds = tokenize(corpus.tokenizer, lexicon.phrases), lexicon.odds()
    rng, shown = np.random.default_rng((seed, 1)), list[float]()

    def loss(_: float) -> Tensor:
        batch = corpus.draw(BATCH)
        losses = heads.losses(text(batch.tokens).pooler_output, batch)
        rows = torch.from_numpy(rng.choice(len(odds), PHRASES, p=odds))
        words = heads.word_losses(text(tokens[rows]).pooler_output, lexicon, rows)
        shown[:] = [*losses.tolist(), *words.tolist()]
        return losses.sum() + 3 * words[0] + words[1]

    def note() -> str:
        values = " ".join(f"{value:.3f}" for value in shown)
        return f"concept, style, background, latents, meaning, kin: {values}"

    learner = loop.Learner(
        nn.ModuleDict({"text": text, "heads": heads}),
        muon_and_adam(
            [*text.named_parameters(), *heads.named_parameters(HEADS)], (*BY_ELEMENT, HEADS),
            MATRIX_RATE, RATE, (0.01, 0.01),
        ),
        loss, note=note, clip=1.0,
    )  # fmt: skip
    loop.train(learner, RunConfig(minutes=minutes))
