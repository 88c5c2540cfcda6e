#include "daemon/encode_cuda.h"

#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "encoder/encoder_cuda.h"
#include "encoder/encoder_many.h"

#include <stdio.h>
#include <string.h>

/* The service's folder, as systemd names it, or the user's. NULL: there is none. */
static char *cache_folder(void)
{
	const char *service = getenv("CACHE_DIRECTORY"), *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");

	if (service && *service)
		return xasprintf("%.*s", (int)strcspn(service, ":"), service);
	if (cache && *cache)
		return xasprintf("%s/latentd", cache);
	return home && *home ? xasprintf("%s/.cache/latentd", home) : NULL;
}

/* Where the fastest algorithms of a GPU are remembered; NULL: nowhere, and they are timed at each start. */
static char *cache_file(int device)
{
	cleanup_free char *folder = cache_folder();
	struct error ignored = ERROR_INIT;

	if (!folder || dir_make(folder, &ignored) < 0)
		return NULL;
	return xasprintf("%s/cuda-%d.algorithms", folder, device);
}

static enum vae_precision precision_of(const struct recipe_options *o,
				       const struct vae_choice *choice)
{
	if (!o->precision || strcmp(o->precision, "auto") != 0)
		return vae_precision_of(o->precision);
	return vae_choice_fits_float16(choice) ? VAE_FLOAT16 : VAE_BFLOAT16;
}

static enum latentd_cuda_dtype dtype_of(enum vae_precision precision)
{
	switch (precision) {
	case VAE_FLOAT16:
		return LATENTD_CUDA_F16;
	case VAE_BFLOAT16:
		return LATENTD_CUDA_BF16;
	case VAE_FLOAT32:
		break;
	}
	return LATENTD_CUDA_F32;
}

/* What every GPU gets. */
struct opening {
	struct vae_model *model;
	const struct cuda_limits *limits;
	enum vae_precision precision;
	bool decoder;
};

static int open_one(const struct opening *o, int device, struct encoder **out, struct error *err)
{
	const struct cuda_limits *limits = o->limits;
	cleanup_free char *cache = cache_file(device);
	struct cuda_memory memory = {.bytes = 0};
	struct encoder_cuda_options options = {.model = o->model,
					       .device = device,
					       .precision = dtype_of(o->precision),
					       .decoder = o->decoder,
					       .cache = cache,
					       .share = limits->gpu_share,
					       .pause_when_busy = limits->pause_when_busy,
					       .tf32 = limits->tf32};

	cuda_memory_of(limits->memory, &memory);
	options.memory = memory.bytes;
	options.memory_percent = memory.percent;
	return encoder_cuda_open(&options, out, err);
}

static int open_all(const struct opening *o, struct encoder **out, struct error *left_out,
		    struct error *err)
{
	struct latentd_cuda_device devices[LATENTD_CUDA_MAX_DEVICES];
	struct encoder *encoders[LATENTD_CUDA_MAX_DEVICES];
	struct error first = ERROR_INIT;
	size_t n = 0, opened = 0;

	if (encoder_cuda_devices(NULL, devices, ARRAY_SIZE(devices), &n, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct error why = ERROR_INIT;

		if (open_one(o, devices[i].index, &encoders[opened], &why) == 0)
			opened++;
		else if (first.code == ERR_NONE)
			error_set(&first, why.code, "GPU %d: %s", (int)devices[i].index,
				  why.message);
	}
	if (opened == 0 && first.code == ERR_NONE)
		return error_set(err, ERR_CONFIG, "the CUDA engine sees no GPU");
	if (opened == 0) {
		*err = first;
		return -1;
	}
	if (first.code != ERR_NONE)
		*left_out = first;
	if (opened > 1)
		return encoder_many_open(encoders, opened, out, err);
	*out = encoders[0];
	return 0;
}

int encode_cuda_open(const struct recipe_options *o, const struct cuda_limits *limits, bool decoder,
		     struct encode_model *model, struct encoder **out, struct error *left_out,
		     struct error *err)
{
	int device = cuda_device_of(limits->device), r;
	struct vae_choice choice = VAE_CHOICE_INIT;
	struct encode_model opened = {.fake = false};
	struct opening opening = {.limits = limits, .decoder = decoder};
	const struct encoder *first;

	if (vae_choice_open(o->vae, &o->vae_options, &choice, err) < 0)
		return -1;
	opened.precision = precision_of(o, &choice);
	snprintf(opened.name, sizeof(opened.name), "%s", choice.name);
	opened.multiple = vae_choice_multiple(&choice);
	opened.resolution = choice.preset ? choice.preset->resolution : 0;
	opening.model = choice.model;
	opening.precision = opened.precision;
	r = device == CUDA_ALL_DEVICES ? open_all(&opening, out, left_out, err)
				       : open_one(&opening, device, out, err);
	vae_choice_close(&choice);
	if (r < 0)
		return -1;
	first = encoder_many_first(*out) ? encoder_many_first(*out) : *out;
	opened.vae = *encoder_cuda_config(first);
	opened.weights = *encoder_cuda_weights_hash(first);
	opened.best_batch = encoder_caps(*out)->best_batch;
	opened.tiles = encoder_caps(*out)->tiles;
	*model = opened;
	return 0;
}
