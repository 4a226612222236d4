"""Trains tower, projector and language model together: python train.py OUT_DIR --minutes 100

OUT_DIR holds the tokenizer (tokenizer.py writes it) and receives `log.jsonl` and `checkpoint.pt`, from which a stopped run
goes on. The learning rate follows the clock, so that a run always ends annealed.
"""

import argparse
import json
import math
import os
import signal
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from batches import IGNORE, TOKENS, Packer, batch
from language import HIDDEN, Phi3
from scene import LETTERS, SLOTS
from things import COLOURS, KINDS
from tower import WIDTHS, FastViTHD

FEATURES = 2 * WIDTHS[-1]


class FastVLM(nn.Module):
    """FastViTHD, a two-layer GELU projector, Phi3."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.tower = FastViTHD()
        self.projector = nn.ModuleDict({"linear_1": nn.Linear(FEATURES, HIDDEN), "linear_2": nn.Linear(HIDDEN, HIDDEN)})
        self.language = Phi3(vocabulary)

    def see(self, pictures):
        """[P, S, S, 3] bytes → features [P, 9, 512], and the map after the third stage."""
        x = pictures.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
        return self.tower.both(x)

    def project(self, features):
        return self.projector["linear_2"](F.gelu(self.projector["linear_1"](features)))


class Heads(nn.Module):
    """Dropped after training: they name what each image token should hold, which gets the tower going."""

    def __init__(self):
        super().__init__()
        self.kind = nn.Linear(FEATURES, len(KINDS) + 1)
        self.colour = nn.Linear(FEATURES, len(COLOURS) + 1)
        self.background = nn.Linear(FEATURES, len(COLOURS) + 1)
        self.letters = nn.Linear(3 * FEATURES, SLOTS * len(LETTERS))
        self.cells = nn.Linear(WIDTHS[2], len(LETTERS))

    def forward(self, features, middle, truth):
        """The sum of the losses, the share of things named right, and of letters."""
        kind, colour = truth["kind"].flatten(), truth["colour"].flatten()
        guess = self.kind(features).flatten(0, 1)
        loss = balanced(guess, kind, 0.15)
        has = colour > 0
        if has.any():
            loss = loss + 0.5 * F.cross_entropy(self.colour(features).flatten(0, 1)[has], colour[has])
        loss = loss + 0.2 * F.cross_entropy(self.background(features.mean(1)), truth["background"].flatten())
        named = (guess.argmax(-1) == kind)[kind > 0].float().mean()
        written = truth["letters"][:, 0] > 0
        if not written.any():
            return loss, named, torch.ones(())
        cells = self.cells(middle[written].permute(0, 2, 3, 1)).flatten(0, 2)
        loss = loss + 0.7 * balanced(cells, truth["cells"][written].flatten(), 0.1)
        rows = features[written].unflatten(1, (3, 3)).flatten(2)
        row = rows[torch.arange(len(rows)), truth["row"][written].flatten()]
        spelled = truth["letters"][written].flatten()
        letters = self.letters(row).view(-1, len(LETTERS))
        loss = loss + balanced(letters, spelled, 0.3)
        return loss, named, (letters.argmax(-1) == spelled)[spelled > 0].float().mean()


def balanced(logits, truth, nothing: float):
    """Cross entropy in which class 0 weighs less."""
    weight = torch.where(truth > 0, 1.0, nothing)
    return (F.cross_entropy(logits, truth, reduction="none") * weight).sum() / weight.sum()


def named_by_words(model: FastVLM, words: dict[str, torch.Tensor], tokens, truth):
    """Image tokens should look like the words for what they show: the loss of guessing kinds and colours by the words'
    embeddings. A question's noun then finds its thing by likeness, instead of by a rule learned for each kind."""
    seen = F.rms_norm(tokens, (HIDDEN,))
    loss = torch.zeros(())
    for name, ids in words.items():
        there = truth[name].flatten() > 0
        if there.any():
            logits = seen[there] @ model.language.embed_tokens(ids).T
            loss = loss + F.cross_entropy(logits, truth[name].flatten()[there] - 1)
    return loss


class Batches(torch.utils.data.IterableDataset):
    def __init__(self, tokenizer: str, seed: int, scenes: int, clips: int):
        self.tokenizer, self.seed, self.scenes, self.clips = tokenizer, seed, scenes, clips

    def __iter__(self):
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        step, stride = (info.id, info.num_workers) if info else (0, 1)
        packer = Packer(Tokenizer.from_file(self.tokenizer))
        while True:
            made = batch(packer, Random(f"{self.seed}/{step}"), self.scenes, self.clips)
            yield {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in made.items()}
            step += stride


def answer_loss(model: FastVLM, data, tokens):
    """Cross entropy of the answers' tokens, and the share of them guessed right."""
    ids = data["ids"]
    x = model.language.embed_tokens(ids.clamp(min=0))
    slots = ids < 0
    x = x.masked_scatter(slots[..., None], tokens[(-1 - ids[slots])])
    hidden = model.language(x, data["positions"], data["mask"])
    wanted = data["targets"] != IGNORE
    logits = model.language.logits(hidden[wanted])
    targets = data["targets"][wanted]
    return F.cross_entropy(logits, targets), (logits.argmax(-1) == targets).float().mean()


def parameters(*modules: nn.Module):
    """Weight decay on matrices only."""
    all_of = [p for module in modules for p in module.parameters()]
    return [
        {"params": [p for p in all_of if p.dim() >= 2 and p.numel() > 4096], "weight_decay": 0.05},
        {"params": [p for p in all_of if not (p.dim() >= 2 and p.numel() > 4096)], "weight_decay": 0.0},
    ]


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("out", type=Path)
    parse.add_argument("--minutes", type=float, default=100)
    parse.add_argument("--rate", type=float, default=2e-3)
    parse.add_argument("--scenes", type=int, default=28)
    parse.add_argument("--clips", type=int, default=4)
    parse.add_argument("--seed", type=int, default=1)
    parse.add_argument("--threads", type=int, default=1)
    parse.add_argument("--workers", type=int, default=1)
    args = parse.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = str(args.out / "tokenizer.json")
    vocabulary = Tokenizer.from_file(tokenizer)
    first = lambda names: torch.tensor([vocabulary.encode(f" {name}").ids[0] for name in names])  # noqa: E731
    words = {"kind": first(KINDS), "colour": first(COLOURS)}
    model, heads = FastVLM(vocabulary.get_vocab_size()), Heads()
    model.tower.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(parameters(model, heads), lr=args.rate, betas=(0.9, 0.98), fused=True)
    state = {"step": 0, "pictures": 0, "seconds": 0.0}
    saved = args.out / "checkpoint.pt"
    if saved.exists():
        kept = torch.load(saved)
        model.load_state_dict(kept["model"])
        heads.load_state_dict(kept["heads"])
        optimizer.load_state_dict(kept["optimizer"])
        state = kept["state"]
    seed = args.seed * 1000 + state["step"]  # a run that goes on sees new pictures
    data = iter(torch.utils.data.DataLoader(
        Batches(tokenizer, seed, args.scenes, args.clips), batch_size=None, num_workers=args.workers, prefetch_factor=8))

    def save():
        kept = {"model": model.state_dict(), "heads": heads.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
        torch.save(kept, f"{saved}.part")
        os.replace(f"{saved}.part", saved)

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    began, mark = time.time() - state["seconds"], time.time()
    running: dict[str, float] = {}
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    while state["seconds"] < args.minutes * 60 and not stop:
        done = state["seconds"] / (args.minutes * 60)
        rate = args.rate * min(1, (state["step"] + 1) / 200) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        made = next(data)
        features, middle = model.see(made["pictures"])
        auxiliary, named, spelled = heads(features, middle, made)
        tokens = model.project(features).flatten(0, 1)
        auxiliary = auxiliary + 0.5 * named_by_words(model, words, tokens, made)
        loss, right = answer_loss(model, made, tokens)
        optimizer.zero_grad(set_to_none=True)
        (loss + 0.5 * min(1.0, 2 - 2 * done) * auxiliary).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state["step"] += 1
        state["pictures"] += len(made["pictures"])
        state["seconds"] = time.time() - began
        now = {"loss": loss.item(), "auxiliary": auxiliary.item(), "right": right.item(), "named": named.item(),
               "spelled": spelled.item()}
        running = {k: v if k not in running else 0.98 * running[k] + 0.02 * v for k, v in now.items()}
        if state["step"] % 50 == 0:
            line = {**state, "rate": rate, **running}
            with open(args.out / "log.jsonl", "a") as log:
                log.write(json.dumps(line) + "\n")
            print({k: round(v, 5) for k, v in line.items()}, flush=True)
        if time.time() - mark > 300:
            save()
            mark = time.time()
    save()


if __name__ == "__main__":
    main()
