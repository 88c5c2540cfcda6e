"""GPUs that host_plugin.c makes up, which computes on the processor."""

import os

PLUGIN = os.path.join(os.environ["LATENTD_BUILD_DIR"], "tests", "host_plugin.so")


def use(ws, plugin=PLUGIN, **how):
    ws.environment["LATENTD_CUDA_PLUGIN"] = plugin
    ws.environment["HOST_PLUGIN_LOG"] = ws.path("opened")
    ws.environment.pop("CACHE_DIRECTORY", None)
    ws.environment["XDG_CACHE_HOME"] = ws.path("cache")
    for name, value in how.items():
        ws.environment[name] = value


def opened(ws):
    """The options of each engine that was opened."""
    with open(ws.path("opened"), encoding="utf-8") as file:
        return file.read().splitlines()
