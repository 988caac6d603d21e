"""Trains the trainer's model a second time, in float64 with numpy alone, and compares losses and gradients.

Usage: train_reference.py TOKENS.bin AT_REST RUN

RUN is the output folder of a run; AT_REST that of one step with the same seed, settings and data, a learning rate of 0
and no clipping: its weights are the initial ones, and its first moments are (1 - beta1) times the first gradient.
The order of samples is computed here by docs/FORMAT.md. Nothing is shared with the trainer but these files.
"""
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-3, 1e-4
U64 = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


class Value:
    """An array on a tape: what it was made from, and how its gradient goes back there."""

    def __init__(self, data, parents=()):
        self.data, self.parents, self.grad = np.asarray(data, dtype=np.float64), parents, None

    def __add__(self, other):
        other = lift(other)
        return Value(self.data + other.data, ((self, lambda g: g), (other, lambda g: g)))

    def __mul__(self, other):
        other = lift(other)
        return Value(self.data * other.data, ((self, lambda g: g * other.data), (other, lambda g: g * self.data)))

    def __sub__(self, other):
        return self + lift(other) * -1.0

    def __truediv__(self, other):
        return self * lift(other).power(-1.0)

    def __matmul__(self, other):
        left, right = self.data, other.data
        return Value(left @ right, ((self, lambda g: g @ right.swapaxes(-1, -2)), (other, lambda g: left.swapaxes(-1, -2) @ g)))

    def power(self, p):
        return Value(self.data**p, ((self, lambda g: g * p * self.data ** (p - 1)),))

    def exp(self):
        result = np.exp(self.data)
        return Value(result, ((self, lambda g: g * result),))

    def log(self):
        return Value(np.log(self.data), ((self, lambda g: g / self.data),))

    def sum(self, axis=None):
        shape = self.data.shape
        return Value(self.data.sum(axis=axis, keepdims=True), ((self, lambda g: np.broadcast_to(g, shape)),))

    def reshape(self, *shape):
        before = self.data.shape
        return Value(self.data.reshape(shape), ((self, lambda g: g.reshape(before)),))

    def transpose(self, *axes):
        back = np.argsort(axes)
        return Value(self.data.transpose(axes), ((self, lambda g: g.transpose(back)),))

    def take(self, index):
        """Elements by any numpy index."""
        shape = self.data.shape

        def back(g):
            out = np.zeros(shape)
            np.add.at(out, index, g)
            return out

        return Value(self.data[index], ((self, back),))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent, _ in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.data)
        for node in reversed(order):
            for parent, back in node.parents:
                part = unbroadcast(back(node.grad), parent.data.shape)
                parent.grad = part if parent.grad is None else parent.grad + part


def lift(x):
    return x if isinstance(x, Value) else Value(x)


def unbroadcast(gradient, shape):
    """Sums over the axes along which an operand was repeated."""
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and gradient.shape[axis] != 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


def softmax(x):
    e = (x - x.data.max(axis=-1, keepdims=True)).exp()
    return e / e.sum(-1)


def silu(x):
    return x / ((x * -1.0).exp() + 1.0)


def norm(x, weight, eps):
    return x * ((x * x).sum(-1) * (1.0 / x.data.shape[-1]) + eps).power(-0.5) * weight


def linear(x, weight):
    return x @ weight.transpose(1, 0)


def rotate(x, theta):
    """Rotate-half rotary embedding of [.., T, D]."""
    positions, width = x.data.shape[-2:]
    half = width // 2
    angle = np.arange(positions)[:, None] * theta ** (-2.0 * np.arange(half) / width)
    cos, sin = np.tile(np.cos(angle), 2), np.tile(np.sin(angle), 2)
    turn = np.zeros((width, width))
    turn[np.arange(half) + half, np.arange(half)] = -1.0
    turn[np.arange(half), np.arange(half) + half] = 1.0
    return x * cos + (x @ Value(turn)) * sin


def attention(x, weights, prefix, config):
    batch, positions, _ = x.data.shape
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    width, group = config["hidden_size"] // heads, heads // kv_heads
    project = lambda name: linear(x, weights[f"{prefix}.{name}.weight"])
    split = lambda y, count, each: y.reshape(batch, positions, count, each, width).transpose(0, 2, 3, 1, 4)
    q = rotate(split(project("q_proj"), kv_heads, group), config["rope_theta"])
    k = rotate(split(project("k_proj"), kv_heads, 1), config["rope_theta"])
    v = split(project("v_proj"), kv_heads, 1)
    mask = np.where(np.tril(np.ones((positions, positions))) > 0, 0.0, -1e30)
    seen = softmax((q @ k.transpose(0, 1, 2, 4, 3)) * width**-0.5 + mask)
    out = (seen @ v).transpose(0, 3, 1, 2, 4).reshape(batch, positions, heads * width)
    return linear(out, weights[f"{prefix}.o_proj.weight"])


def gated(x, gate, up, down):
    return linear(silu(linear(x, gate)) * linear(x, up), down)


def packed(x, both, down):
    """A feed-forward layer whose gate and value projections are one matrix."""
    inner = both.data.shape[0] // 2
    return gated(x, both.take(slice(0, inner)), both.take(slice(inner, 2 * inner)), down)


def experts(x, weights, prefix, moe):
    """All experts are computed, and those not chosen weighted with 0. Returns the output and the auxiliary loss."""
    batch, positions, hidden = x.data.shape
    count, chosen = moe["n_routed_experts"], moe["num_experts_per_tok"]
    rows = x.reshape(batch * positions, hidden)
    scores = softmax(linear(rows, weights[f"{prefix}.block_sparse_moe.router.layer.weight"]))
    best = np.argsort(-scores.data, axis=-1, kind="stable")[:, :chosen]
    mask = np.zeros_like(scores.data)
    np.put_along_axis(mask, best, 1.0, axis=-1)
    share = scores * mask
    if moe["norm_topk_prob"] and chosen > 1:
        share = share / (share.sum(-1) + 1e-20)
    inputs, outputs = (weights[f"{prefix}.block_sparse_moe.{name}_linear.weight"] for name in ("input", "output"))
    y = Value(np.zeros((batch * positions, hidden)))
    for expert in range(count):
        y = y + share.take((slice(None), slice(expert, expert + 1))) * packed(rows, inputs.take(expert), outputs.take(expert))
    if moe["n_shared_experts"]:
        y = y + packed(rows, *(weights[f"{prefix}.shared_mlp.{name}_linear.weight"] for name in ("input", "output")))
    by_sequence = mask.reshape(batch, positions, count) if moe["seq_aux"] else mask.reshape(1, -1, count)
    crowded = by_sequence.sum(axis=1, keepdims=True) * count / (by_sequence.shape[1] * chosen)
    auxiliary = (scores.reshape(*by_sequence.shape) * crowded).sum() * (moe["aux_loss_alpha"] / (batch * positions))
    return y.reshape(batch, positions, hidden), auxiliary


def losses(weights, config, inputs, targets):
    """Mean cross-entropy, and the auxiliary loss over all layers."""
    x, auxiliary = weights["model.embed_tokens.weight"].take(inputs), Value(np.zeros(1))
    for layer in range(config["num_hidden_layers"]):
        prefix, eps = f"model.layers.{layer}", config["rms_norm_eps"]
        x = x + attention(norm(x, weights[f"{prefix}.input_layernorm.weight"], eps), weights, f"{prefix}.self_attn", config)
        h = norm(x, weights[f"{prefix}.post_attention_layernorm.weight"], eps)
        if config.get("moe"):
            y, part = experts(h, weights, prefix, config["moe"])
            auxiliary = auxiliary + part.reshape(1)
        else:
            y = gated(h, *(weights[f"{prefix}.mlp.{name}_proj.weight"] for name in ("gate", "up", "down")))
        x = x + y
    x = norm(x, weights["model.norm.weight"], config["rms_norm_eps"])
    head = weights["model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    logits = linear(x, head).reshape(inputs.size, -1)
    highest = logits.data.max(axis=-1, keepdims=True)
    lse = (logits - highest).exp().sum(-1).log() + highest
    chosen = logits.take((np.arange(inputs.size), targets.reshape(-1))).reshape(inputs.size, 1)
    return (lse - chosen).sum() * (1.0 / inputs.size), auxiliary


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & U64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & U64
    return x ^ (x >> 31)


def permuted(n, windows, seed, epoch):
    """docs/FORMAT.md, "Sample order"."""
    bits = max((windows - 1).bit_length(), 2)
    key = mix(mix((seed + GAMMA) & U64) ^ ((epoch * GAMMA) & U64))
    low_bits = bits // 2
    low_mask, high_mask = (1 << low_bits) - 1, (1 << (bits - low_bits)) - 1
    while True:
        high, low = n >> low_bits, n & low_mask
        for i in range(8):
            round_key = mix((key + (i + 1) * GAMMA) & U64)
            if i % 2 == 0:
                high ^= mix(round_key ^ low) & high_mask
            else:
                low ^= mix(round_key ^ high) & low_mask
        n = (high << low_bits) | low
        if n < windows:
            return n


def tensors(path):
    """A safetensors file of float32."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, found = json.loads(data[8 : 8 + length]), {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return found


def latest(out):
    return out / "checkpoints" / (out / "checkpoints/latest").read_text().strip()


def learning_rate(step, total, train):
    if step <= train["warmup_iters"]:
        return train["learning_rate"] * step / train["warmup_iters"]
    done = min(1.0, (step - train["warmup_iters"]) / (total - train["warmup_iters"]))
    return train["min_lr"] + 0.5 * (1 + math.cos(math.pi * done)) * (train["learning_rate"] - train["min_lr"])


def main():
    tokens, at_rest, run = np.fromfile(sys.argv[1], "<u2").astype(np.int64), Path(sys.argv[2]), Path(sys.argv[3])
    config = json.loads((latest(run) / "config.json").read_text())
    config["rope_theta"] = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    state = json.loads((latest(run) / "trainer_state.json").read_text())
    train, positions = state["config"], state["config"]["sequence_length"]
    initial, moments = tensors(latest(at_rest) / "model.safetensors"), tensors(latest(at_rest) / "optimizer.safetensors")
    weights = {name: Value(value) for name, value in initial.items()}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    records = [record for record in records if "loss" in record]
    windows, batch = (len(tokens) - 1) // positions, train["batch_size"] * train["accumulation_steps"]
    first = {name: np.zeros_like(value) for name, value in initial.items()}
    second = {name: np.zeros_like(value) for name, value in initial.items()}
    worst_loss = worst_aux = 0.0
    for record in records:
        step = record["step"]
        samples = range((step - 1) * batch, step * batch)
        starts = [permuted(n % windows, windows, train["seed"], n // windows) * positions for n in samples]
        rows = np.stack([tokens[start : start + positions + 1] for start in starts])
        # One micro-batch after the other: balance is that of a micro-batch, where it is not a sequence's.
        parts = [losses(weights, config, part[:, :-1], part[:, 1:]) for part in np.split(rows, train["accumulation_steps"])]
        cross_entropy = sum((part[0].reshape(1) for part in parts), Value(np.zeros(1))) * (1.0 / len(parts))
        auxiliary = sum((part[1] for part in parts), Value(np.zeros(1))) * (1.0 / len(parts))
        (cross_entropy + auxiliary).backward()
        gradients = {name: value.grad for name, value in weights.items()}
        worst_loss = max(worst_loss, abs(cross_entropy.data.item() - record["loss"]))
        worst_aux = max(worst_aux, abs(auxiliary.data.item() - record.get("aux_loss", 0.0)))
        if step == 1:
            worst_gradient = max(
                np.linalg.norm(moments[f"first.{name}"] / (1 - train["beta1"]) - g) / np.linalg.norm(g)
                for name, g in gradients.items()
            )
        total_norm = math.sqrt(sum((g**2).sum() for g in gradients.values()))
        scale = min(1.0, train["grad_clip"] / total_norm) if train["grad_clip"] > 0 else 1.0
        rate = learning_rate(step, len(records), train)
        for name, g in gradients.items():
            g, value = g * scale, weights[name].data
            first[name] = train["beta1"] * first[name] + (1 - train["beta1"]) * g
            second[name] = train["beta2"] * second[name] + (1 - train["beta2"]) * g * g
            unbiased = [m / (1 - b**step) for m, b in ((first[name], train["beta1"]), (second[name], train["beta2"]))]
            decay = train["weight_decay"] if value.ndim > 1 else 0.0
            value = value * (1 - rate * decay) - rate * unbiased[0] / (np.sqrt(unbiased[1]) + train["adam_eps"])
            weights[name] = Value(value)
    fell = records[0]["loss"] - records[-1]["loss"]
    print(f"{len(records)} steps, the loss fell by {fell:.3f}: losses within {worst_loss:.2e}, auxiliary losses within "
          f"{worst_aux:.2e}, first gradients within {worst_gradient:.2e}")
    assert len(records) == 50 and fell > 0.1, "the run is no test"
    assert worst_loss < LOSS_TOLERANCE and worst_aux < LOSS_TOLERANCE and worst_gradient < GRADIENT_TOLERANCE


main()
