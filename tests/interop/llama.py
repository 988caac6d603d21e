"""A Llama in numpy, float32, from its public definition (Touvron et al. 2023; rotary embedding by halves): an oracle that
needs no torch. Checks the trainer's logits and greedy text against it. Usage: llama.py DIR TRAINER_JSON

TRAINER_JSON has {"ids": [...], "logprobs": [...], "greedy": [...]}: the prompt, the log-probability of each of its
tokens but the first, and what the trainer goes on with at temperature 0."""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

folder = pathlib.Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
index = folder / "model.safetensors.index.json"
files = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else ["model.safetensors"]
weights = {name: tensor for file in files for name, tensor in load_file(folder / file).items()}
heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
size = config["hidden_size"] // heads
theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]


def norm(x, name):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(config["rms_norm_eps"])) * weights[name + ".weight"]


def rotated(x):
    angles = np.arange(len(x))[:, None] * theta ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(angles)[:, None].astype(np.float32), np.sin(angles)[:, None].astype(np.float32)
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attention(x, prefix):
    count = len(x)
    q, k, v = (
        (x @ weights[f"{prefix}.{name}_proj.weight"].T).reshape(count, -1, size) for name in ("q", "k", "v")
    )
    q, k = rotated(q), np.repeat(rotated(k), heads // kv_heads, 1)
    scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(size))
    scores = np.where(np.tril(np.ones((count, count), bool)), scores, -np.inf)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("hts,shd->thd", scores / scores.sum(-1, keepdims=True), np.repeat(v, heads // kv_heads, 1))
    return mixed.reshape(count, -1) @ weights[f"{prefix}.o_proj.weight"].T


def mlp(x, prefix):
    gate = x @ weights[f"{prefix}.gate_proj.weight"].T
    return (gate / (1 + np.exp(-gate)) * (x @ weights[f"{prefix}.up_proj.weight"].T)) @ weights[f"{prefix}.down_proj.weight"].T


def logits(ids):
    x = weights["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        x = x + attention(norm(x, f"{prefix}.input_layernorm"), f"{prefix}.self_attn")
        x = x + mlp(norm(x, f"{prefix}.post_attention_layernorm"), f"{prefix}.mlp")
    output = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"
    return norm(x, "model.norm") @ weights[output].T


told = json.loads(pathlib.Path(sys.argv[2]).read_text())
rows = logits(np.array(told["ids"])).astype(np.float64)
logprobs = rows - np.log(np.exp(rows - rows.max(-1, keepdims=True)).sum(-1, keepdims=True)) - rows.max(-1, keepdims=True)
expected = [logprobs[at, token] for at, token in enumerate(told["ids"][1:])]
difference = np.abs(np.array(expected) - np.array(told["logprobs"])).max()
assert difference < 1e-4, difference
ids = list(told["ids"])
for _ in told["greedy"]:
    ids.append(int(logits(np.array(ids))[-1].argmax()))
assert ids[len(told["ids"]) :] == told["greedy"], (ids[len(told["ids"]) :], told["greedy"])
print(f"{len(expected)} log-probabilities within {difference:.1e}, {len(told['greedy'])} greedy tokens equal")
