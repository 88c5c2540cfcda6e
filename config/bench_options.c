#include "config/bench_options.h"

#include "base/checked.h"
#include "config/recipe_options.h"

static const char *const bench_precisions[] = {"f32", "bf16", NULL};

/* A GPU is measured by bench_cuda, which needs nothing of latentd: docs/gpu.md. */
static const char *const bench_devices[] = {"cpu", NULL};

#define FIELD(f) offsetof(struct bench_options, f)

const struct setting bench_settings[] = {
    {"vae", SETTING_PATH, FIELD(vae), .value_name = "VAE",
     .help = "folder, .safetensors file, hub id or name (sdxl)"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {"precision", SETTING_CHOICE, FIELD(precision), .fallback = "f32", .choices = bench_precisions,
     .help = "of the network's products"},
    {"device", SETTING_CHOICE, FIELD(device), .fallback = "cpu", .choices = bench_devices,
     .help = "what encodes; a GPU is measured by scripts/gpu-check.sh"},
    {"size", SETTING_SIDES, FIELD(size), .fallback = "512", .min = 8, .max = 16384,
     .value_name = "WxH", .help = "of the images"},
    {"batch", SETTING_COUNT, FIELD(batch), .fallback = "1", .min = 1, .max = 1024,
     .value_name = "N", .help = "images of a round, one after another"},
    {"rounds", SETTING_COUNT, FIELD(rounds), .fallback = "3", .min = 1, .max = 1000,
     .value_name = "N", .help = "measured ones, of which the fastest counts"},
    {"threads", SETTING_COUNT, FIELD(threads), .fallback = "0", .max = 1024, .value_name = "N",
     .help = "0: one for each core"},
    {"memory-limit", SETTING_BYTES, FIELD(memory_limit), .value_name = "SIZE",
     .help = "of the encoder, weights included: else in bands of rows"},
    {"json", SETTING_FLAG, FIELD(json), .help = "one JSON object"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

const size_t n_bench_settings = ARRAY_SIZE(bench_settings);

int bench_options_check(const struct bench_options *o, struct error *err)
{
	if (!o->vae)
		return error_set(err, ERR_CONFIG, "--vae is missing");
	return 0;
}
