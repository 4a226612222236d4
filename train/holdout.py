"""Writes the held-out set, from seeds that training never uses: python holdout.py OUT_DIR

OUT_DIR/eval.json lists cases: images (one picture, several, or the frames of a clip) and conversations with the right answers.
"""

import json
import sys
from pathlib import Path
from random import Random

from clips import draw_clip, plan_clip
from questions import Conversation, Turn, converse, converse_blind, converse_clip, converse_several, join
from scene import draw, jpeg, plan

PICTURES, GROUPS, CLIPS, CHATS = 240, 12, 64, 40


def turns(talks: list[Conversation]) -> list:
    return [[{"task": turn.task, "question": turn.question, "answer": turn.answer} for turn in talk] for talk in talks]


def main(out: Path) -> None:
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    cases = []

    def add(name: str, images, talks: list[Conversation], quality: int) -> None:
        names = []
        for i, image in enumerate(images):
            names.append(f"images/{name}{f'-{i + 1}' if len(images) > 1 else ''}.jpg")
            (out / names[-1]).write_bytes(jpeg(image, quality))
        cases.append({"images": names, "conversations": turns(talks)})

    for i in range(PICTURES):
        rng = Random(f"held out picture {i}")
        scene = plan(rng)
        add(f"picture-{i:03}", [draw(scene)], converse(rng, scene, 4), rng.randint(55, 85))
    for i in range(GROUPS):
        rng = Random(f"held out group {i}")
        scenes = [plan(rng) for _ in range(rng.choice([2, 2, 3]))]
        add(f"group-{i:02}", [draw(scene) for scene in scenes], converse_several(rng, scenes, 3), rng.randint(55, 85))
    for i in range(CLIPS):
        rng = Random(f"held out clip {i}")
        clip = plan_clip(rng)
        add(f"clip-{i:02}", draw_clip(clip), converse_clip(rng, clip, 4), rng.randint(55, 80))
    for i in range(CHATS):  # several questions in one conversation, about the first pictures
        rng = Random(f"held out chat {i}")
        scene = plan(Random(f"held out picture {i}"))
        draw(scene)
        chat = join(rng, converse(rng, scene, 4))[0]
        talks = [[Turn("chat", turn.question, turn.answer) for turn in chat]]
        cases.append({"images": [f"images/picture-{i:03}.jpg"], "conversations": turns(talks)})
    rng = Random("held out talk")
    add("", [], [converse_blind(rng) for _ in range(12)], 0)
    (out / "eval.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(len(cases), "cases,", size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
