"""The judge learns real drawings, and its verdicts follow what was asked."""

import numpy as np
import torch

from training.data.concepts import Concept
from training.data.drawings import STYLES, Drawings
from training.data.renderings import Renderings, shrunk
from training.data.synonyms import SYNONYMS
from training.judges.classifier import Classifier, accuracy
from training.judges.verdicts import Ask, judge, unseen_words

CONCEPTS = [Concept(str(i), f"thing {i}", (), ()) for i in range(3)]
PALETTE = ((220, 60, 60), (80, 180, 85), (65, 130, 240))


def shapes() -> Drawings:
    """Concepts are colours; styles are a disc, a square and a bar."""
    y, x = np.mgrid[-64:64, -64:64]
    masks = (x**2 + y**2 < 45**2, (abs(x) < 40) & (abs(y) < 40), (abs(x) < 50) & (abs(y) < 12))
    keys, rows = [], []
    for concept, colour in zip(CONCEPTS, PALETTE, strict=True):
        for style, mask in zip(STYLES, masks, strict=True):
            rgba = np.zeros((128, 128, 4), np.uint8)
            rgba[mask] = (*colour, 255)
            keys.append((concept.code, style))
            rows.append(rgba)
    return Drawings(np.stack(rows), keys, {})


def test_renderings_show_what_their_labels_say() -> None:
    pictures, concepts, styles = Renderings(shapes(), CONCEPTS, 0).draw(60)
    assert pictures.shape == (60, 3, 64, 64)
    assert pictures.abs().max() <= 1
    middle = ((pictures[:, :, 30:34, 30:34].mean((2, 3)) + 1) * 127.5)[:, None]
    nearest = (middle - torch.tensor(PALETTE)).square().sum(-1).argmin(1)
    assert (nearest == concepts).float().mean() > 0.95
    assert concepts.bincount(minlength=3).min() > 5
    assert styles.bincount(minlength=3).min() > 5


def test_the_same_seed_gives_the_same_renderings() -> None:
    first, again, other = (Renderings(shapes(), CONCEPTS, seed).draw(4)[0] for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_it_learns_and_judges() -> None:
    torch.manual_seed(0)
    drawings = shapes()
    model = Classifier(len(CONCEPTS), (8, 16))
    seen = Renderings(drawings, CONCEPTS, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = accuracy(model, Renderings(drawings, CONCEPTS, 9), 100)
    for _ in range(150):
        pictures, concepts, styles = seen.draw(32)
        found = model(pictures)
        loss = torch.nn.functional.cross_entropy(found[0], concepts)
        (loss + torch.nn.functional.cross_entropy(found[1], styles)).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = accuracy(model, Renderings(drawings, CONCEPTS, 9), 100)
    assert after[0] > 0.9 > before[0]
    assert after[1] > 0.7 > before[1]
    picture = np.full((128, 128, 3), (20, 20, 20), np.float32)
    rgba = drawings.pixels[drawings.keys.index(("1", "flat"))]
    picture[rgba[..., 3] > 0] = PALETTE[1]
    asks = [Ask(1, "flat", "black", ""), Ask(2, "noto", "white", "")]
    verdict = judge(np.stack([picture, picture]), asks, model.eval())
    assert verdict.rank[0] == 0 < verdict.rank[1]
    assert verdict.likelihood[0] > 0.5 > verdict.likelihood[1]
    assert verdict.style.tolist() == [True, False]
    assert verdict.background.tolist() == [True, False]


def test_shrinking_keeps_colours() -> None:
    found = shrunk(np.full((1, 128, 128, 3), (0, 127.5, 255), np.float32))
    assert found.shape == (1, 3, 64, 64)
    assert found.mean((0, 2, 3)).tolist() == [-1, 0, 1]


def test_sixty_words_are_asked_for_that_mean_known_concepts() -> None:
    labels = list(dict.fromkeys(SYNONYMS.values()))
    asks = unseen_words([Concept(str(i), label, (), ()) for i, label in enumerate(labels)])
    assert len(asks) == 60
    assert [labels[ask.concept] for ask in asks] == list(SYNONYMS.values())
    assert asks[0].caption == "a hound"
