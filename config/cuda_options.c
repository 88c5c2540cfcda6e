#include "config/cuda_options.h"

#include "config/setting_value.h"
#include "config/vae_source.h"

#include "base/checked.h"

#include <string.h>

#define FIELD(f) offsetof(struct cuda_limits, f)

enum { LAST_DEVICE = 63 };

static bool memory_valid(const char *text)
{
	struct cuda_memory memory;

	return cuda_memory_of(text, &memory);
}

static const struct setting rows[] = {
    {"gpu-memory", SETTING_STRING, FIELD(memory), .fallback = "80%", .valid = memory_valid,
     .expected = "a part of what is free, like 80%, or a size like 8GiB", .of = "cuda",
     .value_name = "SIZE", .reloadable = true,
     .help = "of the GPU, for model and maps: a part of what is free or a size; larger images "
	     "in bands"},
    {"gpu-share", SETTING_NUMBER, FIELD(gpu_share), .fallback = "1", .of = "cuda",
     .value_name = "PART", .reloadable = true,
     .help = "of the GPU's time, over 0 and at most 1: it rests between batches"},
    {"pause-when-busy", SETTING_FLAG, FIELD(pause_when_busy), .fallback = "false", .of = "cuda",
     .reloadable = true, .help = "wait while another process computes on the GPU"},
    {"gpu-tf32", SETTING_FLAG, FIELD(tf32), .fallback = "false", .of = "cuda", .reloadable = true,
     .help = "in f32: multiplications in TF32, some times as fast, as exact as f16"},
};

const struct settings_group cuda_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

/* Digits alone, at most @max. -1: something else. */
static int number_of(const char *text, size_t length, int max)
{
	int value = 0;

	if (length == 0 || length > 3)
		return -1;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value <= max ? value : -1;
}

int cuda_device_of(const char *text)
{
	int number = number_of(text, strlen(text), LAST_DEVICE);

	if (strcmp(text, "all") == 0)
		return CUDA_ALL_DEVICES;
	return number >= 0 ? number : CUDA_NO_DEVICE;
}

bool cuda_device_valid(const char *text)
{
	return cuda_device_of(text) != CUDA_NO_DEVICE;
}

bool cuda_memory_of(const char *text, struct cuda_memory *out)
{
	static const struct setting size = {"gpu-memory", SETTING_BYTES, 0, .min = 1};
	struct error ignored = ERROR_INIT;
	size_t length = strlen(text), bytes = 0;
	int percent = length > 0 && text[length - 1] == '%' ? number_of(text, length - 1, 100) : 0;

	if (percent > 0)
		*out = (struct cuda_memory){.percent = (unsigned)percent};
	else if (setting_store(&size, text, &bytes, &ignored) == 0 && bytes > 0)
		*out = (struct cuda_memory){.bytes = bytes};
	else
		return false;
	return true;
}

/* "0", "all" of "cuda:all"; NULL: the processor; "": neither. */
static const char *gpu_of(const char *choice)
{
	if (!choice || strcmp(choice, "cpu") == 0)
		return NULL;
	if (strcmp(choice, "cuda") == 0)
		return "0";
	return strncmp(choice, "cuda:", 5) == 0 ? choice + 5 : "";
}

bool cuda_choice_valid(const char *text)
{
	const char *gpu = gpu_of(text);

	return !gpu || cuda_device_valid(gpu);
}

bool cuda_choice_limits(const char *choice, const struct cuda_limits *limits,
			struct cuda_limits *out)
{
	const char *gpu = gpu_of(choice);

	if (!gpu)
		return false;
	*out = *limits;
	out->device = gpu;
	return true;
}

int cuda_choice_check(const char *choice, const char *vae, const struct cuda_limits *limits,
		      struct error *err)
{
	if (!gpu_of(choice))
		return 0;
	if (vae && vae_source_of(vae, NULL) == VAE_SOURCE_FAKE)
		return error_set(err, ERR_CONFIG, "--device %s: the fake encoder needs no GPU",
				 choice);
	return cuda_limits_check(limits, err);
}

int cuda_limits_check(const struct cuda_limits *limits, struct error *err)
{
	if (limits->gpu_share > 0 && limits->gpu_share <= 1)
		return 0;
	return error_set(err, ERR_CONFIG,
			 "gpu_share %g: expected a part of the time, over 0 and at most 1",
			 limits->gpu_share);
}
