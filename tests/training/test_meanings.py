"""Words that no caption holds: the dictionary, and which states teach which."""

import torch

from training.data.wordnet import WordNet, parse_noun
from training.meanings import matching

START, END = 0, 1
DOG = (
    "02086723 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02085998 n 0000 "
    '| a member of the genus Canis; has many breeds; "the dog barked"\n'
)
IDEA = "00000000 09 n 01 idea 0 000 | the content of cognition\n"
INDEX = f"  1 licence\ndog n 2 1 @ 2 1 00000000 02086723\nidea n 1 0 1 1 {len(DOG):08d}\n"


def test_a_noun_has_its_words_and_its_definition_without_examples() -> None:
    noun = parse_noun(DOG)
    assert noun.synonyms == ("dog", "domestic dog", "Canis familiaris")
    assert noun.gloss == "a member of the genus Canis; has many breeds"
    assert noun.describe("pup").startswith("pup (dog, domestic dog, Canis familiaris): a member")


def test_the_first_sense_is_taken_and_plurals_are_found() -> None:
    net = WordNet(INDEX, (DOG + IDEA).encode())
    assert net.find("Dogs") == parse_noun(DOG)
    assert net.find("unicorn") is None
    assert net.describe("unicorn") == "unicorn"


def test_only_nouns_for_what_can_be_seen_are_visible() -> None:
    net = WordNet(INDEX, (DOG + IDEA).encode())
    assert [net.visible(word) for word in ("dog", "dogs", "idea", "unicorn")] == [
        True, False, False, False,
    ]  # fmt: skip


def test_matching_goes_back_from_the_end_to_the_last_piece_of_the_name() -> None:
    """ "a st all ion , flat" by "a horse , flat": the end, the shared words, "ion" by "horse"."""
    word = torch.tensor([[START, 5, 10, 11, 12, 7, 8, END, END, END]])
    name = torch.tensor([[START, 5, 20, 7, 8, END, END, END, END, END]])
    partner, counts = matching(word, name, END)
    assert counts[0].tolist() == [False] * 4 + [True] * 6
    assert partner[0, 4:].tolist() == [2, 3, 4, 5, 6, 7]


def test_matching_leaves_out_the_words_before_the_name() -> None:
    word = torch.tensor([[START, 5, 10, END, END]])
    name = torch.tensor([[START, 5, 20, END, END]])
    partner, counts = matching(word, name, END)
    assert partner[0].tolist() == [0, 1, 2, 3, 4]
    assert counts[0].tolist() == [False, False, True, True, True]
