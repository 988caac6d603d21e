"""GGUF files hold a checkpoint's weights and vocabulary, by the reader and the quantizer of the gguf package.
Usage: gguf_file.py CHECKPOINT F32.gguf F16.gguf Q8_0.gguf"""

import json
import pathlib
import sys

import numpy as np
from gguf import GGUFReader, GGMLQuantizationType, TensorNameMap, MODEL_ARCH, quants
from safetensors.numpy import load_file

folder = pathlib.Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
weights = load_file(folder / "model.safetensors")
names = TensorNameMap(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
kinds = [GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0]


def interleaved(weight, heads):
    """As llama.cpp's converter turns rows of halves into rows of neighbours."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def checked(path, kind):
    reader = GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert len(tensors) == len(weights)
    for name, weight in weights.items():
        tensor = tensors[names.get_name(name, try_suffixes=(".weight",))]
        if "q_proj" in name:
            weight = interleaved(weight, config["num_attention_heads"])
        if "k_proj" in name:
            weight = interleaved(weight, config["num_key_value_heads"])
        wanted = kind if weight.ndim > 1 else GGMLQuantizationType.F32
        if wanted == GGMLQuantizationType.Q8_0 and weight.shape[-1] % 32:
            wanted = GGMLQuantizationType.F16
        assert tensor.tensor_type == wanted, (name, tensor.tensor_type)
        assert tensor.shape.tolist() == list(reversed(weight.shape)), name
        expected = quants.quantize(weight, wanted)
        assert np.array_equal(expected.view(np.uint8).ravel(), np.asarray(tensor.data).view(np.uint8).ravel()), name
    return {name: field.contents() for name, field in reader.fields.items()}


for path, kind in zip(sys.argv[2:], kinds):
    fields = checked(path, kind)
assert fields["general.architecture"] == "llama"
assert fields["llama.block_count"] == config["num_hidden_layers"]
assert fields["llama.attention.head_count_kv"] == config["num_key_value_heads"]
tokenizer = json.loads((folder / "tokenizer.json").read_text())
tokens = fields["tokenizer.ggml.tokens"]
assert len(tokens) == config["vocab_size"] == len(fields["tokenizer.ggml.token_type"])
assert all(tokens[id] == token for token, id in tokenizer["model"]["vocab"].items())
assert fields["tokenizer.ggml.model"] == "gpt2" and fields["tokenizer.ggml.pre"] == "gpt-2"
assert len(fields["tokenizer.ggml.merges"]) == len(tokenizer["model"]["merges"])
assert fields["tokenizer.ggml.eos_token_id"] == config["eos_token_id"]
print(len(weights), "tensors,", len(tokens), "tokens, in", len(sys.argv) - 2, "files")
