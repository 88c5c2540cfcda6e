"""docs/openapi.json: its operations, and whether an answer is what it says.

As much of JSON Schema as the file uses; a keyword that is not known here is an error, not a pass.
"""

import json
import os
import re

from harness import SOURCE_DIR

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_KNOWN = {"type", "description", "properties", "required", "additionalProperties", "items", "enum"}
_KNOWN |= {"minimum", "maximum", "pattern", "default", "$ref"}


class Document:
    def __init__(self):
        with open(os.path.join(SOURCE_DIR, "docs", "openapi.json"), encoding="utf-8") as file:
            self.root = json.load(file)

    def resolve(self, node):
        while "$ref" in node:
            ref, node = node["$ref"], self.root
            for word in ref.removeprefix("#/").split("/"):
                node = node[word]
        return node

    def operations(self):
        """{(method, path): operation}"""
        return {
            (method.upper(), path): operation
            for path, methods in self.root["paths"].items()
            for method, operation in methods.items()
        }

    def schema(self, operation, status):
        """Of the answer with that status; None where the operation does not document it."""
        response = operation["responses"].get(str(status))
        if response is None:
            return None
        (content,) = self.resolve(response)["content"].values()
        return content["schema"]

    def content_type(self, operation, status):
        (name,) = self.resolve(operation["responses"][str(status)])["content"]
        return name

    def problems(self, value, schema, at="$"):
        """What is wrong with a value, as lines."""
        schema = self.resolve(schema)
        unknown = set(schema) - _KNOWN
        if unknown:
            return [f"{at}: the schema has {unknown}, which this test does not know"]
        types = schema.get("type", [])
        types = types if isinstance(types, list) else [types]
        if types and not any(_is(value, t) for t in types):
            return [f"{at}: {value!r} is no {' or '.join(types)}"]
        found = []
        if "enum" in schema and value not in schema["enum"]:
            found.append(f"{at}: {value!r} is none of {schema['enum']}")
        if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
            found.append(f"{at}: {value!r} does not match {schema['pattern']}")
        if _is(value, "number"):
            if value < schema.get("minimum", value) or value > schema.get("maximum", value):
                found.append(f"{at}: {value!r} is out of range")
        if isinstance(value, dict):
            found += self._members(value, schema, at)
        if isinstance(value, list):
            for i, item in enumerate(value):
                found += self.problems(item, schema.get("items", {}), f"{at}[{i}]")
        return found

    def _members(self, value, schema, at):
        properties = schema.get("properties", {})
        found = [f"{at}.{k} is missing" for k in schema.get("required", []) if k not in value]
        for name, member in value.items():
            if name in properties:
                found += self.problems(member, properties[name], f"{at}.{name}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{at}.{name} is not documented")
        return found


def _is(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])
