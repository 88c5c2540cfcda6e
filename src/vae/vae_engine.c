#include "vae/vae_engine.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

/* Of one name the first one that computes in the precision that is asked for. */
static const struct {
	const char *name;
	const struct vae_engine_ops *ops;
} engines[] = {
    {"winograd", &vae_engine_winograd},
    {"winograd", &vae_engine_winograd_bf16},
    {"direct", &vae_engine_onednn},
    {"naive", &vae_engine_naive},
};

const char *vae_precision_name(enum vae_precision precision)
{
	return precision == VAE_BFLOAT16 ? "bfloat16" : "float32";
}

static const struct vae_engine_ops *checked(const struct vae_engine_ops *ops, struct error *err)
{
	return ops->check && ops->check(err) < 0 ? NULL : ops;
}

const struct vae_engine_ops *vae_engine_choose(enum vae_precision precision, struct error *err)
{
	const char *wanted = getenv("LATENTD_CPU");
	bool known = false;

	if (!wanted || !*wanted)
		wanted = engines[0].name;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		if (strcmp(wanted, engines[i].name) != 0)
			continue;
		if (engines[i].ops->precision == precision)
			return checked(engines[i].ops, err);
		known = true;
	}
	if (known)
		error_set(err, ERR_CONFIG, "LATENTD_CPU is %s, which does not compute in %s",
			  wanted, vae_precision_name(precision));
	else
		error_set(err, ERR_CONFIG,
			  "LATENTD_CPU is '%s': it may be winograd, direct or naive", wanted);
	return NULL;
}
