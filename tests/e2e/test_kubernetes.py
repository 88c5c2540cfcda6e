#!/usr/bin/env python3
"""The resources of contrib/k8s: what Kubernetes, kustomize and latentd say of them. The commands in them: test_recipes.py."""

import copy
import json
import os
import re
import shutil
import subprocess

from harness import OK, SOURCE_DIR, Skip, demo_model, equal, run_tests, same_members, test
from json_schema import Schemas

K8S = os.path.join(SOURCE_DIR, "contrib", "k8s")
WAYS = ("nodes", "batch", "parts", "merge")


def documents(text):
    try:
        import yaml
    except ImportError:
        raise Skip("there is no YAML for Python here (Debian: apt-get install python3-yaml)") from None
    return [document for document in yaml.safe_load_all(text) if document is not None]


def read(*path):
    with open(os.path.join(K8S, *path), encoding="utf-8") as file:
        return file.read()


def resources():
    """{path: resource} of every file that a cluster is given."""
    found = {}
    for folder in ("base", *WAYS):
        (kustomization,) = documents(read(folder, "kustomization.yaml"))
        for name in kustomization["resources"]:
            if name.endswith(".yaml"):
                (found[f"{folder}/{name}"],) = documents(read(folder, name))
    return found


def works():
    """{path: resource} of those that have pods."""
    return {path: resource for path, resource in resources().items() if resource["kind"] in ("Job", "Deployment")}


class Kubernetes(Schemas):
    """What it takes: tests/golden/kubernetes."""

    def __init__(self):
        with open(os.path.join(SOURCE_DIR, "tests", "golden", "kubernetes", "schema.json"), encoding="utf-8") as file:
            super().__init__(json.load(file))

    def refuses(self, resource):
        kind = f"{resource['apiVersion']} {resource['kind']}"
        return self.problems(resource, self.root["kinds"][kind], kind)


@test
def every_resource_is_one_that_kubernetes_takes_and_a_wrong_one_is_not(ws):
    assert ws
    kubernetes = Kubernetes()
    for path, resource in resources().items():
        equal(kubernetes.refuses(resource), [], path)
    job = resources()["batch/job.yaml"]
    pod = "batch/v1 Job.spec.template.spec"
    for change, said in (
        (lambda spec: spec.update(terminationGracePeriod=120), f"{pod}.terminationGracePeriod is not documented"),
        (lambda spec: spec.pop("containers"), f"{pod}.containers is missing"),
        (lambda spec: spec["containers"][0].update(command="latentd"), f"{pod}.containers[0].command: "),
        (lambda spec: spec["containers"][0]["env"][0].update(value=[3]), f"{pod}.containers[0].env[0].value: "),
        (lambda spec: spec["containers"][0]["resources"]["limits"].update(cpu=[]), f"{pod}.containers[0].resources.limits.cpu"),
    ):
        wrong = copy.deepcopy(job)
        change(wrong["spec"]["template"]["spec"])
        (problem,) = kubernetes.refuses(wrong)
        assert problem.startswith(said), problem


@test
def every_resource_that_a_kustomization_names_is_there_and_every_file_is_named(ws):
    assert ws
    named, files = set(), set()
    for folder in ("base", *WAYS):
        (kustomization,) = documents(read(folder, "kustomization.yaml"))
        made = [file for one in kustomization.get("configMapGenerator", []) for file in one["files"]]
        for item in [*kustomization["resources"], *made]:
            path = os.path.normpath(os.path.join(K8S, folder, item))
            assert os.path.exists(path), f"{folder}: {item} is not there"
            named.add(path)
        files.update(os.path.join(K8S, folder, name) for name in os.listdir(os.path.join(K8S, folder)))
    bare = {os.path.join(K8S, folder, "kustomization.yaml") for folder in ("base", *WAYS)}
    same_members(named - {os.path.join(K8S, "base")}, files - bare, "files")


@test
def what_a_pod_names_is_in_it_in_the_base_or_in_the_instructions(ws):
    assert ws
    readme = read("README.md")
    (base,) = documents(read("base", "kustomization.yaml"))
    maps = {one["name"]: one["files"] for one in base["configMapGenerator"]}
    accounts = {resource["metadata"]["name"] for resource in resources().values() if resource["kind"] == "ServiceAccount"}
    for path, resource in works().items():
        pod = resource["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] in accounts, f"{path}: account {pod['serviceAccountName']}"
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        same_members(mounts, (volume["name"] for volume in pod["volumes"]), f"{path}: volumes")
        holds = {}  # {folder: names of files that are known to be in it}
        for volume in pod["volumes"]:
            at = mounts[volume["name"]]
            if "configMap" in volume:
                holds[at] = maps[volume["configMap"]["name"]]
            elif "secret" in volume:
                made = rf"create secret generic {volume['secret']['secretName']} --from-file=(\S+)`"
                holds[at] = re.findall(made, readme)
            elif "persistentVolumeClaim" in volume:
                assert f"A claim `{volume['persistentVolumeClaim']['claimName']}`" in readme, path
        said = [word for word in container.get("command", [])] + [one["value"] for one in container.get("env", [])]
        for word in said:
            for file in re.findall(r"(/etc/\S+)", word):
                folder, name = os.path.split(file)
                assert name in holds.get(folder, []), f"{path}: {file} is in none of {holds}"


@test
def a_selector_finds_its_pods_a_policy_its_container_and_a_probe_its_port(ws):
    assert ws
    for path, resource in works().items():
        spec = resource["spec"]
        pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
        for key, value in spec.get("selector", {}).get("matchLabels", {}).items():
            equal(labels.get(key), value, f"{path}: the pods' {key}")
        names = [container["name"] for container in pod["containers"]]
        for rule in spec.get("podFailurePolicy", {}).get("rules", []):
            if "onExitCodes" in rule:
                assert rule["onExitCodes"]["containerName"] in names, f"{path}: {rule}"
        for container in pod["containers"]:
            ports = {port for one in container.get("ports", []) for port in (one["containerPort"], one.get("name"))}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for way in ("httpGet", "tcpSocket", "grpc"):
                    asked = container.get(probe, {}).get(way, {}).get("port")
                    assert asked is None or asked in ports, f"{path}: {probe} asks port {asked} of {ports}"


@test
def an_indexed_job_has_as_many_pods_as_parts(ws):
    assert ws
    spec = works()["parts/job.yaml"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (parts,) = [one["value"] for one in container["env"] if one["name"] == "PARTS"]
    equal((str(spec["completions"]), str(spec["parallelism"])), (parts, parts), "pods")


def rendered(folder):
    kubectl = shutil.which("kubectl")
    if not kubectl:
        raise Skip("there is no kubectl here")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    equal((done.returncode, done.stderr), (OK, ""), f"what kubectl kustomize {folder} says")
    return documents(done.stdout)


@test
def kustomize_renders_every_way_to_resources_that_kubernetes_takes(ws):
    assert ws
    for way in WAYS:
        kinds = []
        for resource in rendered(os.path.join(K8S, way)):
            equal(Kubernetes().refuses(resource), [], f"{way}, {resource['metadata']['name']}")
            kinds.append(resource["kind"])
        work = "Deployment" if way == "nodes" else "Job"
        same_members(kinds, [work] if way == "merge" else ["ServiceAccount", "ConfigMap", work], way)


def own_kustomization(ws, way):
    """That of the instructions, with @way in the place of nodes; `merge` has its own there."""
    texts = re.findall(r"```yaml\n(.*?)```", read("README.md"), re.S)
    (text,) = [text for text in texts if f"k8s/{'merge' if way == 'merge' else 'nodes'}]" in text]
    shutil.copytree(K8S, ws.path("own", "latentd", "contrib", "k8s"), dirs_exist_ok=True)
    shutil.copy(os.path.join(K8S, "base", "latentd.yaml"), ws.path("own"))
    with open(ws.path("own", "latentd.yaml"), "a", encoding="utf-8") as file:
        file.write("# of one's own\n")
    with open(ws.path("own", "kustomization.yaml"), "w", encoding="utf-8") as file:
        file.write(text.replace("k8s/nodes]", f"k8s/{way}]"))
    return ws.path("own")


@test
def a_kustomization_as_in_the_instructions_sets_image_namespace_gpu_and_configuration(ws):
    for way in ("nodes", "batch", "parts"):
        found = {resource["kind"]: resource for resource in rendered(own_kustomization(ws, way))}
        for kind, resource in found.items():
            equal(Kubernetes().refuses(resource), [], f"{way}, {kind}")
            equal(resource["metadata"]["namespace"], "training", f"{way}, {kind}: namespace")
        pod = found["Deployment" if way == "nodes" else "Job"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        equal(container["image"], "registry.example.org/latentd-cuda:1", f"{way}: image")
        equal(container["resources"]["limits"], {"memory": "8Gi", "nvidia.com/gpu": 1}, f"{way}: limits")
        equal([one["key"] for one in pod["tolerations"]], ["nvidia.com/gpu"], f"{way}: tolerations")
        (mounted,) = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
        equal(mounted, found["ConfigMap"]["metadata"]["name"], f"{way}: what is mounted")
        assert found["ConfigMap"]["data"]["latentd.yaml"].endswith("# of one's own\n"), way
        same_members(found["ConfigMap"]["data"], ["latentd.yaml", "pod.sh", "part.sh"], way)


@test
def a_merge_as_in_the_instructions_has_the_image_and_the_namespace_of_its_parts(ws):
    (parts,) = [one for one in rendered(own_kustomization(ws, "parts")) if one["kind"] == "Job"]
    (merge,) = rendered(own_kustomization(ws, "merge"))
    equal(Kubernetes().refuses(merge), [], "merge")
    for what in (
        lambda job: job["metadata"]["namespace"],
        lambda job: job["spec"]["template"]["spec"]["serviceAccountName"],
        lambda job: job["spec"]["template"]["spec"]["containers"][0]["image"],
    ):
        equal(what(merge), what(parts), "merge")


@test
def the_configuration_of_the_pods_is_one_that_the_daemon_takes(ws):
    text = read("base", "latentd.yaml")
    for inside, here in (
        ("/data/models/sdxl-vae", demo_model()),
        ("/data/photos", ws.src),
        ("/data/latents", ws.out),
        ("/var/lib/latentd", ws.path("local")),
        ("/run/latentd", ws.root),
    ):
        text = text.replace(inside, here)
    os.makedirs(ws.src)
    with open(ws.path("latentd.yaml"), "w", encoding="utf-8") as file:
        file.write(text)
    program = os.path.join(ws.programs, "latentd")
    words = [program, "--check-config", "--config", ws.path("latentd.yaml")]
    done = subprocess.run(words, capture_output=True, text=True, env=ws.environment, check=False)
    if "without PostgreSQL" in done.stderr:
        raise Skip("latentd was built without PostgreSQL")
    equal((done.returncode, done.stderr), (OK, ""), "what --check-config says")


@test
def what_the_configuration_writes_to_is_mounted_in_every_pod_that_reads_it(ws):
    assert ws
    (configuration,) = documents(read("base", "latentd.yaml"))
    places = [configuration["state_dir"], os.path.dirname(configuration["api"]["socket"])]
    for dataset in configuration["datasets"]:
        places += [dataset["output"]["path"], dataset["source"]["path"], dataset["recipe"]["vae"]]
    for path in ("nodes/deployment.yaml", "batch/job.yaml"):
        (container,) = works()[path]["spec"]["template"]["spec"]["containers"]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for place in places:
            assert any(f"{place}/".startswith(f"{mount}/") for mount in mounts), f"{path}: {place} is in none of {mounts}"


run_tests()
