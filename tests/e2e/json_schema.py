"""As much of JSON Schema as documents of the tests use; a keyword that is not known here is an error, not a pass.

    Schemas(document).problems(value, schema)        schema: of the document, whose other parts it may refer to
"""

import re

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_KNOWN = {"type", "description", "properties", "required", "additionalProperties", "items", "enum", "oneOf"}
_KNOWN |= {"minimum", "maximum", "pattern", "default", "$ref"}


class Schemas:
    def __init__(self, root):
        self.root = root

    def resolve(self, node):
        while "$ref" in node:
            ref, node = node["$ref"], self.root
            for word in ref.removeprefix("#/").split("/"):
                node = node[word]
        return node

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
        if "oneOf" in schema and sum(not self.problems(value, one, at) for one in schema["oneOf"]) != 1:
            found.append(f"{at}: {value!r} is not one of {schema['oneOf']}")
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
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        found = [f"{at}.{k} is missing" for k in schema.get("required", []) if k not in value]
        for name, member in value.items():
            if name in properties:
                found += self.problems(member, properties[name], f"{at}.{name}")
            elif others is False:
                found.append(f"{at}.{name} is not documented")
            elif others is not True:
                found += self.problems(member, others, f"{at}.{name}")
        return found


def _is(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])
