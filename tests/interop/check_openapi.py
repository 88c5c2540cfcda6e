"""docs/openapi.json is OpenAPI 3.1, and each of its schemas JSON Schema 2020-12, as other people's tools read them.

check_openapi.py FILE
"""

import json
import sys

import jsonschema
from openapi_spec_validator import validate


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    passed = failed = 0
    checks = [("the document", lambda: validate(document))]
    for name, schema in document["components"]["schemas"].items():
        checks.append((name, lambda s=schema: jsonschema.Draft202012Validator.check_schema(s)))
    for name, check in checks:
        try:
            check()
            passed += 1
        except Exception as error:
            print(f"FAILED {name}: {error}")
            failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
