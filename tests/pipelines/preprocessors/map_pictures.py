"""Control maps as people give them, of our own making and in other tools' looks."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFilter, ImageOps
from skimage import data, segmentation

from pipelines import preprocessors
from pipelines.preprocessors import Skeleton, draw_skeletons
from pipelines.preprocessors.detectors.normal import normals
from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.skeletons import COLOURS, LIMBS, from_json
from tests.pipelines.preprocessors.photographs import photograph

ROOT = Path(__file__).parents[3]
Named = Iterator[tuple[str, Image.Image]]
BODY_25 = (
    *((1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12)),
    *((12, 13), (13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (11, 22)),
)
BODY_25_COLOURS = (
    *((255, 0, 85), (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0)),
    *((85, 255, 0), (0, 255, 0), (255, 0, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255)),
    *((0, 170, 255), (0, 85, 255), (0, 0, 255), (255, 0, 170), (170, 0, 255), (255, 0, 255)),
    *((85, 0, 255), (0, 0, 255), (0, 0, 255), (0, 0, 255), (0, 255, 255), (0, 255, 255)),
)


def person(shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> Skeleton:
    """Someone who waves, of the shipped example, a little otherwise each time."""
    given = from_json((ROOT / "presets/controls/waving.json").read_text("utf-8"))[0]
    draw = np.random.default_rng(seed).normal(0, 0.015, (18, 2))
    moved = [
        None if joint is None else tuple(
            float(np.clip(0.5 + shift * (1 - axis) + scale * (joint[axis] - 0.5) + off[axis], 0, 1))
            for axis in (0, 1)
        )
        for joint, off in zip(given.joints, draw, strict=True)
    ]  # fmt: skip
    return Skeleton.of(moved)


def openpose(
    people: list[Skeleton], size: tuple[int, int], *, hands: bool, face: bool, half: int
) -> Image.Image:
    """As controlnet-aux and DWPose draw: hands in hues with blue dots, faces in white dots."""
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    draw = np.random.default_rng(1)
    for one in people:
        at = [
            None if p is None else np.asarray([p[0] * size[0], p[1] * size[1]]) for p in one.joints
        ]
        for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
            if at[start] is None or at[end] is None:
                continue
            dx, dy = at[end] - at[start]
            middle = tuple(int(v) for v in (at[start] + at[end]) / 2)
            turn = int(np.degrees(np.arctan2(dy, dx)))
            outline = cv2.ellipse2Poly(middle, (int(np.hypot(dx, dy) / 2), half), turn, 0, 360, 1)
            cv2.fillConvexPoly(canvas, outline, colour)
        canvas = (canvas * 0.6).astype(np.uint8)
        for p, colour in zip(at, COLOURS, strict=True):
            if p is not None:
                cv2.circle(canvas, tuple(int(v) for v in p), half, colour, -1)
        if hands:
            for wrist in (4, 7):
                for finger in range(5):
                    start = at[wrist]
                    for bone in range(4):
                        end = start + draw.normal([(finger - 2) * 3, -6], 1.5)
                        hue = np.uint8([[[(finger * 4 + bone) * 9, 255, 255]]])
                        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
                        cv2.line(
                            canvas, start.astype(int).tolist(), end.astype(int).tolist(), colour, 2
                        )
                        cv2.circle(canvas, end.astype(int).tolist(), 4, (0, 0, 255), -1)
                        start = end
        if face:
            for turn in np.linspace(0, 2 * np.pi, 68):
                p = at[0] + 22 * np.asarray([np.cos(turn), np.sin(turn)])
                cv2.circle(canvas, p.astype(int).tolist(), 3, (255, 255, 255), -1)
    return Image.fromarray(canvas)


def body_25(size: int) -> Image.Image:
    """As the original OpenPose draws its 25 points: thick, full colours."""
    joints = [np.asarray(p) * size for p in person().joints]
    hips = (joints[8] + joints[11]) / 2
    places = {
        **dict(enumerate(joints[:8])), 8: hips, 9: joints[8], 10: joints[9], 11: joints[10],
        12: joints[11], 13: joints[12], 14: joints[13], 15: joints[14], 16: joints[15],
        17: joints[16], 18: joints[17], 19: joints[13] + 8, 22: joints[10] + 8,
    }  # fmt: skip
    canvas = np.zeros((size, size, 3), np.uint8)
    for (start, end), colour in zip(BODY_25, BODY_25_COLOURS, strict=False):
        ends = places[start].astype(int).tolist(), places[end].astype(int).tolist()
        cv2.line(canvas, *ends, colour, max(2, size // 80), cv2.LINE_AA)
    return Image.fromarray(canvas)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def looks(name: str, picture: Image.Image) -> Named:
    """A map as it is, compressed, resized and enlarged."""
    yield name, picture
    yield f"{name}, JPEG 75", jpeg(picture, 75)
    yield f"{name}, JPEG 50", jpeg(picture, 50)
    for share in (0.6, 1.5):
        size = (round(picture.width * share), round(picture.height * share))
        yield f"{name}, × {share}", picture.resize(size, Image.Resampling.BICUBIC)
    yield f"{name}, × 0.6, JPEG 85", jpeg(picture.resize((picture.width * 3 // 5,) * 2), 85)


def on_white(picture: Image.Image) -> Image.Image:
    """A skeleton whose ground was made white."""
    pixels = np.asarray(picture).copy()
    pixels[pixels.max(2) == 0] = 255
    return Image.fromarray(pixels)


def depths() -> Named:
    """Near is bright: a scene of solids, a room, real stereo, our own model's example."""
    y, x = np.mgrid[:512, :512] / 511
    floor = np.clip((y - 0.4) / 0.6, 0, 1) * 0.8
    ball = 0.55 + 0.4 * np.sqrt(np.clip(1 - ((x - 0.4) ** 2 + (y - 0.55) ** 2) / 0.05, 0, 1))
    scene = np.where((x - 0.4) ** 2 + (y - 0.55) ** 2 < 0.05, ball, floor)
    yield "ball on a floor", Image.fromarray((scene * 255).astype(np.uint8)).convert("RGB")
    walls = np.maximum.reduce([abs(x - 0.5) * 2, abs(y - 0.5) * 2, np.full_like(x, 0.2)])
    yield "room", Image.fromarray((walls * 255).astype(np.uint8)).convert("RGB")
    disparity = np.nan_to_num(np.asarray(data.stereo_motorcycle()[2]), nan=0, posinf=0)
    known = (disparity > 0).astype(np.uint8)
    scaled = (disparity / disparity.max() * 255).astype(np.uint8)
    filled = cv2.medianBlur(cv2.inpaint(scaled, 1 - known, 5, cv2.INPAINT_TELEA), 5)
    yield "motorcycle", Image.fromarray(filled).convert("RGB").resize((512, 512))
    yield "solids", Image.open(ROOT / "presets/controls/depth.png").convert("RGB")


def coloured(depth: Image.Image, name: str) -> Image.Image:
    drawn = cv2.applyColorMap(np.asarray(depth.convert("L")), getattr(cv2, f"COLORMAP_{name}"))
    return Image.fromarray(drawn[..., ::-1].copy())


def segments(name: str) -> Image.Image:
    """A photograph's own regions in ADE20K's colours."""
    picture = photograph(name).resize((512, 512))
    regions = segmentation.slic(np.asarray(picture), n_segments=12, compactness=20, start_label=0)
    palette = np.asarray([one.colour for one in ade20k()], np.uint8)
    order = np.random.default_rng(len(name)).permutation(60)
    return Image.fromarray(palette[order[regions % 60]])


def maps() -> Iterator[tuple[str, str, Image.Image]]:
    """Maps: the preprocessor they are given to, a name, the picture."""
    for photo in ("astronaut", "coffee", "cat"):
        picture = photograph(photo).resize((512, 512))
        for kind in ("canny", "scribble", "lineart", "softedge"):
            if preprocessors.available(kind):
                made = preprocessors.run(kind, picture, {}, (512, 512))
                for name, one in looks(f"{kind} of {photo}", made):
                    yield kind, name, one
        thin = preprocessors.run("canny", picture, {}, (512, 512))
        thick = thin.filter(ImageFilter.MaxFilter(3))
        for name, one in looks(f"thick lines of {photo}", thick):
            yield "canny", name, one
        yield "canny", f"black on white of {photo}", ImageOps.invert(thin)
        yield "canny", f"black on white of {photo}, JPEG 85", jpeg(ImageOps.invert(thin), 85)
        for name, one in looks(f"segments of {photo}", segments(photo)):
            yield "segmentation", name, one
    yield (
        "scribble",
        "shipped scribble",
        Image.open(ROOT / "presets/controls/scribble.png").convert("RGB"),
    )
    one, two = [person()], [person(-0.2, 0.6, 1), person(0.22, 0.7, 2)]
    for name, people in (("one", one), ("two", two)):
        for side in (512, 768):
            size = (side, side)
            for made, kind in (
                (draw_skeletons(people, size), "ours"),
                (openpose(people, size, hands=False, face=False, half=4), "openpose"),
                (openpose(people, size, hands=True, face=False, half=4), "with hands"),
                (openpose(people, size, hands=True, face=True, half=4), "DWPose"),
                (openpose(people, size, hands=False, face=False, half=9), "thick"),
            ):
                for look, picture in looks(f"{kind} of {name} at {side}", made):
                    yield "pose", look, picture
                yield "pose", f"{kind} of {name} on white at {side}", on_white(made)
    for side in (512, 720):
        for look, picture in looks(f"body 25 at {side}", body_25(side)):
            yield "pose", look, picture
        yield "pose", f"body 25 on white at {side}", on_white(body_25(side))
    yield "pose", "ours, small", draw_skeletons(one, (128, 128))
    for name, depth in depths():
        for look, picture in looks(f"depth of {name}", depth):
            yield "depth", look, picture
        for colours in ("INFERNO", "MAGMA", "PLASMA", "VIRIDIS", "TURBO", "JET"):
            yield "depth", f"{colours.lower()} of {name}", coloured(depth, colours)
            yield (
                "depth",
                f"{colours.lower()} of {name}, JPEG 85",
                jpeg(coloured(depth, colours), 85),
            )
        near = np.asarray(depth.convert("L"), np.float32) / 255
        facing = normals(cv2.GaussianBlur(near, (0, 0), 2), 1.0)
        facing[near < 0.1] = (0, 0, 1)
        made = Image.fromarray((facing * 127.5 + 127.5).round().astype(np.uint8))
        for look, picture in looks(f"normals of {name}", made):
            yield "normal", look, picture
        black = np.asarray(made).copy()
        black[near < 0.1] = 0
        yield "normal", f"normals of {name}, nothing behind", Image.fromarray(black)
