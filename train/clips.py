"""Clips: 4 to 8 frames in which one thing moves, appears, disappears, grows, shrinks, or nothing changes."""
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from scene import SIZE, Scene, Thing, add_noise, background, new_thing, stamp, tile
from things import COLOUR_NAMES

EVENTS = ["left", "right", "up", "down", "appears", "disappears", "grows", "shrinks", "nothing"]
REVERSED = {"left": "right", "up": "down", "appears": "disappears", "grows": "shrinks", "nothing": "nothing"}
REVERSED |= {v: k for k, v in REVERSED.items()}


@dataclass
class Clip:
    event: str
    actor: Thing
    other: Thing | None
    background: str
    frames: list = field(default_factory=list)  # one Scene per frame

    def backwards(self):
        return replace(self, event=REVERSED[self.event], frames=self.frames[::-1])


def random_clip(rng):
    """Returns the clip and its drawn frames (PIL)."""
    colour = rng.choice(COLOUR_NAMES)
    event = rng.choice(EVENTS)
    actor = new_thing(rng, colour)
    other = new_thing(rng, colour) if rng.random() < 0.5 else None
    if other and other.name == actor.name:
        other = None
    n = rng.randint(4, 8)
    cell = SIZE / 3
    lane, other_lane = rng.sample(range(3), 2)
    start, stop = rng.choice([(0, 1), (1, 2), (0, 2), (0, 2)])
    steps = np.linspace(start, stop, n)
    if event in ("left", "up"):
        steps = steps[::-1]
    elif event not in ("right", "down"):
        steps = np.full(n, rng.randrange(3))
    across = event in ("left", "right") or (event not in ("up", "down") and rng.random() < 0.5)
    side = np.full(n, cell * rng.uniform(0.7, 1.0))
    if event in ("grows", "shrinks"):
        side = np.linspace(cell * rng.uniform(0.5, 0.6), cell * rng.uniform(1.0, 1.25), n)
        side = side if event == "grows" else side[::-1]
    change = rng.randint(1, n - 1)
    jitter = [rng.uniform(-0.08, 0.08) * cell for _ in range(4)]
    other_at = rng.randrange(3)
    other_side = cell * rng.uniform(0.7, 0.95)

    clip = Clip(event, actor, other, colour)
    scenery = Image.fromarray(np.clip(background(rng, colour, SIZE, SIZE), 0, 255).astype(np.uint8))
    if other:
        column, row = (other_at, other_lane) if across else (other_lane, other_at)
        x, y = (column + 0.5) * cell + jitter[0], (row + 0.5) * cell + jitter[1]
        stamp(scenery, tile(rng, other), x, y, other_side)
        other = replace(other, cell=3 * row + column, x=x, y=y, side=other_side)
    art = tile(rng, actor)
    pictures = []
    for i in range(n):
        column, row = (steps[i], lane) if across else (lane, steps[i])
        x = min(max((column + 0.5) * cell + jitter[2], side[i] / 2), SIZE - side[i] / 2)
        y = min(max((row + 0.5) * cell + jitter[3], side[i] / 2), SIZE - side[i] / 2)
        absent = (event == "appears" and i < change) or (event == "disappears" and i >= change)
        frame, things = scenery.copy(), [other] if other else []
        if not absent:
            stamp(frame, art, x, y, side[i])
            things.append(replace(actor, x=x, y=y, side=side[i]))
        clip.frames.append(Scene(colour, things))
        pictures.append(add_noise(rng, frame))
    return clip, pictures
