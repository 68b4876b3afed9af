"""Words that no caption holds: the dictionary, and which states teach which."""

import math

import torch

from training.data.concepts import Concept
from training.data.wordnet import WordNet, parse_noun
from training.stages.meanings import Config, kinship, matching

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


def line(offset: int, words: str, above: int | None = None) -> str:
    """A line of `data.noun` that stands at `offset`, with one link to what it is a kind of."""
    links = "000" if above is None else f"002 ~ 99999999 n 0000 @ {above:08d} n 0000"
    names = words.split()
    head = f"{offset:08d} 05 n {len(names):02x} " + " ".join(f"{name} 0" for name in names)
    return f"{head} {links} | something\n"


def family() -> WordNet:
    """Beagle, a kind of hound, which is a dog, which is an animal; and a cat, an animal too."""
    names = {"animal": None, "dog domestic_dog": 0, "hound": 1, "beagle": 2, "cat": 0}
    offsets: list[int] = []
    data = ""
    for words, above in names.items():
        offsets.append(len(data))
        data += line(len(data), words, None if above is None else offsets[above])
    index = "".join(
        f"{word} n 1 1 @ 1 0 {offset:08d}\n"
        for words, offset in zip(names, offsets, strict=True)
        for word in words.split()
    )
    return WordNet(index, data.encode())


def test_what_a_word_is_a_kind_of_is_found_link_by_link() -> None:
    net = family()
    steps = [{"beagle"}, {"hound"}, {"dog", "domestic dog"}, {"animal"}]
    assert net.kinds("Beagle", 5) == steps
    assert net.kinds("beagle", 2) == steps[:3]
    assert net.kinds("unicorn", 5) == []


def test_kinship_falls_with_the_links_and_with_how_many_are_of_the_kind() -> None:
    concepts = [
        Concept("1", "dog", (), ()),
        Concept("2", "animal", (), ()),
        Concept("3", "x", (), ()),
    ]
    words = ["beagle", "hound", "cat"]
    config = Config(kinship=0.6, links=5)
    found = kinship(config, words, concepts, family())
    share = [1 - math.log(2) / math.log(3), 0.0]
    wanted = [[0.6 * 4 / 6 * share[0], 0, 0], [0.6 * 5 / 6 * share[0], 0, 0], [0, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(wanted))
