"""Runs every query of docs/INSPECT.md in the working folder. Usage: inspect_document.py INSPECT.md"""

import re
import sys

import duckdb

text = open(sys.argv[1], encoding="utf-8").read()
snippets = re.findall(r"^```(sql|python)\n(.*?)^```$", text, re.M | re.S)
assert len(snippets) >= 10, len(snippets)
for language, snippet in snippets:
    print(f"--- {language}\n{snippet}", flush=True)
    if language == "python":
        exec(compile(snippet, "INSPECT.md", "exec"), {"__name__": "__main__"})
    else:
        result = duckdb.sql(snippet.strip().rstrip(";"))
        rows = result.fetchall()
        assert rows, snippet
        print(rows[:3], flush=True)
