"""Averages the weights of runs that went on from one another: python average.py OUT_DIR RUN_DIR...

Near the end of training the mean of several checkpoints is better than each (arXiv 2203.05482).
"""

import shutil
import sys
from pathlib import Path

import torch


def main(out: Path, *runs: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    kept = [torch.load(run / "checkpoint.pt", map_location="cpu") for run in runs]
    mean = lambda name: sum(each["model"][name].double() for each in kept) / len(kept)  # noqa: E731
    model = {name: mean(name).to(value.dtype) for name, value in kept[-1]["model"].items()}
    torch.save({**kept[-1], "model": model}, out / "checkpoint.pt")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(runs[-1] / name, out / name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
