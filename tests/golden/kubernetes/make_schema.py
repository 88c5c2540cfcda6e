#!/usr/bin/env python3
"""Makes schema.json: what Kubernetes takes for the kinds that contrib/k8s uses, unknown fields refused, without prose and states.

make_schema.py FOLDER: kubernetes-json-schema/v1.29.0-local-strict of the package kubernetes-validate 1.37.0 (Apache 2.0),
made from Kubernetes' own OpenAPI document. 1.29 is the oldest whose schema of podFailurePolicy is sound.
"""

import json
import os
import sys

KINDS = ("deployment-apps-v1", "job-batch-v1", "configmap-v1", "serviceaccount-v1")
LEFT_OUT = ("description", "default", "format", "$id", "$schema")


def load(folder, name):
    with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as file:
        return json.load(file)


def plain(schema):
    """Without what is no rule."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "$ref":
            kept[key] = "#/definitions/" + value.rpartition("/")[2]
        elif key == "properties":
            kept[key] = {name: plain(member) for name, member in value.items()}
        elif key not in LEFT_OUT and not key.startswith("x-"):
            kept[key] = plain(value)
    return kept


def referred(schema):
    if isinstance(schema, list):
        for item in schema:
            yield from referred(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from referred(value)


def main():
    defined = load(sys.argv[1], "_definitions")["$defs"]
    kinds = {}
    for name in KINDS:
        kind = plain(load(sys.argv[1], name))
        kind["properties"].pop("status", None)  # a manifest has none
        words = [kind["properties"][key]["enum"][0] for key in ("apiVersion", "kind")]
        kinds[" ".join(words)] = kind
    definitions, wanted = {}, list(referred(list(kinds.values())))
    while wanted:
        name = wanted.pop()
        if name not in definitions:
            definitions[name] = plain(defined[name])
            wanted += referred(definitions[name])
    lines = [f"{json.dumps(name)}: {json.dumps(definitions[name], sort_keys=True)}" for name in sorted(definitions)]
    rows = [f"{json.dumps(name)}: {json.dumps(kinds[name], sort_keys=True)}" for name in sorted(kinds)]
    target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema.json")
    with open(target, "w", encoding="utf-8") as file:
        file.write('{"kinds": {\n' + ",\n".join(rows) + '\n}, "definitions": {\n' + ",\n".join(lines) + "\n}}\n")


main()
