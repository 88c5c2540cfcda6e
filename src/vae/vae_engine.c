#include "vae/vae_engine.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const struct vae_engine_ops *ops;
} engines[] = {
    {"winograd", &vae_engine_winograd},
    {"direct", &vae_engine_onednn},
    {"naive", &vae_engine_naive},
};

const struct vae_engine_ops *vae_engine_choose(struct error *err)
{
	const char *wanted = getenv("LATENTD_CPU");

	if (!wanted || !*wanted)
		return engines[0].ops;
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (strcmp(wanted, engines[i].name) == 0)
			return engines[i].ops;
	}
	error_set(err, ERR_CONFIG, "LATENTD_CPU is '%s': it may be winograd, direct or naive",
		  wanted);
	return NULL;
}
