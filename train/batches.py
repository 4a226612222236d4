"""Batches of packed conversations. A worker draws and packs while the trainer computes."""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

import io

from clips import EVENTS, draw_clip, plan_clip
from questions import Conversation, converse_blind, converse_clip, converse_long, converse_several
from scene import draw, jpeg, labels, plan, square

SIDE = 192
TOKENS = 9  # image tokens of one picture
LENGTH = 320  # tokens of one packed sequence
IGNORE = -100
LEARNED_EVENTS = [*EVENTS, "nothing", "nothing"]  # that nothing changes is the hardest to see
GROUPS = 2  # of two or three pictures, in a batch


@dataclass
class Packed:
    """A sequence that grows: ids (−1−k where image token k of the batch stands), targets, positions, document, branch."""

    ids: list[int]
    targets: list[int]
    positions: list[int]
    documents: list[int]
    branches: list[int]

    def add(self, ids, targets, start, document, branch) -> None:
        self.ids += ids
        self.targets += targets
        self.positions += range(start, start + len(ids))
        self.documents += [document] * len(ids)
        self.branches += [branch] * len(ids)


class Packer:
    """Turns pictures and their conversations into packed sequences."""

    def __init__(self, tokenizer: Tokenizer):
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.user, self.assistant, self.end = (tokenizer.token_to_id(f"<|{name}|>") for name in ("user", "assistant", "end"))
        self.newline = self.encode("\n")

    def branch(self, turns: Conversation) -> tuple[list[int], list[int]]:
        """Ids and next-token targets from the first question on (its `<|user|>` stands before the pictures)."""
        ids: list[int] = []
        learn: list[bool] = []
        for i, turn in enumerate(turns):
            ask = ([self.user] if i else []) + self.encode(turn.question) + [self.end, self.assistant]
            answer = [*self.encode(turn.answer), self.end]
            ids += ask + answer
            learn += [False] * len(ask) + [True] * len(answer)
        targets = [ids[i + 1] if learn[i + 1] else IGNORE for i in range(len(ids) - 1)] + [IGNORE]
        return ids[:-1], targets[:-1]

    def document(self, first: int, pictures: int, talks: list[Conversation]):
        """One document: a prefix of pictures and branches after it."""
        prefix = [self.user, *(-1 - token for token in range(first * TOKENS, (first + pictures) * TOKENS)), *self.newline]
        if pictures == 0:
            prefix = [self.user]
        return prefix, [self.branch(turns) for turns in talks]

    def pack(self, documents) -> list[Packed]:
        """First fit, longest first."""
        size = lambda document: len(document[0]) + sum(len(ids) for ids, _ in document[1])  # noqa: E731
        rows: list[Packed] = []
        for number, (prefix, branches) in enumerate(sorted(documents, key=size, reverse=True)):
            while len(prefix) + sum(len(ids) for ids, _ in branches) > LENGTH:
                branches = branches[:-1]
            need = len(prefix) + sum(len(ids) for ids, _ in branches)
            row = next((row for row in rows if len(row.ids) + need <= LENGTH), None)
            if row is None:
                row = Packed([], [], [], [], [])
                rows.append(row)
            row.add(prefix, [IGNORE] * len(prefix), 0, number + 1, 0)
            for branch, (ids, targets) in enumerate(branches):
                row.add(ids, targets, len(prefix), number + 1, branch + 1)
        return rows


def degrade(rng: Random, images: list[Image.Image]) -> list[Image.Image]:
    """JPEG artefacts, most of the time, the same for all pictures that belong together."""
    if rng.random() < 0.25:
        return images
    quality = rng.randint(40, 95)
    return [Image.open(io.BytesIO(jpeg(image, quality))) for image in images]


def batch(packer: Packer, rng: Random, scenes: int, clips: int) -> dict[str, np.ndarray]:
    """Draws `scenes` single pictures, groups of two or three, `clips` clips, and packs what is said about them."""
    pictures: list[np.ndarray] = []
    truths: list[dict[str, np.ndarray]] = []
    documents = []

    def show(plans, images) -> int:
        first = len(pictures)
        for scene, image in zip(plans, degrade(rng, images)):
            pictures.append(square(image, SIDE))
            truths.append(labels(scene))
        return first

    for _ in range(scenes):
        scene = plan(rng)
        documents.append(packer.document(show([scene], [draw(scene)]), 1, converse_long(rng, scene, 6)))
    for _ in range(GROUPS):
        group = [plan(rng) for _ in range(rng.choice([2, 2, 3]))]
        documents.append(packer.document(show(group, [draw(scene) for scene in group]), len(group), converse_several(rng, group, 4)))
    for _ in range(clips):
        clip = plan_clip(rng, LEARNED_EVENTS)
        first = show(clip.frames, draw_clip(clip))
        documents.append(packer.document(first, len(clip.frames), converse_clip(rng, clip, 4)))
    documents.append(packer.document(0, 0, [converse_blind(rng)]))
    return collate(packer.pack(documents), pictures, truths)


def collate(rows: list[Packed], pictures, truths) -> dict[str, np.ndarray]:
    length = max(len(row.ids) for row in rows)
    padded = lambda name, fill: np.array([getattr(row, name) + [fill] * (length - len(row.ids)) for row in rows])  # noqa: E731
    ids, documents, branches = padded("ids", 0), padded("documents", 0), padded("branches", 0)
    same = documents[:, :, None] == documents[:, None, :]
    sees = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    mask = same & sees & np.tri(length, dtype=bool)
    return {
        "pictures": np.stack(pictures), **{name: np.stack([truth[name] for truth in truths]) for name in truths[0]}, "ids": ids, "targets": padded("targets", IGNORE),
        "positions": padded("positions", 0), "mask": np.where(mask, 0, -np.inf).astype(np.float32)[:, None],
    }
