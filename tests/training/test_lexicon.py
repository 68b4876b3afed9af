"""What words mean in terms of concepts, on a table small enough to reckon by hand."""

import pytest
import torch

from training.data.concepts import Concept
from training.data.corpus import NOTHING, Batch
from training.data.lexicon import DOUBTFUL, SURE, TEMPERATURE, Lexicon, centred, with_near_words
from training.stages.text_encoder import Heads

CONCEPTS = [Concept("1", "dog", ("hound",), ("pet",)), Concept("2", "car", (), ())]


def at(degrees: float) -> list[float]:
    """A meaning in the plane: cosines are then those of the angles between."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return [float(angle.cos()), float(angle.sin())]


PHRASES = {
    "dog": 0.0, "hound": 40.0, "car": 180.0, "puppy": 50.0, "pet": 5.0, "cart": 185.0,
    "idea": 270.0,
}  # fmt: skip


@pytest.fixture
def lexicon() -> Lexicon:
    vectors = torch.tensor([at(angle) for angle in PHRASES.values()])
    names, owners = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1])
    return Lexicon(list(PHRASES), vectors, names, owners, 2)


def row(name: str) -> torch.Tensor:
    return torch.tensor([list(PHRASES).index(name)])


def cosine(degrees: float) -> float:
    return at(degrees)[0]


def test_what_all_phrases_share_is_taken_out_of_their_meaning() -> None:
    vectors = torch.tensor([[1.0, 0.1, 0.0], [1.0, -0.1, 0.0], [1.0, 0.0, 0.1], [1.0, 0.0, -0.1]])
    found = centred(vectors)
    assert torch.allclose(found.norm(dim=1), torch.ones(4))
    assert float(found[0] @ found[1]) == pytest.approx(-1)
    assert float(found[0] @ found[2]) == pytest.approx(0, abs=1e-6)


def test_names_are_found_among_the_phrases() -> None:
    vectors = torch.eye(7)
    found = Lexicon.of(list(PHRASES), vectors, CONCEPTS)
    assert found.names.tolist() == [0, 1, 2]
    assert found.owners.tolist() == [0, 0, 1]
    assert torch.allclose(found.vectors, centred(vectors))
    with pytest.raises(KeyError, match="car"):
        Lexicon.of(["dog", "hound"], vectors[:2], CONCEPTS)


def test_the_nearest_name_of_a_concept_counts(lexicon: Lexicon) -> None:
    found = lexicon.likeness(row("puppy"))
    assert found[0].tolist() == pytest.approx([cosine(10), cosine(130)], abs=1e-6)


def test_kin_are_odds_and_sureness_rises_between_the_two_bounds(lexicon: Lexicon) -> None:
    odds, sure = lexicon.kin(torch.cat([row("puppy"), row("idea")]))
    ratio = float(odds[0, 0] / odds[0, 1])
    assert ratio == pytest.approx(
        2.718281828 ** ((cosine(10) - cosine(130)) / TEMPERATURE), rel=1e-3
    )
    assert odds.sum(1).tolist() == pytest.approx([1, 1])
    assert sure.tolist() == [1, 0], "270° is 90° from both concepts"
    half = Lexicon(["x"], torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor([0]), 1)
    middle = (SURE + DOUBTFUL) / 2
    turned = torch.tensor([[middle, (1 - middle**2) ** 0.5], [1.0, 0.0]])
    found = Lexicon(["x", "n"], turned, torch.tensor([1]), half.owners, 1).kin(torch.tensor([0]))
    assert float(found[1]) == pytest.approx(0.5, abs=1e-5)


def test_words_that_mean_a_concept_come_ten_times_as_often(lexicon: Lexicon) -> None:
    odds = lexicon.odds()
    assert odds.sum() == pytest.approx(1)
    puppy, idea = (float(odds[int(row(name))]) for name in ("puppy", "idea"))
    assert puppy / idea == pytest.approx(10, rel=1e-6)


def test_near_words_are_new_sure_and_kept_from_the_evaluation(lexicon: Lexicon) -> None:
    near = with_near_words(CONCEPTS, lexicon)
    assert [concept.near for concept in near] == [("puppy",), ("cart",)]
    phrases = ["canine" if name == "puppy" else name for name in PHRASES]
    kept = Lexicon(phrases, lexicon.vectors, lexicon.names, lexicon.owners, 2)
    assert with_near_words(CONCEPTS, kept)[0].near == (), "a word that is asked for in evaluation"


def test_losses_of_words_are_cosines_and_divergences(lexicon: Lexicon) -> None:
    torch.manual_seed(0)
    heads, state = Heads(8, 2, 2), torch.randn(2, 8)
    rows = torch.cat([row("puppy"), row("idea")])
    meaning, kin = heads.word_losses(state, lexicon, rows).tolist()
    own = torch.nn.functional.normalize(heads.meaning(state).detach(), dim=1)
    assert meaning == pytest.approx(
        1 - float((own * lexicon.vectors[rows]).sum(1).mean()), abs=1e-6
    )
    p, q = lexicon.kin(rows)[0][0], heads.concept(state)[0].detach().softmax(0)
    # Half, for the second phrase means nothing surely.
    assert kin == pytest.approx(0.5 * float((p * (p / q).log()).sum()), abs=1e-5)


def test_scenes_teach_no_concept() -> None:
    torch.manual_seed(0)
    heads, state = Heads(8, 3, 4), torch.randn(2, 8)
    latents, tokens = torch.zeros(2, 4, 16, 16), torch.zeros(2, 1, dtype=torch.int64)
    emoji = Batch(latents, tokens, torch.tensor([[1, 1], [0, 0], [2, 2]]))
    mixed = Batch(latents, tokens, torch.tensor([[1, NOTHING], [0, NOTHING], [2, NOTHING]]))
    alone = Batch(latents[:1], tokens[:1], emoji.picked[:, :1])
    found = heads.losses(state, mixed)[:3]
    assert torch.allclose(found, heads.losses(state[:1], alone)[:3])
    assert not torch.allclose(found, heads.losses(state, emoji)[:3])
