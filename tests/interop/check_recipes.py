"""The resources of contrib/k8s against the schemas of Kubernetes, unknown fields refused.

check_recipes.py FOLDER
"""

import os
import sys

import kubernetes_validate
import yaml

VERSION = "1.29"  # the oldest whose schema of podFailurePolicy is sound


def resources(folder):
    """(path, resource) of each that a cluster is given: those of kustomizations are for kustomize."""
    for at, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if not name.endswith(".yaml") or name in ("kustomization.yaml", "latentd.yaml"):
                continue
            path = os.path.join(at, name)
            with open(path, encoding="utf-8") as file:
                for document in yaml.safe_load_all(file):
                    yield os.path.relpath(path, folder), document


def main():
    passed = failed = 0
    for path, resource in resources(sys.argv[1]):
        try:
            kubernetes_validate.validate(resource, VERSION, strict=True)
            passed += 1
        except Exception as error:
            print(f"FAILED {path}: {str(error).splitlines()[0]}")
            failed += 1
    failed += passed == 0
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
