#include "config/store_options.h"

#include "base/checked.h"

#include <string.h>

static const char *const addressings[] = {"auto", "path", "virtual", NULL};

#define FIELD(f) offsetof(struct store_options, f)

static bool is_s3_url(const char *text)
{
	size_t bucket = strncmp(text, "s3://", 5) == 0 ? strcspn(text + 5, "/") : 0;

	return bucket > 0 && text[5 + bucket] == '/' && text[6 + bucket] != '\0';
}

#define S3_EXPECTED   "s3://BUCKET/PREFIX"
#define S3_HELP	      "shards go there: to PREFIX/NAME/train/WxH of a bucket"
#define ENDPOINT_HELP "of the store (AWS_ENDPOINT_URL_S3, the profile's, Amazon's)"
#define REGION_HELP   "of the bucket (AWS_REGION, the profile's, us-east-1)"
#define PROFILE_HELP  "in ~/.aws/credentials and ~/.aws/config (AWS_PROFILE)"
#define ADDRESS_HELP  "BUCKET.HOST or HOST/BUCKET; auto: the former at Amazon alone"
#define PART_HELP     "larger shards are uploaded in parts of this size, which a killed run keeps"

/* At once, by any store: what is rewritten is copied. */
#define COPIED_MAX ((size_t)5 << 30)

#define PART .fallback = "16MiB", .min = 64 << 10, .max = (uint64_t)5 << 30

static const struct setting rows[] = {
    {"s3", SETTING_STRING, FIELD(s3), .valid = is_s3_url, .expected = S3_EXPECTED,
     .example = "s3://latents/team", .help = S3_HELP},
    {"endpoint", SETTING_STRING, FIELD(endpoint), .example = "https://minio.lan:9000",
     .help = ENDPOINT_HELP},
    {"region", SETTING_STRING, FIELD(region), .example = "eu-west-1", .help = REGION_HELP},
    {"profile", SETTING_STRING, FIELD(profile), .example = "training", .help = PROFILE_HELP},
    {"addressing", SETTING_CHOICE, FIELD(addressing), .fallback = "auto", .choices = addressings,
     .help = ADDRESS_HELP},
    {"part-size", SETTING_BYTES, FIELD(part_size), PART, .help = PART_HELP},
};

static const struct setting words[] = {
    {"store", SETTING_STRING, FIELD(s3), .valid = is_s3_url, .expected = S3_EXPECTED,
     .value_name = "URL", .help = S3_HELP},
    {"s3-endpoint", SETTING_STRING, FIELD(endpoint), .value_name = "URL", .help = ENDPOINT_HELP},
    {"s3-region", SETTING_STRING, FIELD(region), .value_name = "NAME", .help = REGION_HELP},
    {"s3-profile", SETTING_STRING, FIELD(profile), .value_name = "NAME", .help = PROFILE_HELP},
    {"s3-addressing", SETTING_CHOICE, FIELD(addressing), .fallback = "auto", .choices = addressings,
     .help = ADDRESS_HELP},
    {"s3-part-size", SETTING_BYTES, FIELD(part_size), PART, .value_name = "SIZE",
     .help = PART_HELP},
};

int store_options_check(const struct store_options *o, size_t shard_bytes, struct error *err)
{
	if (!o->s3 && (o->endpoint || o->region || o->profile))
		return error_set(err, ERR_CONFIG,
				 "endpoint, region or profile of a store, and no store: expected "
				 "one (" S3_EXPECTED ")");
	if (o->s3 && shard_bytes > COPIED_MAX)
		return error_set(
		    err, ERR_CONFIG,
		    "shards of more than 5 GiB in a store: expected a smaller shard size");
	return 0;
}

const struct settings_group store_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};
const struct settings_group store_words = {.rows = words, .n = ARRAY_SIZE(words)};
