"""Short clips: one thing moves, appears, disappears, grows, shrinks, or nothing changes."""

from dataclasses import dataclass
from random import Random

from PIL import Image

from scene import BACKGROUNDS, Item, Scene, background, new_kind, place_item, shape, thing
from things import THINGS

MOVES = {
    "moves to the left": (-1, 0), "moves to the right": (1, 0), "moves up": (0, -1), "moves down": (0, 1),
}
EVENTS = [*MOVES, "appears", "disappears", "grows", "shrinks", "nothing"]


@dataclass
class Clip:
    """One thing, what happens to it, and the frames' scenes."""

    kind: str
    colour: str | None
    event: str
    frames: list[Scene]


def plan_clip(rng: Random, events=EVENTS) -> Clip:
    """Chooses a clip of 4 to 8 frames. Each frame's scene says truly what that frame shows."""
    side = rng.randint(176, 208)
    event = rng.choice(events)
    n = rng.choice([4, 4, 4, 5, 5, 6, 7, 8])
    base = Scene(side, side, seed=rng.randrange(1 << 30))
    if rng.random() < 0.5:
        base.background = rng.choice(BACKGROUNDS)
    item = place_item(rng, base, 4, new_kind(rng))
    item.size = side / 3 * rng.uniform(0.75, 1.1)
    small, large = side * rng.uniform(0.17, 0.24), side * rng.uniform(0.48, 0.72)
    low, high = item.size / 2, side - item.size / 2
    start = (rng.uniform(low, high), rng.uniform(low, high))
    end = start
    if event in MOVES:
        dx, dy = MOVES[event]
        reach = side - item.size
        span = rng.uniform(0.6, 1) * reach
        near = low + rng.uniform(0, reach - span)
        go = (near, near + span) if dx + dy > 0 else (near + span, near)
        start, end = ((go[0], start[1]), (go[1], start[1])) if dx else ((start[0], go[0]), (start[0], go[1]))
    if event in ("grows", "shrinks"):
        start = end = (side * rng.uniform(0.36, 0.64), side * rng.uniform(0.36, 0.64))
    switch = rng.randint(1, n - 1)
    frames = []
    for i in range(n):
        t = i / (n - 1)
        size = item.size
        if event == "grows":
            size = small + (large - small) * t
        elif event == "shrinks":
            size = large + (small - large) * t
        x, y = start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t
        there = not (event == "appears" and i < switch or event == "disappears" and i >= switch)
        frame = Scene(side, side, background=base.background, seed=base.seed)
        if there:
            place = min(2, int(y * 3 / side)) * 3 + min(2, int(x * 3 / side))
            frame.items = [Item(item.kind, place, item.colour, x, y, size, item.turn, item.seed)]
        frames.append(frame)
    return Clip(item.kind, item.colour, event, frames)


def draw_clip(clip: Clip) -> list[Image.Image]:
    """The frames, RGB; the background is the same in all of them."""
    shown = next(frame for frame in clip.frames if frame.items)
    behind = background(Random(shown.seed), shown)
    images = []
    for frame in clip.frames:
        image = behind.copy()
        for item in frame.items:
            drawing = thing(item) if item.kind in THINGS else shape(item)
            image.paste(drawing, (round(item.x - drawing.width / 2), round(item.y - drawing.height / 2)), drawing)
        images.append(image)
    return images
