"""A tokenizer we trained loads in transformers and round-trips text. Usage: transformers_tokenizer.py FOLDER"""

import sys

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")
for text in ["The river rose again last night.", "河水昨夜又涨了，没有漫过小路。", "  two  spaces\n\tand a tab", "🛶 42"]:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text, (text, tokenizer.decode(ids))
print("transformers loads the tokenizer,", len(tokenizer), "entries")
