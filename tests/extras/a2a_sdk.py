"""Reads JSON with the A2A project's own package: run with the Python of ``.venv-a2a``.

In: lines ``NAME JSON``. Out: the same, as the package writes it; an unknown field is an error.
"""

import json
import sys
from importlib import import_module

types = import_module("a2a.types.a2a_pb2")
json_format = import_module("google.protobuf.json_format")

for line in sys.stdin:
    name, _, text = line.partition(" ")
    read = json_format.ParseDict(json.loads(text), getattr(types, name)())
    sys.stdout.write(f"{name} {json.dumps(json_format.MessageToDict(read))}\n")
