"""Requests, axes and sheets: what they accept, what they refuse, and that nothing is lost."""

from __future__ import annotations

import io
import itertools
import json
import math

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.request.base import PROMPT_MAX
from pipelines.request.control import MODES, Control
from pipelines.request.request import OMITTED_DEFAULTS, SEED_MAX, Request
from pipelines.request.sheet import Axis, Sheet
from pipelines.runs.png_metadata import png_info, read_request
from pipelines.samplers import SAMPLERS, SCHEDULES

CHOICES = [(row.id, schedule) for row in SAMPLERS.values() for schedule in row.schedules]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
FRACTIONS = st.floats(0.0, 1.0)
PIXELS = st.none() | st.integers(8, 8192)


PARAMETERS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=9),
    st.booleans() | st.integers(-999, 999) | st.floats(-9.0, 9.0) | TEXTS,
    max_size=3,
)


@st.composite
def controls(draw):
    start, stop = sorted([draw(FRACTIONS), draw(FRACTIONS)])
    return Control(
        image=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        preprocessor=draw(st.sampled_from(["none", "canny"])),
        parameters=draw(PARAMETERS),
        model=draw(st.none() | st.sampled_from(["canny", "depth"])),
        strength=draw(st.floats(0.0, 2.0)),
        start=start,
        stop=stop,
        mode=draw(st.sampled_from(MODES)),
    )


@st.composite
def requests(draw):
    sampler, schedule = draw(st.sampled_from(CHOICES))
    start, stop = sorted([draw(FRACTIONS), draw(FRACTIONS)])
    return Request(
        model=draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)),
        prompt=draw(TEXTS),
        negative_prompt=draw(TEXTS),
        sampler=sampler,
        schedule=schedule,
        steps=draw(st.integers(1, 1000)),
        guidance_scale=draw(st.floats(0.0, 100.0)),
        guidance_rescale=draw(FRACTIONS),
        guidance_start=start,
        guidance_stop=stop,
        distilled_guidance=draw(st.none() | st.floats(0.0, 100.0)),
        skip_layers=draw(st.lists(st.integers(0, 40), max_size=3)),
        skip_layer_scale=draw(st.floats(0.0, 100.0)),
        skip_layer_start=start,
        skip_layer_stop=stop,
        seed=draw(st.integers(0, SEED_MAX)),
        width=draw(PIXELS),
        height=draw(PIXELS),
        controls=draw(st.lists(controls(), max_size=2)),
    )


def through_png(request):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=png_info(request))
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        return read_request(image)


@given(requests())
@settings(deadline=None)
def test_json_and_png_lose_nothing(request):
    assert Request.from_json(request.to_json()) == request
    assert through_png(request) == request
    assert Request.from_json(request.to_json()).to_json() == request.to_json()


@given(requests(), requests())
@settings(deadline=None)
def test_equal_requests_are_one_key(one, other):
    again = Request(**one.model_dump())
    assert hash(again) == hash(one) and again.to_json() == one.to_json()
    assert (one == other) == (one.to_json() == other.to_json())


def test_minus_zero_is_zero():
    one, other = Request(guidance_scale=-0.0), Request(guidance_scale=0.0)
    assert one == other and one.to_json() == other.to_json()
    assert math.copysign(1.0, one.guidance_scale) == 1.0


@pytest.mark.parametrize("row", SAMPLERS.values(), ids=lambda row: row.id)
def test_every_spelling_becomes_the_id(row):
    for name in (row.id, row.id.upper(), row.label, row.label.lower(), *row.aliases):
        assert Request(sampler=name) == Request(sampler=row.id)
    for schedule in row.schedules:
        if schedule != "default":
            spelled = Request(sampler=f"{row.label} {schedule.replace('_', ' ').title()}")
            assert spelled == Request(sampler=row.id, schedule=schedule)


def test_the_spellings_users_know():
    known = {
        "PLMS": ("pndm", "default"),
        "Euler a": ("euler_a", "default"),
        "DPM2 a Karras": ("dpm2_a", "karras"),
        "DPM++ 2M": ("dpmpp_2m", "default"),
        "DPM++ 2M Karras": ("dpmpp_2m", "karras"),
        "DPM++ 2M SDE Karras": ("dpmpp_2m_sde", "karras"),
        "DPM++ SDE Exponential": ("dpmpp_sde", "exponential"),
    }
    for name, (sampler, schedule) in known.items():
        request = Request(sampler=name)
        assert (request.sampler, request.schedule) == (sampler, schedule)


def test_a_schedule_is_said_once():
    agreed = Request(sampler="DPM++ 2M Karras", schedule="Karras")
    assert agreed == Request(sampler="dpmpp_2m", schedule="karras")
    with pytest.raises(InvalidRequest, match=r"'DPM\+\+ 2M Karras' says karras.*'beta'; give one"):
        Request(sampler="DPM++ 2M Karras", schedule="beta")
    with pytest.raises(InvalidRequest, match="'lcm' has no schedule 'karras'; it has default"):
        Request(sampler="LCM Karras")


BAD = [
    ("steps", 0, "1 to 1000"),
    ("steps", 1001, "1 to 1000"),
    ("steps", 2.5, "whole number"),
    ("steps", "many", "whole number"),
    ("steps", None, "1 to 1000"),
    ("guidance_scale", -100.5, "-100 to 100"),
    ("guidance_scale", 100.5, "0 to 100"),
    ("guidance_scale", math.nan, "0 to 100"),
    ("guidance_scale", math.inf, "0 to 100"),
    ("guidance_rescale", -0.1, "0 to 1"),
    ("guidance_rescale", 1.1, "0 to 1"),
    ("guidance_start", -1.0, "0 to 1"),
    ("guidance_start", 1.5, "0 to 1"),
    ("guidance_stop", -1.0, "0 to 1"),
    ("guidance_stop", 1.5, "0 to 1"),
    ("seed", -2, "0 to 9223372036854775807, or -1 for random"),
    ("seed", 2**63, "0 to 9223372036854775807"),
    ("clip_skip", -1, "0 to 31"),
    ("clip_skip", 32, "0 to 31"),
    ("width", 7, "8 to 8192"),
    ("width", 8193, "8 to 8192"),
    ("height", 0, "8 to 8192"),
    ("height", 10**9, "8 to 8192"),
    ("prompt", 5, "characters"),
    ("model", "", "must name a model"),
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD, ids=lambda v: str(v)[:12])
def test_out_of_range_says_field_value_and_range(field, value, allowed):
    with pytest.raises(InvalidRequest) as error:
        Request(**{field: value})
    message = str(error.value)
    assert message.startswith(f"{field} is {value!r}; ")
    assert allowed in message and "\n" not in message


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_too_long_is_counted_not_quoted(field):
    with pytest.raises(InvalidRequest) as error:
        Request(**{field: "x" * (PROMPT_MAX + 1)})
    assert str(error.value) == f"{field} has {PROMPT_MAX + 1} characters; at most 4000 are allowed"


def test_a_long_value_is_cut_and_half_a_character_is_called_so():
    with pytest.raises(InvalidRequest) as error:
        Request(steps="9" * 500)
    assert len(str(error.value)) < 160
    with pytest.raises(InvalidRequest, match="half a character"):
        Request(prompt="a\ud800b")


def test_the_ends_of_every_range_are_allowed():
    Request(steps=1, guidance_scale=0, seed=0, width=8, height=8192, guidance_rescale=1)
    Request(steps=1000, guidance_scale=100, seed=SEED_MAX, prompt="x" * PROMPT_MAX)
    Request(guidance_start=0.5, guidance_stop=0.5)


def test_fields_that_contradict_each_other():
    with pytest.raises(InvalidRequest, match=r"guidance_start 0\.6 is after guidance_stop 0\.4"):
        Request(guidance_start=0.6, guidance_stop=0.4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler": "eulr"}, "unknown sampler 'eulr'; did you mean 'euler'?"),
        ({"schedule": "karas"}, "unknown schedule 'karas'; did you mean 'karras'?"),
        ({"step": 5}, "unknown setting 'step'; did you mean 'steps'?"),
    ],
)
def test_unknown_names_come_with_a_suggestion(fields, message):
    with pytest.raises(UnknownName) as error:
        Request(**fields)
    assert str(error.value).startswith(message)


NOT_REQUESTS = [
    "",
    "{",
    "[]",
    "3",
    "null",
    "[" * 100_000,
    '{"steps": ' + "9" * 5000 + "}",
    '{"seed": NaN}',
]


@pytest.mark.parametrize("text", NOT_REQUESTS, ids=lambda t: t[:12])
def test_text_that_is_no_request(text):
    with pytest.raises(InvalidRequest):
        Request.from_json(text)


CHANGED = {
    "guider": "pushed",
    "model": "other",
    "prompt": "a pear",
    "negative_prompt": "blurry",
    "sampler": "ddim",
    "schedule": "karras",
    "steps": 26,
    "guidance_scale": 5.5,
    "guidance_rescale": 0.5,
    "guidance_start": 0.1,
    "guidance_stop": 0.9,
    "distilled_guidance": 3.5,
    "skip_layers": (7, 8, 9),
    "skip_layer_scale": 2.0,
    "skip_layer_start": 0.1,
    "skip_layer_stop": 0.3,
    "seed": 1,
    "width": 64,
    "height": 64,
    "controls": (Control(image="0" * 32),),
    "loras": ("ink:0.5",),
    "as_diffusers": True,
    "clip_skip": 1,
}


def test_the_address_depends_on_every_field_and_on_the_model():
    assert set(CHANGED) == set(Request.model_fields), "a field without a changed value here"
    base = Request(prompt="an apple")
    addresses = [base.replace(**{field: value}).address("f") for field, value in CHANGED.items()]
    addresses += [base.address("f"), base.address("g")]
    assert len(set(addresses)) == len(CHANGED) + 2
    assert base.address("f") == Request(prompt="an apple").address("f")
    assert all(len(a) == 32 and int(a, 16) >= 0 for a in addresses)


def test_what_was_stored_before_a_field_came_is_still_found():
    """Text and address as they were written before Requests had any field of `OMITTED_DEFAULTS`."""
    request = Request(prompt="größe", seed=7)
    assert request.to_json() == (
        '{"guidance_rescale": 0.0, "guidance_scale": 5.0, "guidance_start": 0.0, '
        '"guidance_stop": 1.0, "height": null, "model": "emoji", "negative_prompt": "", '
        '"prompt": "größe", "sampler": "dpmpp_2m", "schedule": "default", "seed": 7, '
        '"steps": 25, "width": null}'
    )
    assert request.address("weights") == "7b39f91de032075c9562fc4491d24afa"
    assert Request.from_json(request.to_json()) == request
    told = request.replace(distilled_guidance=-0.0)
    assert Request.from_json(told.to_json()) == told and told.to_json() != request.to_json()
    assert "-0.0" not in told.to_json()


def test_frozen():
    request = Request()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        request.steps = 3
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Axis(field="seed", values=(1,)).field = "steps"
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Sheet().axes = ()
    assert request == Request()


def test_replace_validates_again():
    with pytest.raises(InvalidRequest, match="steps is 0"):
        Request().replace(steps=0)
    with pytest.raises(InvalidRequest, match="no schedule 'karras'"):
        Request(schedule="karras").replace(sampler="ddim")


AXIS_VALUES = {
    "steps": st.integers(1, 50),
    "guidance_scale": st.floats(0.0, 20.0),
    "seed": st.integers(0, SEED_MAX),
    "prompt": TEXTS,
    "sampler": st.sampled_from([row.id for row in SAMPLERS.values()]),
}


@st.composite
def sheets(draw):
    fields = draw(st.lists(st.sampled_from(list(AXIS_VALUES)), unique=True, max_size=3))
    axes = [
        Axis(field=f, values=tuple(draw(st.lists(AXIS_VALUES[f], min_size=1, max_size=3))))
        for f in fields
    ]
    return Sheet(base=Request(model="m", guidance_stop=0.7), axes=tuple(axes))


@given(sheets())
@settings(deadline=None)
def test_expand_is_the_product_of_the_axes_in_order(sheet):
    cells = sheet.expand()
    fields = [axis.field for axis in sheet.axes]
    wanted = list(itertools.product(*(axis.values for axis in sheet.axes)))
    assert [tuple(getattr(cell, field) for field in fields) for cell in cells] == wanted
    assert len(cells) == math.prod(sheet.shape)
    for index, cell in zip(sheet.indices(), cells, strict=True):
        assert [a.values[i] for a, i in zip(sheet.axes, index, strict=True)] == [
            getattr(cell, field) for field in fields
        ]
        untouched = set(Request.model_fields) - set(fields)
        assert cell.model_dump(include=untouched) == sheet.base.model_dump(include=untouched)


@given(sheets())
@settings(deadline=None)
def test_sheets_survive_json(sheet):
    assert Sheet.model_validate_json(sheet.model_dump_json()) == sheet


def test_a_sheet_without_axes_is_one_picture():
    assert Sheet(base=Request(seed=3)).expand() == [Request(seed=3)]


def test_sheets_of_seeds():
    base = Request(seed=40)
    assert [cell.seed for cell in Sheet.seeds(base, 3).expand()] == [40, 41, 42]
    assert Sheet.seeds(base, 1) == Sheet(base=base)
    with pytest.raises(InvalidRequest, match="number of pictures is 0; it must be 1 or more"):
        Sheet.seeds(base, 0)
    with pytest.raises(
        InvalidRequest, match=r"seed is 9223372036854775808; .*0 to 9223372036854775807"
    ):
        Sheet.seeds(Request(seed=SEED_MAX), 2).expand()


def test_bad_axes():
    with pytest.raises(UnknownName, match="unknown axis 'sede'; did you mean 'seed'"):
        Axis(field="sede", values=(1,))
    with pytest.raises(InvalidRequest, match="at least one value"):
        Axis(field="seed", values=())
    with pytest.raises(InvalidRequest, match="'seed' is given twice"):
        Sheet(axes=(Axis(field="seed", values=(1,)), Axis(field="seed", values=(2,))))
    with pytest.raises(InvalidRequest, match="steps is 0"):
        Sheet(axes=(Axis(field="steps", values=(5, 0)),)).expand()


def test_canonical_json_is_plain_and_sorted():
    data = json.loads(Request(prompt="größe 🍎").to_json())
    assert list(data) == sorted(set(Request.model_fields) - set(OMITTED_DEFAULTS))
    assert "größe 🍎" in Request(prompt="größe 🍎").to_json()
    assert set(SCHEDULES) >= {data["schedule"]}
