/*
 * Weights that are known and those that are not never stand in for each other, nor the fake VAE and real ones.
 */
#include "config/encoder_scope.h"

#include "config/vae_presets.h"
#include "config/vae_source.h"

#include "base/checked.h"

#include <string.h>

bool encoder_scope_has(const struct encoder_config *e, const char *vae)
{
	const char *name = NULL;

	switch (vae_source_of(vae, &name)) {
	case VAE_SOURCE_FAKE:
		return e->type == ENCODER_TYPE_FAKE;
	case VAE_SOURCE_DECLARED:
		return e->type == ENCODER_TYPE_REMOTE && e->remote.model.name &&
		       vae_name_same(e->remote.model.name, name);
	case VAE_SOURCE_ENDPOINT:
		return e->type == ENCODER_TYPE_REMOTE;
	case VAE_SOURCE_FILES:
		break;
	}
	return e->type != ENCODER_TYPE_FAKE;
}

#define WISH(f) offsetof(struct encoder_scope_wish, f)

/* A value that not every endpoint can give. */
static const struct limit {
	const char *name;
	size_t offset;
	bool only_declared;
	const char *can;   /* the one value that can be had; NULL: any but ... */
	const char *also;  /* another word for it */
	const char *never; /* ... this */
	const char *why;
} limits[] = {
    {"posterior", WISH(posterior), true, "draw", NULL, NULL,
     "an endpoint that does not tell its weights only gives draws, expected posterior draw"},
    {"send", WISH(send), true, NULL, NULL, "uint8",
     "only latentd endpoints take tensors of uint8, expected png, float16 or float32"},
    {"tiling", WISH(tiling), false, "none", NULL, NULL,
     "endpoints encode images whole, expected none, or vae with a path"},
    {"precision", WISH(precision), false, "f32", "auto", NULL,
     "endpoints are asked for f32 only, expected f32, or an encoder on this machine"},
};

int encoder_scope_endpoint(const struct encoder_scope_wish *wish, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct limit *l = &limits[i];
		const char *wanted = NULL;

		memcpy(&wanted, (const char *)wish + l->offset, sizeof(wanted));
		if (!wanted || (l->only_declared && !wish->declared) ||
		    (l->also && strcmp(wanted, l->also) == 0) ||
		    (l->can ? strcmp(wanted, l->can) == 0 : strcmp(wanted, l->never) != 0))
			continue;
		return error_set(err, ERR_CONFIG, "%s %s: %s", l->name, wanted, l->why);
	}
	return 0;
}
