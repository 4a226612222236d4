"""Draws one picture: a background, one to four things or shapes in nine places, sometimes a printed word or number."""

import io
import os
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from things import COLOURS, KINDS, SHAPES, THINGS, WORDS

ASSETS = os.environ.get("ASSETS", os.path.join(os.path.dirname(__file__), ".assets"))
FONTS = ["roboto", "merriweather", "comic-neue", "roboto-mono", "oswald"]
BACKGROUNDS = ["white", "gray", "black", "blue", "green", "yellow", "pink", "orange", "purple", "red", "brown"]


@dataclass
class Item:
    """A thing or a shape. Centre and size are in pixels of the picture."""

    kind: str
    place: int
    colour: str | None = None
    x: float = 0.0
    y: float = 0.0
    size: float = 0.0
    turn: float = 0.0
    seed: int = 0


@dataclass
class Scene:
    """What a picture holds. Items are in reading order; `text` is a word or number printed across one row."""

    width: int
    height: int
    items: list[Item] = field(default_factory=list)
    background: str | None = None
    text: str | None = None
    row: int = 1
    seed: int = 0
    letters: list[tuple[str, float, float, float, float]] = field(default_factory=list)  # drawn: left, top, right, bottom


def plan(rng: Random) -> Scene:
    """Chooses what a picture holds."""
    long = rng.randint(184, 232)
    short = long if rng.random() < 0.6 else round(long * rng.uniform(0.75, 1))
    width, height = (long, short) if rng.random() < 0.5 else (short, long)
    scene = Scene(width, height, seed=rng.randrange(1 << 30))
    if rng.random() < 0.35:
        scene.background = rng.choice(BACKGROUNDS)
    kind = rng.random()
    if kind < 0.12:
        scene.items = [place_item(rng, scene, 4, new_kind(rng), rng.uniform(0.5, 0.95) * min(width, height))]
        return scene
    rows = [0, 1, 2]
    if kind < 0.48:
        scene.text = rng.choice(WORDS) if rng.random() < 0.6 else str(rng.randrange(100))
        scene.row = rng.randrange(3)
        rows.remove(scene.row)
    count = rng.choice([0, 1, 1, 2]) if scene.text else rng.choice([1, 2, 2, 3, 3, 4, 4])
    free = [3 * row + column for row in rows for column in range(3)]
    kinds = [new_kind(rng) for _ in range(count)]
    if count > 1 and rng.random() < 0.5:  # several of one kind, to be counted
        same = rng.randint(2, count)
        kinds[:same] = [kinds[0]] * same
    places = sorted(rng.sample(free, count))
    rng.shuffle(kinds)
    scene.items = [place_item(rng, scene, place, kind) for place, kind in zip(places, kinds)]
    return scene


def new_kind(rng: Random) -> str:
    return rng.choice(list(THINGS)) if rng.random() < 0.72 else rng.choice(list(SHAPES))


def place_item(rng: Random, scene: Scene, place: int, kind: str, size: float | None = None) -> Item:
    """An item somewhere in its ninth of the picture."""
    w, h = scene.width / 3, scene.height / 3
    size = size or min(w, h) * rng.uniform(0.66, 1.06)
    jitter = 0.13 if size < min(w, h) * 1.1 else 0.06
    colour = None
    if kind in SHAPES:
        colour = rng.choice([c for c in COLOURS if c != scene.background])
    turn = rng.uniform(-14, 14) if kind in THINGS else 0.0
    x = (place % 3 + 0.5 + rng.uniform(-jitter, jitter)) * w
    y = (place // 3 + 0.5 + rng.uniform(-jitter, jitter)) * h
    x = min(max(x, size / 2), scene.width - size / 2)
    y = min(max(y, size / 2), scene.height - size / 2)
    return Item(kind, place, colour, x, y, size, turn, rng.randrange(1 << 30))


def draw(scene: Scene) -> Image.Image:
    """The picture, RGB."""
    rng = Random(scene.seed)
    image = background(rng, scene)
    for item in scene.items:
        drawing = thing(item) if item.kind in THINGS else shape(item)
        image.paste(drawing, (round(item.x - drawing.width / 2), round(item.y - drawing.height / 2)), drawing)
    if scene.text:
        write(rng, image, scene)
    return image


def jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def background(rng: Random, scene: Scene) -> Image.Image:
    """Plain (the named ones), or a gradient, stripes, checks, dots or noise of two related tones."""
    w, h = scene.width, scene.height
    if scene.background:
        tone = vary(rng, COLOURS[scene.background], 12)
        return Image.new("RGB", (w, h), tuple(tone))
    taken = [COLOURS[item.colour] for item in scene.items if item.colour]
    for _ in range(40):
        first = [rng.randint(0, 255) for _ in range(3)]
        second = vary(rng, first, 45)
        if all(distance(tone, colour) > 95 for tone in (first, second) for colour in taken):
            break
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    style = rng.choice(["plain", "gradient", "gradient", "stripes", "checks", "dots", "noise"])
    period = rng.uniform(14, 50)
    if style == "plain":
        mix = np.zeros((h, w), np.float32)
    elif style == "gradient":
        a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
        mix = a * x / w + b * y / h
        mix = (mix - mix.min()) / max(float(np.ptp(mix)), 1e-3)
    elif style == "stripes":
        a, b = rng.uniform(-1, 1), rng.uniform(-1, 1)
        mix = (((a * x + b * y) / period) % 1 > 0.5).astype(np.float32)
    elif style == "checks":
        mix = ((x // period + y // period) % 2).astype(np.float32)
    elif style == "dots":
        mix = ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (period / 4) ** 2).astype(np.float32)
    else:
        mix = np.random.default_rng(rng.randrange(1 << 30)).random((h, w), np.float32) * rng.uniform(0.3, 1)
    a, b = np.array(first, np.float32), np.array(second, np.float32)
    return Image.fromarray((a + (b - a) * mix[..., None]).clip(0, 255).astype(np.uint8))


def vary(rng: Random, colour, spread: int) -> list[int]:
    return [min(255, max(0, channel + rng.randint(-spread, spread))) for channel in colour]


def distance(a, b) -> float:
    return sum((p - q) ** 2 for p, q in zip(a, b)) ** 0.5


@lru_cache(None)
def emoji(kind: str, size: int) -> Image.Image:
    image = Image.open(f"{ASSETS}/{kind}.png").convert("RGBA")
    return image if size == image.width else image.resize((size, size), Image.Resampling.LANCZOS)


def thing(item: Item) -> Image.Image:
    source = next(size for size in (64, 96, 192, 999) if size >= item.size or size == 192)
    side = max(8, round(item.size))
    drawing = emoji(item.kind, source).resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2)
    return drawing.rotate(item.turn, Image.Resampling.BILINEAR)


def shape(item: Item) -> Image.Image:
    """A filled shape, drawn at twice the size for smooth edges."""
    rng = Random(item.seed)
    side = max(8, round(item.size * 0.9))
    n = 2 * side
    drawing = Image.new("RGBA", (n, n))
    pen = ImageDraw.Draw(drawing)
    fill = tuple(vary(rng, COLOURS[item.colour], 14))
    m, e = n / 2, n - 1
    if item.kind == "circle":
        pen.ellipse((0, 0, e, e), fill)
    elif item.kind == "ring":
        pen.ellipse((0, 0, e, e), outline=fill, width=round(n * 0.19))
    elif item.kind == "square":
        pen.rectangle((n * 0.06, n * 0.06, n * 0.94, n * 0.94), fill)
    elif item.kind == "triangle":
        pen.polygon([(m, n * 0.04), (e, n * 0.94), (0, n * 0.94)], fill)
    elif item.kind == "diamond":
        pen.polygon([(m, 0), (n * 0.86, m), (m, e), (n * 0.14, m)], fill)
    else:
        angles = [-np.pi / 2 + k * np.pi / 5 for k in range(10)]
        radii = [m if k % 2 == 0 else m * 0.42 for k in range(10)]
        pen.polygon([(m + r * np.cos(a), m + r * np.sin(a)) for r, a in zip(radii, angles)], fill)
    return drawing.resize((side, side), Image.Resampling.BILINEAR)


@lru_cache(None)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{ASSETS}/{name}.woff", size)


def write(rng: Random, image: Image.Image, scene: Scene) -> None:
    """Prints the text across its row, as large as fits or down to 80 % of that, legible on what is behind."""
    band = scene.height / 3
    name = rng.choice(FONTS)
    size = 12
    while size < band * 0.9:
        left, top, right, bottom = font(name, size + 2).getbbox(scene.text)
        if right - left > scene.width * 0.94 or bottom - top > band * 0.8:
            break
        size += 2
    size = max(12, round(size * rng.uniform(0.8, 1) / 2) * 2)
    left, top, right, bottom = font(name, size).getbbox(scene.text)
    x = (scene.width - (right - left)) / 2 - left + rng.uniform(-0.04, 0.04) * scene.width
    y = (scene.row + rng.uniform(0.3, 0.7)) * band - (bottom - top) / 2 - top
    x = min(max(x, 1 - left), scene.width - right - 1)
    y = min(max(y, 1 - top), scene.height - bottom - 1)
    behind = np.asarray(image.crop((0, int(scene.row * band), scene.width, int((scene.row + 1) * band)))).mean((0, 1))
    for _ in range(60):
        ink = [rng.randint(0, 255) for _ in range(3)]
        if abs(sum(ink) - float(behind.sum())) > 330:
            break
    else:
        ink = [0, 0, 0] if behind.sum() > 380 else [255, 255, 255]
    ImageDraw.Draw(image).text((x, y), scene.text, tuple(ink), font(name, size))
    ends = [x + font(name, size).getlength(scene.text[:i]) for i in range(len(scene.text) + 1)]
    scene.letters = [(letter, a, y + top, b, y + bottom) for letter, a, b in zip(scene.text, ends, ends[1:])]


def square(image: Image.Image, side: int) -> np.ndarray:
    """Pads to a square with black and resizes, as the model's processor does: [side, side, 3] bytes."""
    w, h = image.size
    if w != h:
        padded = Image.new("RGB", (max(w, h), max(w, h)))
        padded.paste(image, ((max(w, h) - w) // 2, (max(w, h) - h) // 2))
        image = padded
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


KIND_INDEX = {kind: i + 1 for i, kind in enumerate(KINDS)}
COLOUR_INDEX = {colour: i + 1 for i, colour in enumerate(COLOURS)}
LETTERS = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
SLOTS = 6
GRID = 12  # cells of the map after the third stage, 16 pixels each
LABELS = {"kind": 9, "colour": 9, "letters": SLOTS, "row": 1, "background": 1, "cells": GRID * GRID}


def labels(scene: Scene) -> dict[str, np.ndarray]:
    """What the auxiliary heads learn, of a drawn scene; 0 is nothing.

    kind and colour of each of 3×3 tokens; letters in order, and the row of tokens they are in; background; the letter that
    covers the centre of each of 12×12 cells.
    """
    out = {name: np.zeros(size, np.int64) for name, size in LABELS.items()}
    side = max(scene.width, scene.height)
    dx, dy = (side - scene.width) / 2, (side - scene.height) / 2
    for item in scene.items:
        at = min(2, int((item.y + dy) * 3 / side)) * 3 + min(2, int((item.x + dx) * 3 / side))
        out["kind"][at] = KIND_INDEX[item.kind]
        out["colour"][at] = COLOUR_INDEX.get(item.colour, 0)
    cell = side / GRID
    for i, (letter, left, top, right, bottom) in enumerate(scene.letters):
        out["letters"][i] = LETTERS.index(letter)
        out["row"][0] = min(2, int(((top + bottom) / 2 + dy) * 3 / side))
        for y in range(GRID):
            for x in range(GRID):
                if left <= (x + 0.5) * cell - dx < right and top <= (y + 0.5) * cell - dy < bottom:
                    out["cells"][y * GRID + x] = LETTERS.index(letter)
    out["background"][0] = COLOUR_INDEX.get(scene.background, 0)
    return out
