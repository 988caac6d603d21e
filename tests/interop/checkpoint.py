"""A checkpoint is readable with the safetensors package and named as in LlamaForCausalLM. Usage: checkpoint.py DIR"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

folder = pathlib.Path(sys.argv[1])
config = json.loads((folder / "config.json").read_text())
assert config["architectures"] == ["LlamaForCausalLM"], config
assert config["model_type"] == "llama"
tensors = load_file(folder / "model.safetensors")

hidden, vocab = config["hidden_size"], config["vocab_size"]
head = config.get("head_dim") or hidden // config["num_attention_heads"]
heads, kv_heads = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
wanted = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
if not config["tie_word_embeddings"]:
    wanted["lm_head.weight"] = (vocab, hidden)
for layer in range(config["num_hidden_layers"]):
    base = f"model.layers.{layer}."
    wanted |= {
        base + "input_layernorm.weight": (hidden,),
        base + "post_attention_layernorm.weight": (hidden,),
        base + "self_attn.q_proj.weight": (heads, hidden),
        base + "self_attn.k_proj.weight": (kv_heads, hidden),
        base + "self_attn.v_proj.weight": (kv_heads, hidden),
        base + "self_attn.o_proj.weight": (hidden, heads),
        base + "mlp.gate_proj.weight": (config["intermediate_size"], hidden),
        base + "mlp.up_proj.weight": (config["intermediate_size"], hidden),
        base + "mlp.down_proj.weight": (hidden, config["intermediate_size"]),
    }
assert {name: tensor.shape for name, tensor in tensors.items()} == wanted
assert all(np.isfinite(tensor).all() for tensor in tensors.values())
print(len(tensors), "tensors,", sum(tensor.size for tensor in tensors.values()), "parameters")
