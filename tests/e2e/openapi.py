"""docs/openapi.json: its operations, and whether an answer is what it says."""

import json
import os

from harness import SOURCE_DIR
from json_schema import Schemas


class Document(Schemas):
    def __init__(self):
        with open(os.path.join(SOURCE_DIR, "docs", "openapi.json"), encoding="utf-8") as file:
            super().__init__(json.load(file))

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
