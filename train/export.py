"""Writes the trained model as a transformers `fast_vlm` checkpoint in F16: python export.py RUN_DIR OUT_DIR"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from batches import SIDE, TOKENS
from language import EPS, HEADS, HIDDEN, INNER, KV_HEADS, LAYERS, THETA
from tower import LAYERS as BLOCKS
from tower import WIDTHS, folded
from train import FEATURES, FastVLM

CONTEXT = 2048


def weights(model: FastVLM) -> dict[str, torch.Tensor]:
    named = {f"model.vision_tower.timm_model.{name}": value for name, value in folded(model.tower).items()}
    named |= {f"model.multi_modal_projector.{name}": value for name, value in model.projector.state_dict().items()}
    named |= {f"model.language_model.{name}": value for name, value in model.language.state_dict().items()}
    half = lambda value: value.half() if value.is_floating_point() else value  # noqa: E731
    return {name: half(value).contiguous() for name, value in sorted(named.items())}


def config(tokenizer: Tokenizer) -> dict:
    end, pad = tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|endoftext|>")
    return {
        "architectures": ["FastVlmForConditionalGeneration"], "model_type": "fast_vlm", "dtype": "float16",
        "image_seq_length": TOKENS, "image_token_index": tokenizer.token_to_id("<image>"), "image_aspect_ratio": "pad",
        "multimodal_projector_bias": True, "projector_hidden_act": "gelu", "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full", "tie_word_embeddings": True,
        "text_config": {
            "model_type": "phi3", "vocab_size": tokenizer.get_vocab_size(), "hidden_size": HIDDEN,
            "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS, "max_position_embeddings": CONTEXT,
            "original_max_position_embeddings": CONTEXT, "partial_rotary_factor": 1.0, "rope_theta": THETA,
            "rope_scaling": None, "rms_norm_eps": EPS, "tie_word_embeddings": True, "sliding_window": None,
            "bos_token_id": pad, "eos_token_id": end, "pad_token_id": pad,
        },
        "vision_config": {
            "architecture": "fastvit_mci3", "do_pooling": True, "global_pool": "avg", "hidden_size": FEATURES,
            "initializer_range": 0.02, "model_type": "timm_wrapper", "num_classes": 768,
            "model_args": {"inference_mode": True, "layers": BLOCKS, "embed_dims": WIDTHS},
        },
    }


def main(run: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
    model = FastVLM(tokenizer.get_vocab_size()).eval()
    kept = torch.load(run / "checkpoint.pt", map_location="cpu")
    model.load_state_dict(kept["model"])
    with torch.no_grad():
        save_file(weights(model), out / "model.safetensors", {"format": "pt"})
    end, pad = tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("<|endoftext|>")
    processor = {
        "image_processor_type": "LlavaImageProcessor", "do_pad": True, "do_convert_rgb": True, "do_resize": True,
        "size": {"shortest_edge": SIDE}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0],
    }
    files = {
        "config.json": config(tokenizer), "preprocessor_config.json": processor,
        "generation_config.json": {"bos_token_id": pad, "eos_token_id": [end, pad], "pad_token_id": pad, "max_new_tokens": 64},
    }
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(run / name, out / name)
    print(kept["state"], (out / "model.safetensors").stat().st_size, "bytes")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
