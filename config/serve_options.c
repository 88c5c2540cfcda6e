#include "config/serve_options.h"

#include "base/checked.h"
#include "config/recipe_options.h"
#include "config/secret_file.h"
#include "config/vae_presets.h"

#include <string.h>

#define FIELD(f) offsetof(struct serve_options, f)

static bool is_no_path(const char *text)
{
	return strcmp(text, RECIPE_VAE_FAKE) == 0 || vae_preset_find(text) ||
	       vae_hub_id_valid(text);
}

bool serve_address_valid(const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;

	if (!colon || colon == text || digits == 0 || digits > 5 || colon[1 + digits] != '\0' ||
	    strtoul(colon + 1, NULL, 10) > 65535)
		return false;
	return *text == '[' ? colon[-1] == ']' : memchr(text, ':', (size_t)(colon - text)) == NULL;
}

static const struct setting rows[] = {
    {"listen", SETTING_STRING, FIELD(listen), .valid = serve_address_valid,
     .expected = "HOST:PORT, like 127.0.0.1:8188", .example = "127.0.0.1:8188",
     .value_name = "HOST:PORT", .help = "where requests are taken"},
    {"vae", SETTING_PATH, FIELD(vae), .is_word = is_no_path, .example = "/models/sd-vae-ft-mse",
     .value_name = "VAE",
     .help = "folder, .safetensors file, hub id or name (sdxl); docs/MODELS.md"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {"precision", SETTING_CHOICE, FIELD(precision), .fallback = "f32", .choices = recipe_precisions,
     .help = "that it is encoded in: f32, bf16 or f16; auto: what suits model and devices. Other "
	     "latentd nodes take f32 alone"},
    {"encode-only", SETTING_FLAG, FIELD(encode_only), .fallback = "false",
     .help = "its decoder is not loaded: saves its memory"},
    {"token-file", SETTING_PATH, FIELD(token_file), .example = "${CREDENTIALS_DIRECTORY}/token",
     .value_name = "FILE",
     .help = "only who sends `Authorization: Bearer` and its contents may ask"},
    {"allow-anyone", SETTING_FLAG, FIELD(allow_anyone), .fallback = "false",
     .help = "without a token on an address that other machines reach"},
    {"tls-cert", SETTING_PATH, FIELD(tls_cert), .example = "/etc/latentd/cert.pem",
     .value_name = "FILE", .help = "certificate chain (PEM): HTTPS"},
    {"tls-key", SETTING_PATH, FIELD(tls_key), .example = "/etc/latentd/key.pem",
     .value_name = "FILE", .help = "its key"},
    {"connections", SETTING_COUNT, FIELD(connections), .fallback = "256", .min = 1, .max = 4096,
     .value_name = "N", .help = "at most, further clients wait"},
    {"queue", SETTING_COUNT, FIELD(queue), .fallback = "64", .min = 1, .max = 65536,
     .value_name = "N",
     .help = "images under way; beyond it requests are told to come later (429)"},
    {"batch", SETTING_COUNT, FIELD(batch), .fallback = "0", .max = 1024, .value_name = "N",
     .help = "images of a size encoded together; 0: what the encoder likes"},
    {"max-body", SETTING_BYTES, FIELD(max_body), .fallback = "64MiB", .min = 1024,
     .max = (uint64_t)4 << 30, .value_name = "SIZE", .help = "of one request"},
    {"max-pixels", SETTING_COUNT, FIELD(max_pixels), .fallback = "4194304", .min = 64,
     .max = 200 * 1000 * 1000, .value_name = "N", .help = "of one image (2048 x 2048)"},
    {"memory", SETTING_BYTES, FIELD(memory), .fallback = "512MiB", .min = (uint64_t)1 << 20,
     .max = (uint64_t)16 << 40, .value_name = "SIZE",
     .help = "of requests under way; beyond it they are told to come later (429)"},
    {"gather", SETTING_DURATION, FIELD(gather), .fallback = "5ms", .max = 10000,
     .value_name = "TIME",
     .help = "an image waits so long for others of its size, if any are coming"},
    {"timeout", SETTING_DURATION, FIELD(timeout), .fallback = "120s", .min = 100,
     .max = 24 * 3600000, .value_name = "TIME",
     .help = "a request that waits longer for the encoder is told to come later (503)"},
    {"stop-timeout", SETTING_DURATION, FIELD(stop_timeout), .fallback = "20s", .max = 3600000,
     .value_name = "TIME", .help = "at the end, for what is under way"},
};

const struct settings_group serve_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

int serve_options_check(const struct serve_options *o, struct error *err)
{
	if (!o->listen)
		return 0;
	if (!o->vae)
		return error_set(err, ERR_CONFIG, "vae is missing: expected what it encodes with");
	if (!o->tls_cert != !o->tls_key)
		return error_set(err, ERR_CONFIG, "tls_cert and tls_key: expected both or none");
	if (o->memory < o->max_body)
		return error_set(err, ERR_CONFIG,
				 "memory is less than max_body: expected at least as much");
	return 0;
}

int serve_options_check_files(const struct serve_options *o, const char **which, struct error *err)
{
	*which = "token_file";
	if (o->token_file && secret_file_check(*which, o->token_file, err) < 0)
		return -1;
	*which = "tls_key";
	return o->tls_key ? secret_file_check(*which, o->tls_key, err) : 0;
}

/* -- on a command line --------------------------------------------------------------------------- */

#undef FIELD
#define FIELD(f) offsetof(struct serve_command, f)

const struct setting serve_command_settings[] = {
    {.type = SETTING_GROUP, .offset = FIELD(serve), .group = &serve_settings},
    {"jobs", SETTING_COUNT, FIELD(jobs), .fallback = "0", .max = 256, .value_name = "N",
     .help = "decode processes; 0: half as many as there are cores"},
    {"memory-limit", SETTING_BYTES, FIELD(memory_limit), .fallback = "1GiB",
     .min = (uint64_t)16 << 20, .max = (uint64_t)16 << 40, .value_name = "SIZE",
     .help = "for decoding and pixels"},
    {"threads", SETTING_COUNT, FIELD(encoder.threads), .fallback = "0", .max = 1024,
     .value_name = "N", .help = "encoder threads; 0: all cores"},
    {"encoder-memory", SETTING_BYTES, FIELD(encoder.memory), .value_name = "SIZE",
     .help = "for model and maps, beyond it in bands (half of what machine or cgroup have)"},
    {"device", SETTING_STRING, FIELD(device), .fallback = "cpu", .valid = cuda_choice_valid,
     .expected = CUDA_CHOICE_EXPECTED, .value_name = "DEVICE", .help = CUDA_CHOICE_HELP},
    {.type = SETTING_GROUP, .offset = FIELD(cuda), .group = &cuda_settings},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

const size_t n_serve_command_settings = ARRAY_SIZE(serve_command_settings);

bool serve_command_cuda(const struct serve_command *c, struct cuda_limits *out)
{
	return cuda_choice_limits(c->device, &c->cuda, out);
}

int serve_command_check(const struct serve_command *c, struct error *err)
{
	if (!c->serve.listen)
		return error_set(err, ERR_CONFIG, "--listen is missing");
	if (!c->serve.vae)
		return error_set(err, ERR_CONFIG, "--vae is missing");
	if (cuda_choice_check(c->device, c->serve.vae, &c->cuda, err) < 0)
		return -1;
	return serve_options_check(&c->serve, err);
}
