"""Pictures: one to four things or a printed word on a background, and their truth."""
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from things import (COLOUR_NAMES, COLOURS, FONT_FILES, NOUNS, PLACES, SHAPES, WORDS, emoji, font, shape_mask)

SIZE = 192
"""Side of the picture that the model sees."""

ASPECTS = [(1, 1), (1, 1), (1, 1), (4, 3), (3, 4), (5, 4), (4, 5)]


@dataclass
class Thing:
    kind: str
    colour: str | None  # shapes only
    cell: int = 4
    x: float = 0.0  # centre and side in pixels of the drawn picture
    y: float = 0.0
    side: float = 0.0

    @property
    def name(self):
        return f"{self.colour} {self.kind}" if self.colour else self.kind

    @property
    def place(self):
        return PLACES[self.cell]


@dataclass
class Scene:
    background: str
    things: list = field(default_factory=list)
    text: str | None = None
    text_colour: str | None = None
    text_row: int = 0
    size: tuple = (SIZE, SIZE)

    @property
    def is_number(self):
        return self.text is not None and self.text.isdigit()


def luminance(colour):
    r, g, b = COLOURS[colour]
    return 0.3 * r + 0.59 * g + 0.11 * b


def shade(rng, colour, spread=9):
    return np.clip(np.array(COLOURS[colour], np.float32) + [rng.gauss(0, spread) for _ in range(3)], 0, 255)


def background(rng, colour, w, h):
    """A float array [h, w, 3]: plain, gradient, stripes, checks, dots or coarse noise."""
    base = shade(rng, colour)
    flat = np.broadcast_to(base, (h, w, 3))
    kind = rng.choice(["plain", "plain", "gradient", "gradient", "stripes", "checks", "dots", "coarse"])
    if kind == "plain":
        return flat.copy()
    depth = rng.uniform(8, 26) if kind == "gradient" else rng.uniform(5, 14)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (xs - w / 2) * np.cos(angle) + (ys - h / 2) * np.sin(angle)
    period = rng.uniform(10, 40)
    if kind == "gradient":
        wave = along / (max(w, h) / 2)
    elif kind == "stripes":
        wave = np.sin(along * 2 * np.pi / period)
    elif kind == "checks":
        wave = np.sign(np.sin(xs * 2 * np.pi / period) * np.sin(ys * 2 * np.pi / period))
    elif kind == "dots":
        wave = (np.hypot(xs % period - period / 2, ys % period - period / 2) < period / 4) * 2.0 - 1
    else:
        small = np.random.default_rng(rng.getrandbits(32)).random((h // 12, w // 12), dtype=np.float32)
        wave = np.asarray(Image.fromarray(small * 2 - 1).resize((w, h), Image.BICUBIC))
    return flat + (depth * wave)[:, :, None]


def new_thing(rng, avoid_colour):
    if rng.random() < 0.25:
        return Thing(rng.choice(SHAPES), rng.choice([c for c in COLOUR_NAMES if c != avoid_colour]))
    return Thing(rng.choice(NOUNS), None)


def tile(rng, thing):
    """The thing as a 128 x 128 RGBA picture, perhaps mirrored."""
    if thing.colour is None:
        t = emoji(thing.kind)
        return t.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.3 else t
    t = Image.new("RGBA", (128, 128), tuple(int(v) for v in shade(rng, thing.colour, 6)))
    t.putalpha(shape_mask(thing.kind))
    return t


def stamp(picture, art, x, y, side, angle=0.0):
    side = max(8, round(side))
    art = art.resize((side, side), Image.BILINEAR)
    if angle:
        art = art.rotate(angle, resample=Image.BILINEAR)
    picture.paste(art, (round(x - side / 2), round(y - side / 2)), art)


def random_text(rng):
    if rng.random() < 0.4:
        return str(rng.randrange(10 ** rng.choice([1, 2, 2, 3, 3])))
    return rng.choice(WORDS)


def print_text(rng, picture, scene):
    """Large print across one of the three rows."""
    w, h = picture.size
    colour = tuple(int(v) for v in shade(rng, scene.text_colour, 5))
    index = rng.randrange(len(FONT_FILES))
    size = int(min(w, h) * rng.uniform(0.24, 0.34))
    while True:
        f = font(index, size)
        x0, y0, x1, y1 = f.getbbox(scene.text)
        if x1 - x0 <= 0.92 * w:
            break
        size -= 2
    tw, th = x1 - x0, y1 - y0
    layer = Image.new("L", (tw + 16, th + 16))
    ImageDraw.Draw(layer).text((8 - x0, 8 - y0), scene.text, fill=255, font=f)
    layer = layer.rotate(rng.uniform(-4, 4), resample=Image.BILINEAR)
    slack = max(0.0, (0.94 * w - tw) / 2)
    x = w / 2 + rng.uniform(-slack, slack) * 0.5
    y = (scene.text_row + 0.5) * h / 3 + rng.uniform(-0.03, 0.03) * h
    picture.paste(colour, (round(x - layer.width / 2), round(y - layer.height / 2)), layer)


def random_scene(rng, mix):
    """The truth of a random picture; `mix` gives the shares of words and empty pictures."""
    scene = Scene(rng.choice(COLOUR_NAMES))
    rows = [0, 1, 2]
    count = rng.choice([1, 1, 2, 2, 3, 3, 4])
    roll = rng.random()
    if roll < mix["text"]:
        scene.text = random_text(rng)
        scene.text_colour = rng.choice(
            [c for c in COLOUR_NAMES if abs(luminance(c) - luminance(scene.background)) > 70])
        scene.text_row = rng.randrange(3)
        rows.remove(scene.text_row)
        count = rng.choice([0, 0, 1, 1, 2])
    elif roll < mix["text"] + mix["empty"]:
        count = 0
    first = new_thing(rng, scene.background)
    repeat = rng.random() < 0.4
    for cell in sorted(rng.sample([3 * r + c for r in rows for c in range(3)], count)):
        same = not scene.things or (repeat and rng.random() < 0.7)
        scene.things.append(Thing(first.kind, first.colour) if same else new_thing(rng, scene.background))
        scene.things[-1].cell = cell
    long_side = rng.randrange(184, 273, 8)
    aw, ah = rng.choice(ASPECTS)
    scene.size = (long_side * aw // max(aw, ah), long_side * ah // max(aw, ah))
    return scene


def draw(rng, scene):
    """Draws the scene and fills in where each thing ended up."""
    w, h = scene.size
    picture = Image.fromarray(np.clip(background(rng, scene.background, w, h), 0, 255).astype(np.uint8))
    if scene.text:
        print_text(rng, picture, scene)
    unit = min(w, h) / 3
    lone = len(scene.things) == 1 and not scene.text
    for t in scene.things:
        t.side = unit * rng.uniform(0.72, 1.7 if lone else 1.02)
        row, column = divmod(t.cell, 3)
        t.x = (column + 0.5) * w / 3 + rng.uniform(-0.08, 0.08) * w / 3
        t.y = (row + 0.5) * h / 3 + rng.uniform(-0.08, 0.08) * h / 3
        t.x = min(max(t.x, t.side / 2), w - t.side / 2)
        t.y = min(max(t.y, t.side / 2), h - t.side / 2)
        stamp(picture, tile(rng, t), t.x, t.y, t.side, rng.uniform(-14, 14) if rng.random() < 0.6 else 0)
    return add_noise(rng, picture)


def add_noise(rng, picture):
    sigma = max(0.0, rng.uniform(-4, 7))
    if sigma == 0:
        return picture
    values = np.asarray(picture, np.float32)
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(values.shape[:2] + (1,), np.float32)
    return Image.fromarray(np.clip(values + sigma * noise, 0, 255).astype(np.uint8))


def jpeg(picture, quality):
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return data.getvalue()


def pixels(picture):
    """The model's view: black padding to a square, then PIL bicubic; uint8 [SIZE, SIZE, 3]."""
    picture = picture.convert("RGB")
    side = max(picture.size)
    if picture.size != (side, side):
        square = Image.new("RGB", (side, side))
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = square
    if side != SIZE:
        picture = picture.resize((SIZE, SIZE), Image.BICUBIC)
    return np.asarray(picture)
