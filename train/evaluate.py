"""Answers a held-out set with transformers: python evaluate.py MODEL_DIR EVAL_DIR [--write]

Float32, greedy, from the exported checkpoint. Prints accuracy per task. With --write, the answers go into eval.json (the
engine's are compared with them), and the logits of the first token of 24 questions into logits.safetensors.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

import compat  # noqa: F401  before transformers
from batches import SIDE, TOKENS
from scene import square
from transformers import AutoTokenizer, FastVlmForConditionalGeneration

LOGITS = 24


class Answerer:
    def __init__(self, folder: Path):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.image = self.tokenizer.convert_tokens_to_ids("<image>")

    def prompt(self, images: int, talk: list[dict[str, str]]) -> torch.Tensor:
        """`talk` alternates user and assistant; the pictures belong to its first message."""
        parts = [{"type": "image"}] * images + [{"type": "text", "text": talk[0]["content"]}]
        messages = [{"role": "user", "content": parts}, *talk[1:]]
        text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = []
        for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
            ids += [token] * (TOKENS if token == self.image else 1)
        return torch.tensor([ids])

    def answer(self, pixels, talk) -> tuple[str, torch.Tensor]:
        ids = self.prompt(0 if pixels is None else len(pixels), talk)
        out = self.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, max_new_tokens=64, do_sample=False,
            output_logits=True, return_dict_in_generate=True)
        return self.tokenizer.decode(out.sequences[0, ids.shape[1] :], skip_special_tokens=True), out.logits[0][0]


def pixels_of(folder: Path, names: list[str]) -> torch.Tensor | None:
    squares = [torch.from_numpy(square(Image.open(folder / name).convert("RGB"), SIDE).copy()) for name in names]
    return torch.stack(squares).permute(0, 3, 1, 2).float() / 255 if squares else None


@torch.inference_mode()
def main(model: Path, folder: Path, write: bool) -> None:
    answerer = Answerer(model)
    cases = json.loads((folder / "eval.json").read_text())
    score: dict[str, list[bool]] = defaultdict(list)
    wrong, logits = [], {}
    for number, case in enumerate(cases):
        pixels = pixels_of(folder, case["images"])
        for index, turns in enumerate(case["conversations"]):
            talk = []
            for turn in turns:
                talk.append({"role": "user", "content": turn["question"]})
                turn["pytorch"], first = answerer.answer(pixels, talk)
                talk.append({"role": "assistant", "content": turn["pytorch"]})
                score[turn["task"]].append(turn["pytorch"] == turn["answer"])
                if turn["pytorch"] != turn["answer"]:
                    wrong.append(f"{case['images'][:1]} {turn['question']} expected {turn['answer']} got {turn['pytorch']}")
                if index == 0 and len(talk) == 2 and number % (len(cases) // LOGITS) == 0:
                    logits[f"{number}"] = first.float()
    print("\n".join(wrong[:60]))
    for task, right in sorted(score.items()):
        print(f"{task:10} {sum(right):4} of {len(right):4}  {100 * sum(right) / len(right):6.2f} %")
    if write:
        (folder / "eval.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
        save_file(logits, folder / "logits.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), "--write" in sys.argv)
