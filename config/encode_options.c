#include "config/encode_options.h"

#include "config/encoder_scope.h"
#include "config/secret_file.h"

#include "base/checked.h"

#include <string.h>

#define FIELD(f) offsetof(struct encode_options, f)

const struct setting encode_settings[] = {
    {"out", SETTING_PATH, FIELD(out), .value_name = "DIR",
     .help = "output folder; shards go to DIR/NAME/train/WxH"},
    {"name", SETTING_STRING, FIELD(name), .valid = dataset_name_valid,
     .expected = DATASET_NAME_EXPECTED, .value_name = "NAME",
     .help = "name of the dataset in DIR (model-resolution-recipe)"},
    {.type = SETTING_GROUP, .offset = FIELD(recipe), .group = &recipe_settings},
    {.type = SETTING_GROUP, .offset = FIELD(output), .group = &output_settings},
    {.type = SETTING_GROUP, .offset = FIELD(store), .group = &store_words},
    {.type = SETTING_GROUP, .offset = FIELD(source), .group = &source_options_settings},
    {.type = SETTING_GROUP, .offset = FIELD(fetch), .group = &fetch_settings},
    {"host-patience", SETTING_DURATION, FIELD(host_patience), .fallback = "2min", .min = 1000,
     .max = (uint64_t)7 * 24 * 3600000, .value_name = "TIME",
     .help = "when only servers are left that cannot be reached, the run ends after that"},
    {"duplicates", SETTING_ENUM, FIELD(duplicates), .fallback = "keep",
     .choices = on_duplicate_words,
     .help = "further files of the same content: a sample each, encoded once, or none"},
    {"on-delete", SETTING_ENUM, FIELD(on_delete), .fallback = "keep", .choices = on_delete_words,
     .help = "samples of files that are no longer there"},
    {"on-delete-all", SETTING_FLAG, FIELD(on_delete_all),
     .help = "believe it when more than a tenth of the files are gone"},
    {"no-captions", SETTING_FLAG, FIELD(no_captions),
     .help = "leave captions (.txt, .caption, .json beside the image) out"},
    {"masks", SETTING_PATH, FIELD(masks), .fallback = "none", .is_word = masks_word,
     .value_name = "WHERE", .help = MASKS_HELP},
    {"part", SETTING_STRING, FIELD(part), .valid = dataset_part_valid,
     .expected = DATASET_PART_EXPECTED, .value_name = "I/N",
     .help = "only part I of N, into an output of its own (latentctl merge)"},
    {"jobs", SETTING_COUNT, FIELD(jobs), .fallback = "0", .max = 256, .value_name = "N",
     .help = "decode processes; 0: one a core"},
    {"threads", SETTING_COUNT, FIELD(encoder.threads), .fallback = "0", .max = 1024,
     .value_name = "N", .help = "encoder threads; 0: all cores"},
    {"encoder-memory", SETTING_BYTES, FIELD(encoder.memory), .value_name = "SIZE",
     .help = "for model and maps, beyond it in bands (half of what machine or cgroup have)"},
    {"device", SETTING_STRING, FIELD(device), .fallback = "cpu", .valid = cuda_choice_valid,
     .expected = CUDA_CHOICE_EXPECTED, .value_name = "DEVICE", .help = CUDA_CHOICE_HELP},
    {.type = SETTING_GROUP, .offset = FIELD(cuda), .group = &cuda_settings},
    {"endpoint", SETTING_TEXTS, FIELD(endpoints), .valid = remote_url_valid,
     .expected = REMOTE_URL_EXPECTED, .value_name = "URL",
     .help = "encode there, not here; may be given several times. Without --vae: its model"},
    {"token-file", SETTING_PATH, FIELD(token_file), .value_name = "FILE",
     .help = "with the token that the endpoints ask for"},
    {.type = SETTING_GROUP, .offset = FIELD(remote), .group = &remote_settings},
    {"memory", SETTING_BYTES, FIELD(memory), .fallback = "1GiB", .min = (uint64_t)16 << 20,
     .max = (uint64_t)16 << 40, .value_name = "SIZE", .help = "pixels and latents in flight"},
    {"state", SETTING_PATH, FIELD(state), .value_name = "DIR",
     .help = "queue and spool, on a local disk (below XDG_STATE_HOME)"},
    {"quiet", SETTING_FLAG, FIELD(quiet), .help = "no progress, only the result"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

const size_t n_encode_settings = ARRAY_SIZE(encode_settings);

enum { MAX_IN_FLIGHT = 64 }; /* requests of an endpoint */

struct remote_config encode_options_remote(const struct encode_options *o,
					   struct remote_endpoint endpoints[SETTING_TEXTS_MAX])
{
	for (size_t i = 0; i < o->endpoints.n; i++)
		endpoints[i] = (struct remote_endpoint){
		    o->endpoints.items[i], o->token_file, MAX_IN_FLIGHT, {0, 0}};
	return (struct remote_config){
	    .endpoints = endpoints, .n_endpoints = o->endpoints.n, .options = o->remote};
}

static int check_endpoints(const struct encode_options *o, struct error *err)
{
	struct remote_endpoint endpoints[SETTING_TEXTS_MAX];
	const struct remote_config remote = encode_options_remote(o, endpoints);
	const struct encoder_scope_wish wish = {
	    .declared = o->recipe.vae && vae_source_of(o->recipe.vae, NULL) == VAE_SOURCE_DECLARED,
	    .send = remote_send_name(o->remote.send)};
	size_t which = 0;

	if (o->endpoints.n > 0) {
		if (remote_config_check(&remote, &which, err) < 0 ||
		    encoder_scope_endpoint(&wish, err) < 0)
			return -1;
		if (o->remote.proxy_auth_file &&
		    secret_file_check("proxy_auth_file", o->remote.proxy_auth_file, err) < 0)
			return -1;
		return o->token_file ? secret_file_check("token_file", o->token_file, err) : 0;
	}
	if (o->token_file)
		return error_set(err, ERR_CONFIG,
				 "--token-file is for --endpoint, which is missing");
	if (wish.declared)
		return error_set(err, ERR_CONFIG,
				 "--vae %s: only endpoints encode it, --endpoint is missing",
				 o->recipe.vae);
	if (o->recipe.vae && vae_source_of(o->recipe.vae, NULL) == VAE_SOURCE_ENDPOINT)
		return error_set(err, ERR_CONFIG, "--vae %s: expected --endpoint %s", o->recipe.vae,
				 o->recipe.vae + strlen(RECIPE_VAE_ENDPOINT));
	return 0;
}

bool encode_options_cuda(const struct encode_options *o, struct cuda_limits *out)
{
	return cuda_choice_limits(o->device, &o->cuda, out);
}

static int check_device(const struct encode_options *o, struct error *err)
{
	struct cuda_limits limits;

	if (o->endpoints.n > 0 && encode_options_cuda(o, &limits))
		return error_set(err, ERR_CONFIG,
				 "--device %s and --endpoint: encoding is here or there",
				 o->device);
	return cuda_choice_check(o->device, o->recipe.vae, &o->cuda, err);
}

int encode_options_check(const struct encode_options *o, size_t n_sources, struct error *err)
{
	if (n_sources == 0)
		return error_set(err, ERR_CONFIG, "which folder? SRC is missing");
	if (!o->recipe.vae && o->endpoints.n == 0)
		return error_set(err, ERR_CONFIG,
				 "--vae is missing, or --endpoint of one that has a VAE");
	if (!o->out)
		return error_set(err, ERR_CONFIG, "--out is missing");
	if (store_options_check(&o->store, o->output.shard_size, err) < 0 ||
	    check_endpoints(o, err) < 0 || check_device(o, err) < 0)
		return -1;
	return recipe_options_check(&o->recipe, err);
}
