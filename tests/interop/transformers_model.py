"""A checkpoint loads in transformers as LlamaForCausalLM with the trainer's logits and greedy text, and a folder that
transformers saves, in several files, is what `trainer` then reads. Usage: transformers_model.py DIR TRAINER_JSON [SAVE_TO]

For TRAINER_JSON see llama.py. Needs torch (5.6 GB from PyPI), so it is run on demand: `pip install torch` into
target/interop, then `cargo test -p tests --test interop -- --ignored transformers_itself`."""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

torch.set_grad_enabled(False)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
told = json.loads(pathlib.Path(sys.argv[2]).read_text())
ids = torch.tensor([told["ids"]])
logprobs = torch.log_softmax(model(ids).logits[0].double(), -1)
expected = [logprobs[at, token].item() for at, token in enumerate(told["ids"][1:])]
difference = max(abs(a - b) for a, b in zip(expected, told["logprobs"]))
assert difference < 1e-4, difference
text = model.generate(
    ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=len(told["greedy"]), eos_token_id=None,
    pad_token_id=0,
)
assert text[0, ids.shape[1] :].tolist() == told["greedy"], (text, told["greedy"])
if len(sys.argv) > 3:
    model.save_pretrained(sys.argv[3], max_shard_size="200KB")
print(type(model).__name__, f"within {difference:.1e}, {len(told['greedy'])} greedy tokens equal")
