#include "handshake.h"

#include "plugin_error.h"

#include <stddef.h>

static const struct {
	const char *name;
	size_t offset;
} sizes[] = {
    {"handshake", offsetof(struct latentd_cuda_handshake, size)},
    {"api", offsetof(struct latentd_cuda_handshake, api)},
    {"config", offsetof(struct latentd_cuda_handshake, config)},
    {"tensor", offsetof(struct latentd_cuda_handshake, tensor)},
    {"device", offsetof(struct latentd_cuda_handshake, device)},
    {"options", offsetof(struct latentd_cuda_handshake, options)},
    {"caps", offsetof(struct latentd_cuda_handshake, caps)},
    {"item", offsetof(struct latentd_cuda_handshake, item)},
    {"job", offsetof(struct latentd_cuda_handshake, job)},
    {"usage", offsetof(struct latentd_cuda_handshake, usage)},
    {"error", offsetof(struct latentd_cuda_handshake, error)},
};

static uint32_t size_at(const struct latentd_cuda_handshake *h, size_t offset)
{
	return *(const uint32_t *)((const char *)h + offset);
}

int handshake_check(const struct latentd_cuda_handshake *host, struct latentd_cuda_error *err)
{
	static const struct latentd_cuda_handshake plugin = LATENTD_CUDA_HANDSHAKE;

	/* Version and own size come first in every version: nothing behind them is read before they are right. */
	if (host->abi != plugin.abi)
		return plugin_error_set(err, LATENTD_CUDA_ABI_MISMATCH,
					"latentd speaks version %u of the plugin's interface, "
					"latentd-cuda.so version %u",
					host->abi, plugin.abi);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t theirs = size_at(host, sizes[i].offset),
			 ours = size_at(&plugin, sizes[i].offset);

		if (theirs != ours)
			return plugin_error_set(err, LATENTD_CUDA_ABI_MISMATCH,
						"the struct %s has %u bytes in latentd and %u in "
						"latentd-cuda.so",
						sizes[i].name, theirs, ours);
	}
	return 0;
}
