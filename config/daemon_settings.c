#include "config/daemon_settings.h"

#include "config/daemon_config.h"

#include "base/checked.h"
#include "base/day_hours.h"
#include <stdlib.h>
#include <string.h>

#define NUMBER_OF(rows) .n = ARRAY_SIZE(rows)

/* -- a source ------------------------------------------------------------------------------------ */

static const char *const watches[] = {"auto", "inotify", "poll", "off", NULL};

static bool is_bucket(const char *text)
{
	return strncmp(text, "s3://", 5) == 0;
}

#define SOURCE(f) offsetof(struct source_config, f)

static const struct setting source_rows[] = {
    {"path", SETTING_PATH, SOURCE(path), .is_word = is_bucket, .required = true,
     .example = "/data/photos",
     .help = "folder of images, archive (.tar, .tar.gz, .tar.zst, .tar.xz, .zip, .7z), manifest "
	     "(.jsonl, .csv, .tsv, .json), list of URLs (.urls) or bucket (s3://BUCKET/PREFIX)"},
    {"recursive", SETTING_FLAG, SOURCE(recursive), .fallback = "true", .reloadable = true,
     .help = "folders in it too"},
    {"watch", SETTING_ENUM, SOURCE(watch), .fallback = "auto", .choices = watches,
     .reloadable = true,
     .help = "how new files are noticed; auto: inotify, polling on network file systems"},
    {"rescan", SETTING_DURATION, SOURCE(rescan), .min = 1000, .max = (uint64_t)365 * 24 * 3600000,
     .example = "24h", .reloadable = true,
     .help = "time between two scans of everything (polling: 5min, inotify: 24h)"},
    {.type = SETTING_GROUP, .offset = SOURCE(options), .group = &source_options_settings},
    {.type = SETTING_GROUP, .offset = SOURCE(fetch), .group = &fetch_settings},
};

static const struct settings_group source_settings = {
    source_rows, NUMBER_OF(source_rows), sizeof(struct source_config), SOURCE(place), "path", true};

/* -- a dataset ----------------------------------------------------------------------------------- */

#define DATASET(f) offsetof(struct dataset_config, f)
#define OUTPUT(f)  (DATASET(output.f) - DATASET(output))

static const struct setting output_rows[] = {
    {"path", SETTING_PATH, OUTPUT(path), .required = true, .example = "/data/latents",
     .help = "output folder; shards go to PATH/NAME/train/WxH"},
    {.type = SETTING_GROUP, .offset = OUTPUT(options), .group = &output_settings},
    {"store", SETTING_GROUP, OUTPUT(store), .group = &store_settings,
     .help = "shards go to an S3-compatible store; PATH keeps what belongs to them"},
    {"quota", SETTING_BYTES, OUTPUT(quota), .reloadable = true, .example = "500GiB",
     .help = "with so many bytes of latents nothing new is begun; what is under way comes on top"},
};

static const struct settings_group dataset_output = {.rows = output_rows, NUMBER_OF(output_rows)};

static const struct setting dataset_rows[] = {
    {"name", SETTING_STRING, DATASET(name), .valid = dataset_name_valid,
     .expected = DATASET_NAME_EXPECTED, .required = true, .example = "photos",
     .help = "name of the dataset, and of its folder in the output"},
    {"source", SETTING_LIST, DATASET(sources), .group = &source_settings,
     .count = DATASET(n_sources), .required = true, .reloadable = true,
     .help = "where the images are: a folder, an archive, a manifest, or a list of them; an item "
	     "may be its path alone"},
    {"output", SETTING_GROUP, DATASET(output), .group = &dataset_output, .required = true,
     .help = "where the shards go, and how they look"},
    {"captions", SETTING_FLAG, DATASET(captions), .fallback = "true", .reloadable = true,
     .help = "the .txt, .caption or .json beside an image becomes part of its sample"},
    {"masks", SETTING_PATH, DATASET(masks), .fallback = "none", .is_word = masks_word,
     .value_name = "WHERE", .help = MASKS_HELP},
    {"require-caption", SETTING_FLAG, DATASET(require_caption), .fallback = "false",
     .reloadable = true, .help = "an image waits until its caption is there"},
    {"duplicates", SETTING_ENUM, DATASET(duplicates), .fallback = "keep",
     .choices = on_duplicate_words, .reloadable = true,
     .help = "further files of the same content: a sample each, encoded once, or none"},
    {"on-delete", SETTING_ENUM, DATASET(on_delete), .fallback = "keep", .choices = on_delete_words,
     .reloadable = true, .help = "samples of files that are no longer there"},
    {"priority", SETTING_INTEGER, DATASET(priority), .fallback = "0", .max = 1000,
     .reloadable = true, .help = "datasets with more of it first; equal ones in turn"},
    {"paused", SETTING_FLAG, DATASET(paused), .fallback = "false", .reloadable = true,
     .help = "encode nothing until latentctl resume"},
    {"hours", SETTING_STRING, DATASET(hours), .valid = day_hours_valid,
     .expected = DAY_HOURS_EXPECTED, .reloadable = true, .example = "20:00-08:00",
     .help = "when it is encoded, by the local clock; over midnight too (always)"},
    {"max-requests-per-day", SETTING_COUNT, DATASET(max_requests_per_day), .fallback = "0",
     .reloadable = true,
     .help = "so many images, or variants of them, do endpoints encode for it in 24 hours; then it "
	     "rests, unless this machine encodes it too; 0: no limit"},
    {"part", SETTING_STRING, DATASET(part), .valid = dataset_part_valid,
     .expected = DATASET_PART_EXPECTED, .example = "1/3",
     .help = "only this part of the images, into an output of its own (latentctl merge)"},
    {"seal-age", SETTING_DURATION, DATASET(seal_age), .fallback = "24h",
     .max = (uint64_t)365 * 24 * 3600000, .reloadable = true,
     .help = "what is encoded goes into a shard after this time, full or not; 0: never"},
    {"recipe", SETTING_GROUP, DATASET(recipe), .group = &recipe_settings, .required = true,
     .help = "what decides the latents: another recipe needs another dataset"},
};

static const struct settings_group dataset_settings = {
    dataset_rows, NUMBER_OF(dataset_rows), sizeof(struct dataset_config), DATASET(place), "name"};

/* -- an encoder ---------------------------------------------------------------------------------- */

static const char *const encoder_types[] = {"cpu", "fake", "remote", "cuda", NULL};

#define ENCODER(f) offsetof(struct encoder_config, f)

static const struct setting encoder_rows[] = {
    {"type", SETTING_ENUM, ENCODER(type), .choices = encoder_types, .required = true,
     .example = "cpu", .reloadable = true,
     .help = "cpu: this machine's processor; cuda: its GPU; remote: endpoints; fake: for tests, "
	     "without a model"},
    {"name", SETTING_STRING, ENCODER(name), .not_empty = true, .example = "cpu", .reloadable = true,
     .help = "as status and records call it (its type)"},
    {"hours", SETTING_STRING, ENCODER(hours), .valid = day_hours_valid,
     .expected = DAY_HOURS_EXPECTED, .reloadable = true, .example = "20:00-08:00",
     .help = "when it encodes, by the local clock; over midnight too (always)"},
    {"threads", SETTING_COUNT, ENCODER(cpu.threads), .fallback = "0", .max = 1024, .of = "cpu",
     .reloadable = true, .help = "0: all cores"},
    {"memory", SETTING_BYTES, ENCODER(cpu.memory), .of = "cpu", .example = "3GiB",
     .reloadable = true,
     .help =
	 "for model and maps; larger images are encoded in bands (half of what the machine, or its "
	 "cgroup's memory.max, leaves beside memory_limit)"},
    {"device", SETTING_STRING, ENCODER(cuda.device), .fallback = "0", .valid = cuda_device_valid,
     .expected = CUDA_DEVICE_EXPECTED, .of = "cuda", .reloadable = true,
     .help = "which GPU, as CUDA counts them; all: an engine on each, which share the work"},
    {.type = SETTING_GROUP, .offset = ENCODER(cuda), .group = &cuda_settings},
    {"endpoints", SETTING_LIST, ENCODER(remote.endpoints), .group = &remote_endpoint_settings,
     .count = ENCODER(remote.n_endpoints), .of = "remote", .reloadable = true,
     .help = "what encodes, one or a list, an item may be its url alone: `latentd serve`, or what "
	     "speaks diffusers' remote VAE"},
    {"model", SETTING_STRING, ENCODER(remote.model.name), .not_empty = true, .of = "remote",
     .example = "sdxl-fp16-fix", .reloadable = true,
     .help = "what endpoints compute that do not tell it (others than latentd), for recipes that "
	     "declare the same: a name of `latentctl model list`, or any with the numbers below"},
    {"latent-channels", SETTING_COUNT, ENCODER(remote.model.latent_channels), .fallback = "0",
     .max = 64, .of = "remote", .reloadable = true, .help = "of a model of another name"},
    {"scaling-factor", SETTING_NUMBER, ENCODER(remote.model.scaling_factor), .fallback = "0",
     .of = "remote", .reloadable = true,
     .help = "of a model of another name, as in its config.json"},
    {"shift-factor", SETTING_NUMBER, ENCODER(remote.model.shift_factor), .fallback = "0",
     .of = "remote", .reloadable = true, .help = "the same"},
    {"size-multiple", SETTING_COUNT, ENCODER(remote.model.size_multiple), .fallback = "0",
     .max = 256, .multiple = 8, .of = "remote", .reloadable = true,
     .help = "what the sides of its images are multiples of; 0: 8"},
    {.type = SETTING_GROUP, .offset = ENCODER(remote.options), .group = &remote_settings},
};

const struct settings_group encoder_settings = {
    encoder_rows, NUMBER_OF(encoder_rows), sizeof(struct encoder_config), ENCODER(place), "name"};

/* -- the daemon ---------------------------------------------------------------------------------- */

const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const log_formats[] = {"auto", "text", "logfmt", NULL};

#define DAEMON(f)   offsetof(struct daemon_config, f)
#define DECODING(f) (DAEMON(decode.f) - DAEMON(decode))

static const struct setting decode_rows[] = {
    {"workers", SETTING_COUNT, DECODING(workers), .fallback = "0", .max = 256, .reloadable = true,
     .help = "processes that decode; 0: all cores less what the encoders use"},
};

static const struct settings_group decode_settings = {.rows = decode_rows, NUMBER_OF(decode_rows)};

static const struct setting serve_rows[] = {
    {.type = SETTING_GROUP, .offset = 0, .group = &serve_settings},
    {"priority", SETTING_INTEGER, offsetof(struct serve_options, priority), .fallback = "0",
     .max = 1000, .help = "against datasets, as theirs; equal ones share encoders by pixels"},
};

static const struct settings_group daemon_serve = {.rows = serve_rows, NUMBER_OF(serve_rows)};

static const struct setting daemon_rows[] = {
    {"state-dir", SETTING_PATH, DAEMON(state_dir), .fallback = "/var/lib/latentd",
     .help = "queue and spool, on a local disk"},
    {"queue", SETTING_GROUP, DAEMON(queue), .group = &queue_settings, .help = "where the jobs are"},
    {"memory-limit", SETTING_BYTES, DAEMON(memory_limit), .fallback = "2GiB",
     .min = (uint64_t)16 << 20, .max = (uint64_t)16 << 40, .reloadable = true,
     .help = "pixels and latents in flight"},
    {"model-idle", SETTING_DURATION, DAEMON(model_idle), .fallback = "10min",
     .max = (uint64_t)365 * 24 * 3600000,
     .help = "how long a model that is not used stays in memory; 0: for good"},
    {"log-level", SETTING_ENUM, DAEMON(log_level), .fallback = "info", .choices = log_levels,
     .reloadable = true, .help = "what goes to the journal"},
    {"log-format", SETTING_ENUM, DAEMON(log_format), .fallback = "auto", .choices = log_formats,
     .reloadable = true,
     .help =
	 "auto: fields of the journal where systemd reads standard error, text elsewhere; logfmt: "
	 "time=... level=... event=... dataset=... message=..."},
    {"decode", SETTING_GROUP, DAEMON(decode), .group = &decode_settings,
     .help = "reading and drawing images"},
    {"api", SETTING_GROUP, DAEMON(api), .group = &api_settings, .help = "how it is steered"},
    {"webhook", SETTING_GROUP, DAEMON(webhook), .group = &webhook_settings,
     .help = "messages to people who do not look; docs/operations.md"},
    {"serve", SETTING_GROUP, DAEMON(serve), .group = &daemon_serve,
     .help = "encodes for others over HTTP, with listen and vae set; docs/SERVE.md"},
    {"datasets", SETTING_LIST, DAEMON(datasets), .group = &dataset_settings,
     .count = DAEMON(n_datasets), .reloadable = true, .help = "what is encoded"},
    {"encoders", SETTING_LIST, DAEMON(encoders), .group = &encoder_settings,
     .count = DAEMON(n_encoders), .required = true, .reloadable = true,
     .help = "what encodes, one or a list"},
};

const char *encoder_type_name(enum encoder_type type)
{
	return encoder_types[type];
}

const struct settings_group daemon_settings = {.rows = daemon_rows, NUMBER_OF(daemon_rows)};
