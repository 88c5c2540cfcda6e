#include "encoder/cuda_plugin_load.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLUGIN "latentd-cuda.so"

/* The program's folder, to be freed. */
static char *program_folder(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	path[n > 0 ? n : 0] = 0;
	slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	return xstrdup(path);
}

/* NULL where there is no such file, or with *why where it cannot be loaded. */
static void *try_path(const char *path, char **why)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library && (access(path, F_OK) == 0 || !*why)) {
		free(*why);
		*why = xstrdup(dlerror());
	}
	return library;
}

static void *open_library(const char *path, char **why)
{
	cleanup_free char *folder = program_folder();
	cleanup_free char *beside = xasprintf("%s/" PLUGIN, folder);
	cleanup_free char *installed = xasprintf("%s/../lib/latentd/" PLUGIN, folder);
	const char *named = path ? path : getenv("LATENTD_CUDA_PLUGIN");
	const char *const places[] = {PLUGIN, installed, beside};
	void *library = NULL;

	if (named)
		return try_path(named, why);
	for (size_t i = ARRAY_SIZE(places); i-- > 0 && !library;)
		library = try_path(places[i], why);
	return library;
}

const struct latentd_cuda_api *cuda_plugin_load(const char *path, struct error *err)
{
	static const struct latentd_cuda_handshake handshake = LATENTD_CUDA_HANDSHAKE;
	struct latentd_cuda_error refusal = {LATENTD_CUDA_OK, ""};
	cleanup_free char *why = NULL;
	void *library = open_library(path, &why);
	latentd_cuda_plugin_fn plugin = NULL;
	const struct latentd_cuda_api *api;

	if (!library) {
		error_set(err, ERR_CONFIG,
			  "the CUDA engine cannot be loaded: %s; install " PLUGIN
			  " (a build with CUDA makes it) and its libraries, or name it with "
			  "LATENTD_CUDA_PLUGIN",
			  why);
		return NULL;
	}
	*(void **)&plugin = dlsym(library, LATENTD_CUDA_SYMBOL);
	if (!plugin) {
		error_set(err, ERR_CONFIG,
			  "the CUDA engine has no symbol " LATENTD_CUDA_SYMBOL
			  ": it is another library");
		return NULL;
	}
	api = plugin(&handshake, &refusal);
	if (!api)
		cuda_plugin_error(&refusal, err);
	return api;
}

int cuda_plugin_error(const struct latentd_cuda_error *from, struct error *err)
{
	switch (from->code) {
	case LATENTD_CUDA_NO_MEMORY:
		return error_set(err, ERR_NOMEM, "%s", from->message);
	case LATENTD_CUDA_TOO_LARGE:
		return error_data(err, "too_large", "%s", from->message);
	case LATENTD_CUDA_CANCELLED:
		return error_set(err, ERR_TRANSIENT, "the encode was cancelled");
	case LATENTD_CUDA_DEVICE_LOST:
	case LATENTD_CUDA_ECC:
		return error_set(err, ERR_IO, "%s", from->message);
	case LATENTD_CUDA_BUG:
		return error_set(err, ERR_BUG, "%s", from->message);
	default:
		return error_set(err, ERR_CONFIG, "%s", from->message);
	}
}
