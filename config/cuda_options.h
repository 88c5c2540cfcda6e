/*
 * What encoders on GPUs may use: of the `cuda` encoder of a daemon, and of `--device cuda` on a command line.
 *
 *	struct my_options { struct cuda_limits cuda; ... };
 *	{.type = SETTING_GROUP, .offset = FIELD(cuda), .group = &cuda_settings},
 */
#ifndef LATENTD_CONFIG_CUDA_OPTIONS_H
#define LATENTD_CONFIG_CUDA_OPTIONS_H

#include "config/settings.h"

struct cuda_limits {
	const char *device; /* "0", "all": cuda_device_of() */
	const char *memory; /* of the GPU, "80%" of what is free or "8GiB": cuda_memory_of() */
	double gpu_share;   /* of its time, over 0 and at most 1 */
	bool pause_when_busy;
	bool tf32; /* in float32 */
};

/* All but the device, which is said otherwise on a command line. In a file, of the type `cuda`. */
extern const struct settings_group cuda_settings;

#define CUDA_ALL_DEVICES     -1
#define CUDA_NO_DEVICE	     -2
#define CUDA_DEVICE_EXPECTED "the number of a GPU, from 0, or all"

/* As CUDA counts them; CUDA_ALL_DEVICES; CUDA_NO_DEVICE: it is none. */
int cuda_device_of(const char *text);
bool cuda_device_valid(const char *text);

/* On a command line: "cpu", "cuda" (the first), "cuda:N", "cuda:all". */
#define CUDA_CHOICE_EXPECTED "cpu, cuda, cuda:N or cuda:all"
#define CUDA_CHOICE_HELP     "what encodes: cpu, cuda (its first GPU), cuda:N or cuda:all"

bool cuda_choice_valid(const char *text);
/* @limits with the device of @choice; false: the processor. */
bool cuda_choice_limits(const char *choice, const struct cuda_limits *limits,
			struct cuda_limits *out);
/* ERR_CONFIG: @limits are of a GPU that was chosen, and wrong; or it is to encode @vae, which needs none. */
int cuda_choice_check(const char *choice, const char *vae, const struct cuda_limits *limits,
		      struct error *err);

struct cuda_memory {
	size_t bytes;	  /* 0: see percent */
	unsigned percent; /* of what is free */
};

/* False: it says neither. */
bool cuda_memory_of(const char *text, struct cuda_memory *out);

/* ERR_CONFIG: what no single setting can tell. */
int cuda_limits_check(const struct cuda_limits *limits, struct error *err);

#endif
