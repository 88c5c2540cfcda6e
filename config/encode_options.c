#include "config/encode_options.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

static const char *const posteriors[] = {"mean", "moments", "draw", NULL};
static const char *const dtypes[] = {"float16", "float32", NULL};
static const char *const duplicates[] = {"keep", "drop", NULL};
static const char *const deletions[] = {"keep", "remove", NULL};
static const char *const orders[] = {"shuffled", "scan", NULL};

#define FIELD(f) offsetof(struct encode_options, f)

const struct setting encode_settings[] = {
    {"vae", SETTING_STRING, FIELD(vae), .not_empty = true, .value_name = "PATH",
     .help = "diffusers folder of an AutoencoderKL"},
    {"out", SETTING_STRING, FIELD(out), .not_empty = true, .value_name = "DIR",
     .help = "output folder; shards go to DIR/NAME/train/WxH"},
    {"name", SETTING_STRING, FIELD(name), .value_name = "NAME",
     .help = "name of the dataset in DIR (model-resolution-recipe)"},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &placement_settings},
    {.type = SETTING_GROUP, .offset = FIELD(pixels), .group = &drawing_settings},
    {"posterior", SETTING_CHOICE, FIELD(posterior), .fallback = "mean", .choices = posteriors,
     .help = "what is kept of the distribution"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), .fallback = "float16", .choices = dtypes,
     .help = "of the stored latents"},
    {"seed", SETTING_U64, FIELD(seed), .fallback = "0", .max = INT64_MAX, .value_name = "N",
     .help = "of draws and of the order in shards"},
    {"order", SETTING_CHOICE, FIELD(order), .fallback = "shuffled", .choices = orders,
     .help = "of samples in shards"},
    {"duplicates", SETTING_CHOICE, FIELD(duplicates), .fallback = "keep", .choices = duplicates,
     .help = "further files of the same content: a sample each, encoded once, or none"},
    {"on-delete", SETTING_CHOICE, FIELD(on_delete), .fallback = "keep", .choices = deletions,
     .help = "samples of files that are no longer there"},
    {"on-delete-all", SETTING_FLAG, FIELD(on_delete_all),
     .help = "believe it when more than a tenth of the files are gone"},
    {"no-captions", SETTING_FLAG, FIELD(no_captions),
     .help = "leave captions (.txt beside the image) out"},
    {"part", SETTING_STRING, FIELD(part), .not_empty = true, .value_name = "I/N",
     .help = "only part I of N, into an output of its own (latentctl merge)"},
    {"jobs", SETTING_COUNT, FIELD(jobs), .fallback = "0", .max = 256, .value_name = "N",
     .help = "decode processes; 0: one a core"},
    {"threads", SETTING_COUNT, FIELD(threads), .fallback = "0", .max = 1024, .value_name = "N",
     .help = "encoder threads; 0: all cores"},
    {"memory", SETTING_BYTES, FIELD(memory), .fallback = "1GiB", .min = (uint64_t)16 << 20,
     .max = (uint64_t)16 << 40, .value_name = "SIZE", .help = "pixels and latents in flight"},
    {"shard-samples", SETTING_COUNT, FIELD(shard_samples), .fallback = "1000", .min = 1,
     .max = 100000, .value_name = "N", .help = "samples in a full shard"},
    {"shard-size", SETTING_BYTES, FIELD(shard_size), .fallback = "256MiB", .min = 1024,
     .max = (uint64_t)64 << 30, .value_name = "SIZE", .help = "bytes in a full shard"},
    {"state", SETTING_STRING, FIELD(state), .not_empty = true, .value_name = "DIR",
     .help = "queue and spool, on a local disk (below XDG_STATE_HOME)"},
    {"quiet", SETTING_FLAG, FIELD(quiet), .help = "no progress, only the result"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

const size_t n_encode_settings = ARRAY_SIZE(encode_settings);

bool dataset_name_valid(const char *name)
{
	if (!*name || *name == '.' || strlen(name) > 100 || !utf8_valid(name, strlen(name)))
		return false;
	for (const char *p = name; *p; p++) {
		if (*p == '/' || (unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

bool encode_part_parse(const char *text, uint32_t *part, uint32_t *parts)
{
	unsigned long i, n;
	char *end;

	if (*text < '1' || *text > '9')
		return false;
	i = strtoul(text, &end, 10);
	if (*end != '/' || end[1] < '1' || end[1] > '9')
		return false;
	n = strtoul(end + 1, &end, 10);
	if (*end != '\0' || n > 65536 || i > n)
		return false;
	*part = (uint32_t)i - 1;
	*parts = (uint32_t)n;
	return true;
}

int encode_options_check(const struct encode_options *o, size_t n_sources, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (n_sources == 0)
		return error_set(err, ERR_CONFIG, "which folder? SRC is missing");
	if (!o->vae)
		return error_set(err, ERR_CONFIG, "--vae is missing");
	if (!o->out)
		return error_set(err, ERR_CONFIG, "--out is missing");
	if (o->name && !dataset_name_valid(o->name))
		return error_set(err, ERR_CONFIG,
				 "--name %s: expected a folder name of at most 100 bytes, without "
				 "'/', not beginning with a dot",
				 text_quote(o->name, quoted));
	if (o->part && !encode_part_parse(o->part, &(uint32_t){0}, &(uint32_t){0}))
		return error_set(err, ERR_CONFIG, "--part %s: expected I/N, as in 2/3",
				 text_quote(o->part, quoted));
	return pixel_options_check(&o->pixels, err);
}
