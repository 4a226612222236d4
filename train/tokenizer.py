"""The byte-level BPE vocabulary: python tokenizer.py OUT_DIR

Learned from the questions and answers of generated scenes. Printed words are left out, so that reading one spells it letter
by letter; digits are never merged. Any text can be typed: what has no merge falls back to bytes.
"""

import json
import sys
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from clips import plan_clip
from questions import converse, converse_blind, converse_clip, converse_several
from scene import plan

VOCABULARY = 1024
SPECIALS = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<image>"]
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% if message['content'] | selectattr('type', 'equalto', 'image') | list | length > 0 %}{{ '\\n' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def corpus(rng: Random, n: int):
    for _ in range(n):
        scenes = [plan(rng) for _ in range(2)]
        for scene in scenes:
            scene.text = scene.text and "X"
        talks = converse(rng, scenes[0], 4) + converse_clip(rng, plan_clip(rng), 3)
        talks += converse_several(rng, scenes, 2) + [converse_blind(rng)]
        for turns in talks:
            for turn in turns:
                yield turn.question
                yield turn.answer
        yield 'The word is "X". The number is "1". the word "X" the number "1"'


def build() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in SPECIALS], min_frequency=2,
    )
    tokenizer.train_from_iterator(corpus(Random(1), 6000), trainer)
    return tokenizer


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048, "eos_token": "<|end|>",
        "pad_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "chat_template.jinja").write_text(TEMPLATE)
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
