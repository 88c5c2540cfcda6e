#include "config/encode_options.h"

#include "base/checked.h"

static const char *const bucketings[] = {"kohya", "square", NULL};
static const char *const filters[] = {"lanczos", "bicubic", "bilinear", "box",
				      "hamming", "nearest", NULL};
static const char *const exifs[] = {"apply", "ignore", NULL};
static const char *const colors[] = {"srgb", "ignore", NULL};
static const char *const alphas[] = {"white", "black", NULL};
static const char *const posteriors[] = {"mean", "moments", "draw", NULL};
static const char *const dtypes[] = {"float16", "float32", NULL};
static const char *const orders[] = {"shuffled", "scan", NULL};

#define FIELD(f) offsetof(struct encode_options, f)

const struct setting encode_settings[] = {
    {"vae", SETTING_STRING, FIELD(vae), NULL, NULL, "PATH", "diffusers folder of an AutoencoderKL"},
    {"out", SETTING_STRING, FIELD(out), NULL, NULL, "DIR",
     "output folder; shards go to DIR/NAME/train/WxH"},
    {"name", SETTING_STRING, FIELD(name), NULL, NULL, "NAME",
     "name of the dataset in DIR (model-resolution-recipe)"},
    {"resolution", SETTING_COUNT, FIELD(resolution), "512", NULL, "N",
     "side of the square whose area every bucket has"},
    {"bucketing", SETTING_CHOICE, FIELD(bucketing), "kohya", bucketings, NULL,
     "how the target size is chosen"},
    {"filter", SETTING_CHOICE, FIELD(filter), "lanczos", filters, NULL,
     "resampling filter, with Pillow's bytes"},
    {"exif", SETTING_CHOICE, FIELD(exif), "apply", exifs, NULL, "EXIF orientation"},
    {"color", SETTING_CHOICE, FIELD(color), "srgb", colors, NULL, "embedded ICC profiles"},
    {"alpha", SETTING_CHOICE, FIELD(alpha), "white", alphas, NULL,
     "background of transparent pixels"},
    {"posterior", SETTING_CHOICE, FIELD(posterior), "mean", posteriors, NULL,
     "what is kept of the distribution"},
    {"dtype", SETTING_CHOICE, FIELD(dtype), "float16", dtypes, NULL, "of the stored latents"},
    {"seed", SETTING_U64, FIELD(seed), "0", NULL, "N", "of draws and of the order in shards"},
    {"order", SETTING_CHOICE, FIELD(order), "shuffled", orders, NULL, "of samples in shards"},
    {"no-captions", SETTING_FLAG, FIELD(no_captions), NULL, NULL, NULL,
     "leave captions (.txt beside the image) out"},
    {"jobs", SETTING_COUNT, FIELD(jobs), "0", NULL, "N", "decode processes; 0: one a core"},
    {"threads", SETTING_COUNT, FIELD(threads), "0", NULL, "N", "encoder threads; 0: all cores"},
    {"memory", SETTING_BYTES, FIELD(memory), "1GiB", NULL, "SIZE", "pixels and latents in flight"},
    {"shard-samples", SETTING_COUNT, FIELD(shard_samples), "1000", NULL, "N",
     "samples in a full shard"},
    {"shard-size", SETTING_BYTES, FIELD(shard_size), "256MiB", NULL, "SIZE",
     "bytes in a full shard"},
    {"state", SETTING_STRING, FIELD(state), NULL, NULL, "DIR",
     "queue and spool, on a local disk (below XDG_STATE_HOME)"},
    {"quiet", SETTING_FLAG, FIELD(quiet), NULL, NULL, NULL, "no progress, only the result"},
    {"help", SETTING_FLAG, FIELD(help), NULL, NULL, NULL, "this text"},
};

const size_t n_encode_settings = ARRAY_SIZE(encode_settings);
