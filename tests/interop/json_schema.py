"""A manifest and a config fit the JSON Schemas that are checked in. Usage: json_schema.py DATASET SCHEMAS"""

import json
import pathlib
import sys
import tomllib

from jsonschema import Draft202012Validator

folder, schemas = map(pathlib.Path, sys.argv[1:3])
manifest = json.loads((folder / "manifest.json").read_text())
config = tomllib.loads((folder / "config.toml").read_text())
for name, document in [("manifest", manifest), ("config", config)]:
    schema = json.loads((schemas / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
print("manifest and config fit their schemas")
