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
	switch (precision) {
	case VAE_BFLOAT16:
		return "bfloat16";
	case VAE_FLOAT16:
		return "float16";
	case VAE_FLOAT32:
		break;
	}
	return "float32";
}

enum vae_precision vae_precision_of(const char *setting)
{
	if (setting && strcmp(setting, "bf16") == 0)
		return VAE_BFLOAT16;
	return setting && strcmp(setting, "f16") == 0 ? VAE_FLOAT16 : VAE_FLOAT32;
}

const char *vae_precision_setting(enum vae_precision precision)
{
	switch (precision) {
	case VAE_BFLOAT16:
		return "bf16";
	case VAE_FLOAT16:
		return "f16";
	case VAE_FLOAT32:
		break;
	}
	return "f32";
}

static const struct vae_engine_ops *checked(const struct vae_engine_ops *ops, struct error *err)
{
	return ops->check && ops->check(err) < 0 ? NULL : ops;
}

const struct vae_engine_ops *vae_engine_choose(enum vae_precision precision, struct error *err)
{
	const char *wanted = getenv("LATENTD_CPU");
	bool known = false;

	if (precision == VAE_FLOAT16) {
		error_set(err, ERR_CONFIG,
			  "no processor computes in float16 here: precision f16 takes an encoder "
			  "of type cuda");
		return NULL;
	}
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
