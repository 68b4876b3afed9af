"""Labels: the text itself in every script, measured lines, and the part that differs."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from pipelines.runs.lettering.font_search import SHIPPED, installed_fonts
from pipelines.runs.lettering.typeface import INK
from pipelines.runs.lettering.typesetter import Line, Typesetter

SIZE = 24


def lines_of(text: str, width: float = 10_000, most: int = 50) -> list[Line]:
    return Typesetter(SIZE).set_labels([text], width, most)[0]


def said(lines: list[Line]) -> str:
    """The text of some lines as it stands, a blank between lines."""
    return " ".join("".join(text for _, text, _ in line.runs) for line in lines)


def drawn(text: str) -> Image.Image:
    page = Image.new("RGB", (500, 90), "white")
    Typesetter(SIZE).draw(page, lines_of(text), (0, 0, 500, 90))
    return page


def cropped(page: Image.Image) -> Image.Image:
    paper = Image.new("RGB", page.size, "white")
    box = ImageChops.difference(page, paper).getbbox()
    assert box is not None, "nothing was drawn"
    return page.crop(box)


@pytest.mark.parametrize(
    ("text", "font", "direction"),
    [
        ("crème brûlée, Ærøskøbing", "NotoSans", "ltr"),
        ("красное яблоко", "NotoSans", "ltr"),
        ("κόκκινο μήλο", "NotoSans", "ltr"),
        ("Ngôn ngữ tiếng Việt", "NotoSans", "ltr"),
        ("تفاحة", "NotoSansArabic", "rtl"),
        ("תפוח", "NotoSansHebrew", "rtl"),
        ("क्षत्रिय", "NotoSansDevanagari", "ltr"),
        ("ปั้นเก้าอี้", "NotoSansThai", "ltr"),
    ],
)
def test_a_label_is_its_text(text: str, font: str, direction: str) -> None:
    """Pixel for pixel what the script's own font draws, joined and stacked as it should be."""
    opened = ImageFont.truetype(str(SHIPPED / f"{font}-Regular.ttf"), SIZE)
    wanted = Image.new("RGB", (500, 90), "white")
    ImageDraw.Draw(wanted).text(
        (80, 50), text, fill=INK, font=opened, anchor="ls", direction=direction
    )
    one, other = cropped(drawn(text)), cropped(wanted)
    # Centred, it may begin at half a pixel.
    assert abs(one.width - other.width) <= 1 and one.height == other.height
    size = (min(one.width, other.width), one.height)
    shifts = [ImageChops.offset(one, by, 0).crop((0, 0, *size)) for by in (0, 1, -1)]
    apart = min(ink(ImageChops.difference(shift, other.crop((0, 0, *size)))) for shift in shifts)
    assert apart < 0.35 * ink(ImageChops.invert(other))


def ink(picture: Image.Image) -> int:
    grey = picture.convert("L").histogram()
    return sum(level * count for level, count in enumerate(grey))


def test_several_scripts_and_directions_on_a_line() -> None:
    (line,) = lines_of("red תפוח אדום 12 и ещё")
    assert [(text.strip(), left) for _, text, left in line.runs if text.strip()] == [
        ("red", False),
        ("12", False),
        ("אדום", True),
        ("תפוח", True),
        ("и ещё", False),
    ]
    assert line.width == pytest.approx(
        sum(face.width(text, left) for face, text, left in line.runs)
    )


def test_what_no_font_has_is_named_by_its_number() -> None:
    lone = "\U0010fffd"
    assert said(lines_of(f"a {lone}{lone}b")) == "a U+10FFFD U+10FFFDb"
    assert said(lines_of("\ud800")) == "U+D800"
    assert cropped(drawn("\U0010fffd")).tobytes() != cropped(drawn("\U0010fffc")).tobytes()


def test_signs_of_several_characters_stay_whole() -> None:
    family, flag, letter = "👩‍👩‍👧‍👦", "🇩🇪", "x\u0323\u0301"
    whole = said(lines_of(f"{family} {flag} {letter}"))
    assert letter in whole
    for sign in (family, flag):
        needed = sign.replace("\u200d", "")
        numbers = "U+" + "+".join(f"{ord(one):04X}" for one in needed)
        assert sign in whole or numbers in whole


def test_emoji_are_in_colour_where_a_colour_font_is() -> None:
    from pipelines.runs.lettering.font_file import coverage

    colour = [one for one in installed_fonts() if coverage(one.path, one.index).colour]
    has = any("🍎" in coverage(one.path, one.index) for one in colour)
    page = cropped(drawn("🍎"))
    red = sum(r > 150 and g < 110 and b < 110 for r, g, b in page.getdata())
    assert (red > 20) == has
    if has:
        assert SIZE * 0.8 < page.height < SIZE * 1.5, "as tall as the text beside it"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb", "a b"),
        ("a\nb\r\nc\u2028d", "a b c d"),
        ("bell\x07", "bell\\x07"),
        ("soft\u00adhyphen \u202eabc\u200b", "softhyphen abc"),
        ("e\u0301", "é"),
        ("9" * 40, "9" * 40),
        ("  a   b ", "a b"),
    ],
)
def test_odd_characters(text: str, shown: str) -> None:
    assert said(lines_of(text)) == shown
    assert len(lines_of("a\nb\r\nc")) == 3


LONG = {
    "words": "a photograph of a red apple on a wooden table in the evening light " * 15,
    "one word": "x" * 1000,
    "a path": "/models/some_very-long/path/to.a/" * 30,
    "Chinese": "桌子上有一个红苹果，光线柔和。" * 70,
    "Thai": "แอปเปิ้ลสีแดงบนโต๊ะไม้" * 40,
    "Arabic": "تفاحة حمراء على طاولة خشبية " * 30,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("width", [60, 164, 500])
def test_no_line_is_wider_than_its_room(text: str, width: int) -> None:
    found = lines_of(text, width, most=6)
    assert len(found) == 6 and max(line.width for line in found) <= width + 1
    assert len(lines_of(text, width, 10_000)) > 6


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("width", [60, 164])
def test_cut_labels_show_where_they_differ(text: str, width: int) -> None:
    """At the end, at the start, in the middle; and one that is the beginning of another."""
    half = len(text) // 2
    labels = [text + " cat", text + " dog", f"blue {text}", text[:half] + " Q " + text[half:], text]
    found = [said(lines) for lines in Typesetter(13).set_labels(labels, width, 6)]
    assert len(set(found)) == len(labels), found
    assert "cat" in found[0] and "dog" in found[1] and "blue" in found[2] and "Q" in found[3]
    assert all("…" in one for one in found)


def test_labels_that_fit_are_left_alone() -> None:
    found = Typesetter(13).set_labels(["short", "word " * 200], 160, 6)
    assert said(found[0]) == "short" and said(found[1]).startswith("word word")


def test_lines_break_where_readers_break_them() -> None:
    setter = Typesetter(SIZE)
    room = setter.widest_word(["photograph"]) + 1
    assert [said([line]) for line in setter.set_labels(["a photograph of it"], room, 9)[0]] == [
        "a",
        "photograph",
        "of it",
    ]
    chinese = [said([line]) for line in setter.set_labels(["桌子，苹果（红）"], SIZE * 3.2, 9)[0]]
    if "U+" not in "".join(chinese):
        assert not any(line[0] in "，）" or line[-1] == "（" for line in chinese)
