"""Stage 3: teach the text encoder words that stand in no caption, by what they mean.

    python -m training.stages.meanings --minutes 8

A word like "stallion" is taught to give the UNet what "horse" gives it: the text encoder as the
UNet left it is the teacher, and captions keep what they had. Which concept a word means is asked
of a sentence model, by the words' dictionary glosses, and of the dictionary itself, which says of
many words what they are a kind of. No picture is looked at, and no table of synonyms: the words
of `data.synonyms` are met only where they stand among the usual English words.
Source: Reimers & Gurevych 2020, arXiv:2004.09813 (teaching new words to lie where known ones do).
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training.data.captions import BACKGROUND_NAMES, DEFAULT_STYLE, Wording, caption
from training.data.concepts import Concept
from training.data.corpus import Corpus
from training.data.drawings import STYLES
from training.data.lexicon import Lexicon, said_of
from training.data.synonyms import SYNONYMS
from training.data.tokenizer import build_text_encoder, tokenize
from training.data.wordnet import WordNet, load_wordnet
from training.data.words import english_words, sentence_vectors
from training.optim import loop
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.optimizers import muon_and_adam
from training.optim.run_folder import log, open_run, run_stage
from training.optim.schedule import RunConfig
from training.stages.unet import BY_ELEMENT, prepare, read_config

CHECKPOINT = Path("meanings") / "checkpoint.safetensors"
NAME_ONLY = Wording(name=0, tag=0, near=0)


@dataclass(frozen=True)
class Config(RunConfig):
    """Configuration of this stage's run.

    Args:
        words: how many of the most usual English words are looked at.
        sure: words less like any concept than this (a cosine, and what kinship adds) are left out.
        kinship: what is added where a concept is another name for the word; the less, the more
            links of "is a kind of" lie between, and nothing beyond `links` of them.
    """

    words: int = 100_000
    sure: float = 0.3
    kinship: float = 0.3
    links: int = 5
    batch: int = 128
    matrix_rate: float = 0.01
    rate: float = 1e-3
    caption_weight: float = 2.0
    minutes: float = 8.0


@dataclass(frozen=True)
class Meaning:
    """A word and the concept that it means most nearly."""

    word: str
    concept: int


def find_meanings(config: Config, concepts: Sequence[Concept], cache: Path) -> list[Meaning]:
    """Find what the usual nouns for visible things mean, leaving out concepts' names and tags."""
    net = load_wordnet(cache / "packages")
    said = said_of(concepts)
    words = [w for w in english_words(config.words) if net.visible(w) and w not in said]
    names = list(dict.fromkeys(n for c in concepts for n in (c.label, *c.names)))
    phrases = [*words, *(n for n in names if n not in words)]
    vectors = sentence_vectors([net.describe(p) for p in phrases], cache / "words", "glosses")
    lexicon = Lexicon.of(phrases, vectors, concepts)
    likeness = lexicon.likeness(torch.arange(len(words))) + kinship(config, words, concepts, net)
    best, owners = likeness.max(1)
    found = zip(words, best.tolist(), owners.tolist(), strict=True)
    return [Meaning(word, owner) for word, value, owner in found if value > config.sure]


def kinship(
    config: Config, words: Sequence[str], concepts: Sequence[Concept], net: WordNet
) -> Tensor:
    """Score each word's kinship with each concept by the dictionary, (words, concepts).

    A concept that many words are kinds of, such as "bird", says less of each.

    Math: kinship·(1 − l/(L + 1))·(1 − ln n/ln N) for the fewest links l between the two, if at
    most L; of N words n are a kind of the concept
    Source: information content as likeness, Resnik 1995, arXiv:cmp-lg/9511007.
    """
    owners: dict[str, list[int]] = {}
    for index, concept in enumerate(concepts):
        for name in (concept.label, *concept.names):
            owners.setdefault(name.lower(), []).append(index)
    found = torch.zeros(len(words), len(concepts))
    for row, word in enumerate(words):
        steps = net.kinds(word, config.links)
        # The nearest last: it overwrites.
        for links, names in reversed(list(enumerate(steps))):
            kin = [index for name in names for index in owners.get(name, ())]
            found[row, kin] = config.kinship * (1 - links / (config.links + 1))
    kinds = (found > 0).sum(0).clamp(min=1)
    return found * (1 - kinds.log() / math.log(len(words)))


def matching(words: Tensor, names: Tensor, end: int) -> tuple[Tensor, Tensor]:
    """Align the tokens of a caption with a word to the same caption with a name.

    Counted back from each row's first end token: the end and what follows it, the shared words
    before it, and the last piece of the word or name itself. What stands before that is left out:
    the number of pieces differs.

    Args:
        words, names: tokens, (B, T); rows differ in one stretch.
        end: the end token, which also pads.
    Returns:
        For each position of `words` the position in `names`, (B, T), and whether it counts, (B, T).
    """
    length = words.shape[1]
    at = torch.arange(length)
    ends = [(rows == end).int().argmax(1, keepdim=True) for rows in (words, names)]
    partner = (at - ends[0] + ends[1]).clamp(0, length - 1)
    equal = (words == names.gather(1, partner)) | (at >= ends[0])
    # Counted from the right: everything up to the first difference, and that one too.
    differing = (~equal).flip(1).int().cumsum(1).flip(1)
    first = (differing == 1) & ~equal
    return partner, (differing == 0) | first


def state_error(found: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """The squared error of each position's state in units of its features' spread, (B, T)."""
    return ((found - wanted) / spread).square().mean(2)


class Teacher:
    """The text encoder as it was, and captions that ask for the same in a word or in a name."""

    def __init__(
        self, text: CLIPTextModel, corpus: Corpus, meanings: Sequence[Meaning], seed: int
    ) -> None:
        self._text = deepcopy(text).eval().requires_grad_(False)
        self._corpus, self._meanings = corpus, meanings
        self._rng = np.random.default_rng((seed, 3))
        self._end = text.config.eos_token_id
        states = self.states(corpus.draw(256).tokens)
        self.spread = states.flatten(0, 1).std(0)

    @torch.no_grad()
    def states(self, tokens: Tensor) -> Tensor:
        """The last hidden states, (B, T, hidden)."""
        found: Tensor = self._text(tokens).last_hidden_state
        return found

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Tokens of captions with a word and of the same captions with its concept's label."""
        rng, captions = self._rng, (list[str](), list[str]())
        for row in rng.integers(len(self._meanings), size=count):
            meaning = self._meanings[row]
            style = STYLES[rng.integers(len(STYLES))]
            background = BACKGROUND_NAMES[rng.integers(len(BACKGROUND_NAMES))]
            bare, again = rng.random() < 0.4, int(rng.integers(1 << 31))
            concept = self._corpus.concepts[meaning.concept]
            for said, side in zip((meaning.word, concept.label), captions, strict=True):
                named = replace(concept, label=said, names=(), tags=(), near=())
                shown = (DEFAULT_STYLE, BACKGROUND_NAMES[0]) if bare else (style, background)
                side.append(caption(named, *shown, NAME_ONLY, np.random.default_rng(again)))
        words, names = (tokenize(self._corpus.tokenizer, side) for side in captions)
        return words, names

    def word_error(self, student: CLIPTextModel, count: int) -> Tensor:
        """Error of the student's states of words against the teacher's of names."""
        words, names = self.pairs(count)
        partner, counts = matching(words, names, self._end)
        wanted = self.states(names)
        wanted = wanted.gather(1, partner[..., None].expand_as(wanted))
        errors = state_error(student(words).last_hidden_state, wanted, self.spread)
        return errors[counts].mean()

    def caption_error(self, student: CLIPTextModel, count: int) -> Tensor:
        """Error of the student's states of usual captions against the teacher's."""
        tokens = self._corpus.draw(count, caption_dropout=0.05).tokens
        found = student(tokens).last_hidden_state
        return state_error(found, self.states(tokens), self.spread).mean()


def learner_of(config: Config, text: CLIPTextModel, teacher: Teacher) -> loop.Learner:
    """The text encoder, with the errors of words and of captions as its loss."""
    parts: list[float] = []

    def loss(_: float) -> Tensor:
        words = teacher.word_error(text, config.batch)
        captions = teacher.caption_error(text, config.batch)
        parts[:] = words.item(), captions.item()
        return words + config.caption_weight * captions

    def note() -> str:
        return "of words {:.4f}, of captions {:.4f}".format(*parts)

    optimizers = muon_and_adam(text.named_parameters(), BY_ELEMENT, config.matrix_rate, config.rate)
    return loop.Learner(text, optimizers, loss, note=note, prefix="", clip=1.0)


@torch.no_grad()
def nearest(
    text: CLIPTextModel, tokenizer: CLIPTokenizer, concepts: Sequence[Concept], words: Sequence[str]
) -> Tensor:
    """Rank all concepts for each word by their labels' last states, nearest first, (N, C)."""

    def ends(phrases: Sequence[str]) -> Tensor:
        states: Tensor = text(tokenize(tokenizer, phrases)).pooler_output
        return states

    labels = ends([c.label for c in concepts])
    mean = labels.mean(0)
    likeness = torch.cosine_similarity((ends(words) - mean)[:, None], labels - mean, dim=2)
    return likeness.argsort(1, descending=True)


def log_synonyms(text: CLIPTextModel, corpus: Corpus) -> None:
    """Log how many of the words kept for evaluation lie nearest to what they mean."""
    index = {c.label: i for i, c in enumerate(corpus.concepts)}
    wanted = torch.tensor([index[label] for label in SYNONYMS.values()])
    order = nearest(text, corpus.tokenizer, corpus.concepts, list(SYNONYMS))
    rank = (order == wanted[:, None]).int().argmax(1)
    log.info(
        "of %d kept words, nearest to what they mean: %d; among five: %d",
        len(rank), int((rank < 1).sum()), int((rank < 5).sum()),
    )  # fmt: skip


def averaged_text(cache: Path) -> tuple[CLIPTextModel, int]:
    """The text encoder of the UNet's checkpoint, and the step it is of."""
    config = read_config(cache / "unet")
    tensors, state = load_checkpoint(cache / "unet" / "checkpoint.safetensors")
    weights = unprefixed(unprefixed(tensors, "average"), "text")
    (size,) = [len(w) for name, w in weights.items() if name.endswith("token_embedding.weight")]
    text = build_text_encoder(size, config.text_hidden, config.text_layers)
    text.load_state_dict(weights)
    return text, int(state["step"])


def taught_text(cache: Path, step: int) -> dict[str, Tensor] | None:
    """Read this stage's weights for the text encoder of that UNet step, if there are any."""
    path = cache / CHECKPOINT
    if not path.exists():
        return None
    tensors, state = load_checkpoint(path)
    return loop.without_optimizers(tensors) if state["unet_step"] == step else None


def train(config: Config, cache: Path, resume: bool) -> Path:
    """Teach the text encoder of the UNet's checkpoint, and return the new weights' path."""
    path = cache / CHECKPOINT
    open_run(path.parent, "meanings", config)
    text, step = averaged_text(cache)
    start = loop.start_of(path, resume, {"unet_step": step})
    # A run that goes on meets other captions than it began with.
    stream = (start.step,) if start.step else ()
    corpus = prepare(read_config(cache / "unet"), cache, stream).corpus
    meanings = find_meanings(config, corpus.concepts, cache)
    log.info("%d words mean one of %d concepts", len(meanings), len(corpus.concepts))
    log_synonyms(text, corpus)
    teacher = Teacher(text, corpus, meanings, config.seed + start.step)
    loop.train(learner_of(config, text.train(), teacher), config, path, start)
    log_synonyms(text.eval(), corpus)
    return path


if __name__ == "__main__":
    run_stage(__doc__, Config, train)
