#include "config/read_options.h"

#include "config/daemon_config.h"
#include "config/output_options.h"
#include "config/settings_complete.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(f) offsetof(struct read_options, f)

static bool percent_valid(const char *text)
{
	char *end = NULL;
	double percent = strtod(text, &end);

	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && percent >= 0 && percent < 100;
}

/* One picture after another needs no more than one GPU. */
static bool device_valid(const char *text)
{
	return cuda_choice_valid(text) && strcmp(text, "cuda:all") != 0;
}

static const struct setting all[] = {
    {"out", SETTING_PATH, FIELD(out), .value_name = "DIR",
     .help = "output folder of latentctl encode"},
    {"socket", SETTING_PATH, FIELD(socket), .value_name = "PATH",
     .help = "of the daemon; else that of --out, --state or --config"},
    {"state", SETTING_PATH, FIELD(state), .value_name = "DIR",
     .help = "state folder of the daemon or of an encode"},
    {"config", SETTING_PATH, FIELD(config), .value_name = "FILE",
     .help = "configuration of the daemon"},
    {"name", SETTING_STRING, FIELD(name), .not_empty = true, .value_name = "NAME",
     .help = "only this dataset"},
    {"encoder", SETTING_STRING, FIELD(encoder), .not_empty = true, .value_name = "NAME",
     .help = "this encoder of the daemon, and no dataset"},
    {"reason", SETTING_STRING, FIELD(reason), .not_empty = true, .value_name = "R",
     .help = "only this reason (truncated, unsupported, ...)"},
    {"key", SETTING_STRING, FIELD(key), .not_empty = true, .value_name = "KEY",
     .help = "only the image with this key (failed --json tells it)"},
    {"to", SETTING_PATH, FIELD(to), .fallback = ".", .value_name = "DIR",
     .help = "folder to write to"},
    {"dry-run", SETTING_FLAG, FIELD(dry_run), .help = "change nothing; say what would be done"},
    {"grace", SETTING_COUNT, FIELD(grace_hours), .fallback = "24", .max = READ_GRACE_MAX,
     .value_name = "HOURS", .help = "how long replaced shards stay in .latentd/retired"},
    {"shard-samples", SETTING_COUNT, FIELD(shard_samples), .fallback = "1000", .min = 1,
     .max = READ_SHARD_SAMPLES_MAX, .value_name = "N", .help = "samples in a full shard"},
    {"shard-size", SETTING_BYTES, FIELD(shard_size), .fallback = "256MiB",
     .min = READ_SHARD_SIZE_MIN, .max = READ_SHARD_SIZE_MAX, .value_name = "SIZE",
     .help = "bytes in a full shard"},
    {"deep", SETTING_FLAG, FIELD(deep),
     .help = "put what is damaged aside, so that the next encode makes it anew"},
    {"json", SETTING_FLAG, FIELD(json), .help = "one JSON object a line"},
    {"paths", SETTING_FLAG, FIELD(paths), .help = "nothing but the paths of the files, one a line"},
    {"skipped", SETTING_FLAG, FIELD(skipped),
     .help = "images left out on purpose (too small, ...) instead"},
    {"cancelled", SETTING_FLAG, FIELD(cancelled), .help = "images that were cancelled instead"},
    {"watch", SETTING_FLAG, FIELD(watch), .help = "show it again every second, until interrupted"},
    {"level", SETTING_CHOICE, FIELD(level), .choices = log_levels,
     .help = "only lines of this level and graver ones"},
    {"lines", SETTING_COUNT, FIELD(lines), .letter = 'n', .fallback = "50", .min = 1, .max = 1000,
     .value_name = "N", .help = "how many of the last lines"},
    {"follow", SETTING_FLAG, FIELD(follow),
     .help = "and those that come from now on, until interrupted"},
    {"drain", SETTING_STRING, FIELD(drain), .not_empty = true, .value_name = "NODE",
     .help = "it begins nothing new and seals what it has"},
    {"resume", SETTING_STRING, FIELD(resume), .not_empty = true, .value_name = "NODE",
     .help = "it goes on"},
    {"forget", SETTING_STRING, FIELD(forget), .not_empty = true, .value_name = "NODE",
     .help = "it does not return: what it had in its spool is encoded again"},
    {"accept", SETTING_FLAG, FIELD(accept), .help = "remove these samples"},
    {"vae", SETTING_PATH, FIELD(vae), .value_name = "VAE",
     .help = "folder, .safetensors file, hub id or name, as of encode"},
    {.type = SETTING_GROUP, .offset = FIELD(vae_options), .group = &vae_settings},
    {"endpoint", SETTING_STRING, FIELD(endpoint), .valid = remote_url_valid,
     .expected = REMOTE_URL_EXPECTED, .value_name = "URL",
     .help = "decode there instead: latentd serve, or another endpoint of remote_decode"},
    {"device", SETTING_STRING, FIELD(device), .fallback = "cpu", .valid = device_valid,
     .expected = "cpu, cuda or cuda:N", .value_name = "DEVICE",
     .help = "what decodes: cpu, cuda (its first GPU) or cuda:N"},
    {"token-file", SETTING_PATH, FIELD(token_file), .value_name = "FILE",
     .help = "with the token that the endpoint asks for"},
    {"ca-file", SETTING_PATH, FIELD(remote.ca_file), .value_name = "FILE",
     .help = "certificates that the endpoint is checked against (the system's)"},
    {"proxy", SETTING_STRING, FIELD(remote.proxy), .valid = remote_proxy_valid,
     .expected = "none, or " REMOTE_URL_EXPECTED, .value_name = "URL",
     .help = "proxy to reach it by, or none (the environment's)"},
    {"proxy-auth-file", SETTING_PATH, FIELD(remote.proxy_auth_file), .value_name = "FILE",
     .help = "file with USER:PASSWORD for the proxy"},
    {"timeout", SETTING_DURATION, FIELD(remote.timeout), .fallback = "120s", .min = 100,
     .max = (uint64_t)24 * 3600000, .value_name = "TIME",
     .help = "longest wait for the endpoint's whole answer"},
    {"scale-up-timeout", SETTING_DURATION, FIELD(remote.scale_up_timeout), .fallback = "600s",
     .max = (uint64_t)24 * 3600000, .value_name = "TIME",
     .help = "how long an endpoint that is starting may hold a request; 0: do not ask"},
    {"retries", SETTING_COUNT, FIELD(remote.retries), .fallback = "4", .max = 100,
     .value_name = "N", .help = "how often a latent is sent again"},
    {"allow-http", SETTING_FLAG, FIELD(remote.allow_http), .fallback = "false",
     .help = "send the token over http, which anybody on the way can read"},
    {"out", SETTING_PATH, FIELD(output), .letter = 'o', .value_name = "FILE",
     .help = "picture to write, a .png"},
    {"count", SETTING_COUNT, FIELD(count), .letter = 'n', .fallback = "24", .min = 1, .max = 1000,
     .value_name = "N", .help = "latents to show"},
    {"decode", SETTING_COUNT, FIELD(decode), .max = 1000000, .value_name = "N",
     .help = "also decode N of the latents and compare them with their sources; needs --vae"},
    {"min-psnr", SETTING_NUMBER, FIELD(min_psnr), .max = 100, .value_name = "DB",
     .help = "least PSNR of a decoded latent; without it what the model's family gives"},
    {"fast", SETTING_FLAG, FIELD(fast),
     .help = "pictures of 256 pixels at most, from latents made smaller"},
    {"private-hosts", SETTING_FLAG, FIELD(private_hosts),
     .help = "fetch sources also from this machine and private networks"},
    {"scaled", SETTING_FLAG, FIELD(scaled),
     .help = "the latent is scaled and shifted, as a model takes it"},
    {"format", SETTING_CHOICE, FIELD(format), .choices = output_formats,
     .help = "of shards (as they are)"},
    {"codec", SETTING_CHOICE, FIELD(codec), .choices = output_codecs,
     .help = "of latents in tars (as they are)"},
    {"columns", SETTING_STRING, FIELD(columns), .value_name = "LIST",
     .help = "of mds, as of encode"},
    {"order", SETTING_CHOICE, FIELD(order), .choices = output_orders,
     .help = "of samples in shards (as they are)"},
    {"val", SETTING_STRING, FIELD(val), .valid = percent_valid,
     .expected = "a number from 0 to below 100", .value_name = "PERCENT",
     .help = "of the samples go to val/, the others to train/; chosen by key (as they are)"},
    {"help", SETTING_FLAG, FIELD(help), .help = "this text"},
};

/* True if @name stands in the space-separated list @accepted. */
static bool listed(const char *accepted, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = accepted; (p = strstr(p, name)); p += n) {
		if ((p == accepted || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

/* What commands list it as: options of one name are told apart, and groups have none. */
static const char *handle_of(const struct setting *s)
{
	if (s->offset == FIELD(output))
		return "output";
	return s->name ? s->name : "vae-options";
}

static bool taken(const struct read_command *command, const char *name)
{
	return listed(command->options, name) || strcmp(name, "help") == 0 ||
	       (listed(command->options, "daemon") && listed("out socket state config", name));
}

/* What the table cannot tell: words too few or too many, and no --out. */
static int check_words(const struct read_command *command, struct read_options *options,
		       const char *const *words, size_t n, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (options->help)
		return 0;
	if (n > command->n_words)
		return error_set(err, ERR_CONFIG, "%s is one word too many",
				 text_quote(words[command->n_words], quoted));
	if (n < command->n_words)
		return error_set(err, ERR_CONFIG, "%zu word%s needed, %zu %s there",
				 command->n_words, command->n_words == 1 ? " is" : "s are", n,
				 n == 1 ? "is" : "are");
	if (listed(command->options, "out") && !options->out && !options->config)
		return error_set(err, ERR_CONFIG, "--out is missing");
	memcpy(options->words, words, n * sizeof(*words));
	return 0;
}

int read_options_wrong(const char *name, const struct read_command *command, const char *why)
{
	fprintf(stderr, "latentctl %s: %s\nusage: latentctl %s\n", name, why, command->usage);
	return READ_OPTIONS_WRONG;
}

int read_options_parse(int argc, char **argv, const struct read_command *command,
		       struct read_options *options)
{
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct setting table[ARRAY_SIZE(all)];
	struct error err = ERROR_INIT;
	size_t n = 0, n_words = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (taken(command, handle_of(&all[i])))
			table[n++] = all[i];
	}
	if (settings_complete(stdout, table, n, command->n_words > 0, argc, argv))
		return READ_OPTIONS_HELP;
	settings_defaults(table, n, options);
	if (settings_parse(table, n, argc, argv, options, words, &n_words, &err) < 0 ||
	    check_words(command, options, words, n_words, &err) < 0)
		return read_options_wrong(argv[0], command, err.message);
	if (options->help) {
		printf("usage: latentctl %s\n\n", command->usage);
		settings_help(stdout, table, n);
		return READ_OPTIONS_HELP;
	}
	return 0;
}
