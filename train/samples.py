"""Draws the sample pictures that ship with the model: python samples.py OUT_DIR"""

import sys
from pathlib import Path
from random import Random

from clips import Clip, draw_clip
from scene import Item, Scene, draw, jpeg, place_item


def scene(width: int, height: int, seed: int, background: str | None, things, text=None, row=1) -> Scene:
    made = Scene(width, height, seed=seed, background=background, text=text, row=row)
    rng = Random(seed)
    for place, kind, colour in things:
        item = place_item(rng, made, place, kind)
        item.colour = colour
        made.items.append(item)
    return made


def rocket() -> Clip:
    """A rocket goes up in six frames."""
    frames = []
    for i in range(6):
        y = 250 - 190 * i / 5
        frames.append(Scene(320, 320, [Item("rocket", 0, None, 160, y, 96, 0, 0)], seed=22))
    return Clip("rocket", None, "moves up", frames)


def main(out: Path) -> None:
    (out / "clip").mkdir(parents=True, exist_ok=True)
    picnic = scene(400, 340, 4, None, [(0, "dog", None), (2, "apple", None), (5, "apple", None), (6, "star", "red")])
    sign = scene(400, 320, 12, "yellow", [(6, "key", None), (8, "circle", "blue")], "OPEN", 0)
    (out / "picture.jpg").write_bytes(jpeg(draw(picnic), 85))
    (out / "sign.jpg").write_bytes(jpeg(draw(sign), 85))
    for i, image in enumerate(draw_clip(rocket())):
        (out / "clip" / f"{i + 1}.jpg").write_bytes(jpeg(image, 80))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
