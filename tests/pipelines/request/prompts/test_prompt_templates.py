"""Prompt templates: what they stand for, and that nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import presets
from pipelines import InvalidRequest, UnknownName
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.prompts.prompt_templates import MOST_PROMPTS, expand, is_template, wildcards

FORTY = "{" + "|".join(map(str, range(40))) + "}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "fruit.txt").write_text("# fruits\npear\n\napple\n{red|green} plum\n")
    (tmp_path / "deep" / "cloth.txt").write_text("50% wool // cotton #1 $5\n")
    (tmp_path / "loop.txt").write_text("a __loop__\n")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    return tmp_path


ICE = "chocolate", "vanilla", "strawberry"
SHAPES = "A {red|green|blue} {square|circle}"
# From the library's own docs/SYNTAX.md: template to all that it says it stands for.
EXAMPLES = {
    "{summer|autumn|winter|spring} is coming": [
        f"{season} is coming" for season in ("summer", "autumn", "winter", "spring")
    ],
    "{0.5::summer|0.1::autumn|0.3::winter|0.1::spring}": ["summer", "autumn", "winter", "spring"],
    "flavours are {2$$ and $$chocolate|vanilla|strawberry}": [
        f"flavours are {a} and {b}" for a in ICE for b in ICE if a != b
    ],
    "{1-2$$ and $$chocolate|vanilla|strawberry}": [
        *ICE, *(f"{a} and {b}" for a in ICE for b in ICE if a != b)
    ],
    "{2$$chocolate|vanilla|strawberry}": [f"{a},{b}" for a in ICE for b in ICE if a != b],
    "{4$$chocolate|vanilla}": ["chocolate,vanilla", "vanilla,chocolate"],
    SHAPES: [f"A {c} {s}" for c in ("red", "green", "blue") for s in ("square", "circle")],
    "${season=winter} In ${season}, I wear ${season} shirts": ["In winter, I wear winter shirts"],
    "In ${season:summer}, I wear ${season:summer} shirts": ["In summer, I wear summer shirts"],
    "The shirt is __colours*__": [
        f"The shirt is {colour}" for colour in ("blue", "green", "red", "yellow")
    ],
    "{2$$__colours-cold__}": ["blue,green", "green,blue"],
    "__seasons__ is coming": [
        f"{season} is coming" for season in ("summer", "autumn", "fall", "winter", "spring")
    ],
    "__clothes(season=winter)__": ["In winter, I wear winter shirts"],
}  # fmt: skip


@pytest.mark.parametrize("template", EXAMPLES)
def test_templates_stand_for_what_the_library_says(template, tmp_path):
    (tmp_path / "colours-cold.txt").write_text("# colours-cold.txt\nblue\ngreen\n")
    (tmp_path / "colours-warm.txt").write_text("red\nyellow\n")
    (tmp_path / "seasons.txt").write_text("summer\n{autumn|fall}\nwinter\nspring\n")
    (tmp_path / "clothes.txt").write_text("In ${season}, I wear ${season} shirts\n")
    assert list(expand(template, [tmp_path])) == EXAMPLES[template]


WHO = "yoda", "darth vader", "jabba the hutt", "princess leia", "chewbacca", "luke skywalker"
STUFF = "wood", "plastic", "metal", "stone"
SHOT = "product studio shot, on a white background, diffused lighting, centered"
MONTHS = "June", "July", "August"
# From the library's README.md, as above.
READMES = {
    "{summer|autumn|winter|spring} is coming": [
        f"{season} is coming" for season in ("summer", "autumn", "winter", "spring")
    ],
    "{2$$ and $$A|B|C}": ["A and B", "A and C", "B and A", "B and C", "C and A", "C and B"],
    "__season__ is coming": [
        f"{season} is coming" for season in ("Summer", "August", "Winter", "Sprint")
    ],
    f"Funko pop {{{'|'.join(WHO)}}} figurine, made of {{{'|'.join(STUFF)}}}, {SHOT}": [
        f"Funko pop {who} figurine, made of {stuff}, {SHOT}" for who in WHO for stuff in STUFF
    ],
    f"Funko pop {{2$$ and $${'|'.join(WHO)}}} figurine, made of {{{'|'.join(STUFF)}}}, {SHOT}": [
        f"Funko pop {one} and {two} figurine, made of {stuff}, {SHOT}"
        for one in WHO for two in WHO if one != two for stuff in STUFF
    ],
    "Funko pop __starwars__ figurine, made of __material__, __studio-shot__": [
        f"Funko pop {who} figurine, made of {stuff}, {SHOT}" for who in WHO for stuff in STUFF
    ],
    "I love {red|green|blue} roses": [f"I love {c} roses" for c in ("red", "green", "blue")],
    "I love __colours__ roses": [
        f"I love {colour} roses" for colour in ("red", "green", "blue", "purple", "yellow")
    ],
    "I {love|hate} {New York|Chicago} in {June|July|August}": [
        f"I {feel} {city} in {month}"
        for feel in ("love", "hate") for city in ("New York", "Chicago") for month in MONTHS
    ],
    "My favourite season is __season__": [
        f"My favourite season is {season}" for season in ("Summer", "August", "Winter", "Sprint")
    ],
}  # fmt: skip


@pytest.fixture
def lists(tmp_path):
    """The README's wildcard files; its comment is one line of the first."""
    for name, lines in {
        "season": ("Summer", "August", "Winter", "Sprint"),
        "starwars": ("# starwars.txt", *WHO),
        "material": STUFF,
        "studio-shot": (SHOT,),
        "colours": ("red", "green", "blue", "purple", "yellow"),
        "ten": [f"colour {i}" for i in range(10)],
    }.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("template", READMES)
def test_templates_of_the_librarys_readme(template, lists):
    assert list(expand(template, [lists])) == READMES[template]


def test_the_readmes_thousand_and_its_drawn_roses(lists):
    ten = expand("My favourite colours are __ten__, __ten__, and __ten__", [lists])
    assert len(ten) == 1000 and ten[:2] == (
        "My favourite colours are colour 0, colour 0, and colour 0",
        "My favourite colours are colour 0, colour 0, and colour 1",
    )
    drawn = expand("I love __colours__ roses", [lists], sample=3, seed=999)
    assert drawn == expand("I love __colours__ roses", [lists], sample=3, seed=999)
    assert set(drawn) < set(READMES["I love __colours__ roses"]) and len(set(drawn)) == 3


def test_the_readmes_spaces_and_lines_are_for_the_reader(lists):
    template = """Funko pop
    {2$$ and $$
  \t    yoda
\t\t|darth vader
\t\t|jabba the hutt
\t}
\tfigurine, made of
\t{
\t\twood
\t\t|plastic
\t}, product studio shot"""
    expected = [
        f"Funko pop {one} and {two} figurine, made of {stuff} , product studio shot"
        for one in WHO[:3]
        for two in WHO[:3]
        if one != two
        for stuff in STUFF[:2]
    ]
    # The line's end before the comma stays a space, as the library has it.
    assert list(expand(template, [lists])) == expected


def test_wildcards_keep_the_order_of_their_file(folder):
    (folder / "bad.txt").unlink()
    assert expand("a __fruit__", [folder]) == (
        "a pear", "a apple", "a red plum", "a green plum",
    )  # fmt: skip
    assert expand("__deep/cloth__ {x|y}", [folder])[1] == "50% wool // cotton #1 $5 y"


def test_of_equal_names_the_last_folder_wins(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "fruit.txt").write_text("fig\n")
    (folder / "bad.txt").unlink()
    assert expand("__fruit__", [folder, other]) == ("fig",)


def test_what_cannot_be_expanded_says_why(folder):
    with pytest.raises(InvalidRequest, match=r"bad\.txt cannot be read"):
        expand("{a|b}", [folder])
    (folder / "bad.txt").unlink()
    for template, kind, message in (
        ("__fruti__", UnknownName, "unknown wildcard 'fruti'; did you mean 'fruit'"),
        ("__loop__", InvalidRequest, "a wildcard that holds itself"),
        ("a {b|c", InvalidRequest, r"cannot be read as a template at '\{b\|c'"),
        ("{a|b} x__y", InvalidRequest, r"cannot be read as a template at '__y'"),
        ("${nobody}", InvalidRequest, "uses a variable it does not set"),
        (f"{FORTY} {FORTY}", InvalidRequest, r"more than 1000 prompts; write \[20\]"),
    ):
        with pytest.raises(kind, match=message):
            expand(template, [folder])
    with pytest.raises(InvalidRequest, match="stands for 2 prompts; 3 cannot be drawn"):
        expand("{a|b}", sample=3)
    with pytest.raises(InvalidRequest, match="the sample is 1001; it must be from 1 to 1000"):
        expand("{a|b}", sample=MOST_PROMPTS + 1)


@given(st.text().filter(lambda text: "{" not in text and "__" not in text))
def test_a_text_without_syntax_stands_for_itself(text):
    assert not is_template(text)
    assert expand(text) == (text,)


def test_special_characters_can_be_meant_as_they_are():
    assert expand(r"\{a\|b\} {c|d\|e} \_\_f\_\_ 5% $3 http://x #1 \(g\)") == (
        r"{a|b} c __f__ 5% $3 http://x #1 \(g\)",
        r"{a|b} d|e __f__ 5% $3 http://x #1 \(g\)",
    )


@pytest.mark.parametrize("template", [f"{FORTY} {{a|b}}", f"{FORTY} {FORTY} {FORTY} {FORTY}"])
def test_a_sample_is_the_same_for_the_same_seed(template):
    drawn = expand(template, sample=20, seed=7)
    assert len(set(drawn)) == 20
    assert drawn == expand(template, sample=20, seed=7)
    assert drawn != expand(template, sample=20, seed=8)


def test_an_axis_of_variants_is_an_axis_of_prompts():
    axis = parse_axis("prompt_variants=a {red|green} apple, cut & seed=1,2")
    assert (axis.field, axis.values) == ("prompt", ("a red apple, cut", "a green apple, cut"))
    assert axis.zipped[0].values == (1, 2)
    assert parse_axis('Prompt variants="say ""{a|b}"""').values == ('say "a"', 'say "b"')
    sampled = parse_axis(f"prompt_variants={FORTY} [3 @7]").values
    assert sampled == expand(FORTY, sample=3, seed=7)
    assert parse_axis(f"prompt_variants={FORTY}[3]").values == expand(FORTY, sample=3)
    assert parse_axis("prompt={a|b}").values == ("{a|b}",)
    with pytest.raises(InvalidRequest, match="has no template"):
        parse_axis("prompt_variants= ")


def test_the_wildcards_that_ship(tmp_path, monkeypatch):
    shipped, own = presets.wildcard_folders()
    assert {"background", "colour", "look"} <= set(wildcards([shipped]))
    assert all(wildcards([shipped]).values()) and own.name == "wildcards"
    monkeypatch.setenv("CONTACT_SHEET_WILDCARDS", str(tmp_path))
    (tmp_path / "look.txt").write_text("neat\n")
    assert expand("__look__", presets.wildcard_folders()) == ("neat",)
