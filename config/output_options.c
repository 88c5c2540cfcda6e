#include "config/output_options.h"

#include "base/checked.h"

const char *const output_formats[] = {"wds", "mds", NULL};
const char *const output_codecs[] = {"zstd", "none", "planes", NULL};
const char *const output_orders[] = {"shuffled", "scan", NULL};

#define FIELD(f) offsetof(struct output_options, f)

static const struct setting rows[] = {
    {"format", SETTING_CHOICE, FIELD(format), .fallback = "wds", .choices = output_formats,
     .help = "of shards: WebDataset's tars, or MosaicML Streaming's"},
    {"shard-samples", SETTING_COUNT, FIELD(shard_samples), .fallback = "1000", .min = 1,
     .max = 100000, .reloadable = true, .value_name = "N", .help = "samples in a full shard"},
    {"shard-size", SETTING_BYTES, FIELD(shard_size), .fallback = "256MiB", .min = 1024,
     .max = (uint64_t)64 << 30, .reloadable = true, .value_name = "SIZE",
     .help = "bytes in a full shard"},
    {"codec", SETTING_ENUM, FIELD(codec), .fallback = "zstd", .choices = output_codecs,
     .help = "how latents are compressed in tars; none: plain .npy; planes: smaller, a line more "
	     "to read"},
    {"order", SETTING_ENUM, FIELD(order), .fallback = "shuffled", .choices = output_orders,
     .help = "of samples in shards"},
    {"columns", SETTING_STRING, FIELD(columns), .value_name = "LIST",
     .help = "of mds, other names and plain bytes: latent=latents_512:bytes,caption=text"},
};

const struct settings_group output_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};
