#include "config/daemon_check.h"

#include "config/encoder_scope.h"
#include "config/settings_yaml.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"

#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

struct check {
	const struct daemon_config *config;
	const struct yaml_node *tree;
	bool look;
	char **sources,
	    **outputs; /* where each dataset's paths really lead; sources of all in a row */
	size_t n_sources;
	char *state;
};

/* -- places -------------------------------------------------------------------------------------- */

static const struct yaml_node *nth(const struct yaml_node *node, size_t n)
{
	if (!node || node->kind != YAML_LIST)
		return node; /* one that stands for a list of one */
	node = node->first;
	while (node && n-- > 0)
		node = node->next;
	return node;
}

/* Of the last name on the way that the file has; @otherwise where it has none of them. */
static struct config_place place_below(const struct yaml_node *node, const char *const *names,
				       struct config_place otherwise)
{
	for (; *names; names++) {
		node = yaml_node_get(node, *names);
		if (!node)
			break;
		otherwise = node->kind == YAML_TEXT ? node->place : node->key_place;
	}
	return otherwise;
}

#define NAMES(...)                                                                                 \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static struct config_place in_dataset(const struct check *c, size_t i, const char *const *names)
{
	return place_below(nth(yaml_node_get(c->tree, "datasets"), i), names,
			   c->config->datasets[i].place);
}

static struct config_place in_source(const struct check *c, size_t dataset, size_t source)
{
	const struct yaml_node *item = nth(yaml_node_get(c->tree, "datasets"), dataset);

	return place_below(nth(yaml_node_get(item, "source"), source), NAMES("path"),
			   c->config->datasets[dataset].sources[source].place);
}

static struct config_place at_top(const struct check *c, const char *const *names)
{
	return place_below(c->tree, names, (struct config_place){1, 1});
}

__attribute__((format(printf, 4, 5))) static int
refuse(const struct check *c, struct config_place place, struct error *err, const char *fmt, ...)
{
	const struct settings_file file = {.name = c->config->file};
	char what[480];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return settings_refuse(&file, &place, err, "%s", what);
}

/* -- folders ------------------------------------------------------------------------------------- */

/* Without ., .. and double slashes. */
static char *tidy_path(const char *path)
{
	char *tidy = xcalloc(strlen(path) + 2, 1), *end = tidy;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && strncmp(path, "..", 2) == 0) {
			while (end > tidy && *--end != '/')
				;
		} else if (n > 0 && !(n == 1 && *path == '.')) {
			*end++ = '/';
			memcpy(end, path, n);
			end += n;
		}
		path += n + (path[n] == '/');
	}
	if (end == tidy)
		*end++ = '/';
	*end = '\0';
	return tidy;
}

/* Where a path leads through symbolic links, as far as it exists; what does not exist yet stays as it is. */
static char *real_path(const char *path, bool look)
{
	char *tidy = NULL, *real = look ? realpath(path, NULL) : NULL, *slash;

	if (real)
		return real;
	tidy = tidy_path(path);
	slash = strrchr(tidy, '/');
	if (look && slash > tidy) {
		char *parent, *joined;

		*slash = '\0';
		parent = real_path(tidy, true);
		joined = xasprintf("%s/%s", parent, slash + 1);
		free(parent);
		free(tidy);
		return joined;
	}
	return tidy;
}

/* @inner is @outer or lies in it. */
static bool lies_in(const char *inner, const char *outer)
{
	size_t n = strlen(outer);

	return strcmp(outer, "/") == 0 ||
	       (strncmp(inner, outer, n) == 0 && (inner[n] == '/' || inner[n] == '\0'));
}

static bool overlap(const char *a, const char *b)
{
	return lies_in(a, b) || lies_in(b, a);
}

static void find_folders(struct check *c)
{
	const struct daemon_config *config = c->config;
	size_t n = 0;

	c->state = real_path(config->state_dir, c->look);
	for (size_t i = 0; i < config->n_datasets; i++)
		n += config->datasets[i].n_sources;
	c->sources = xcalloc(n + 1, sizeof(*c->sources));
	c->outputs = xcalloc(config->n_datasets + 1, sizeof(*c->outputs));
	for (size_t i = 0; i < config->n_datasets; i++) {
		const struct dataset_config *d = &config->datasets[i];

		c->outputs[i] = real_path(d->output.path, c->look);
		for (size_t k = 0; k < d->n_sources; k++)
			c->sources[c->n_sources++] = real_path(d->sources[k].path, c->look);
	}
}

static void forget_folders(struct check *c)
{
	for (size_t i = 0; i < c->n_sources; i++)
		free(c->sources[i]);
	for (size_t i = 0; i < c->config->n_datasets; i++)
		free(c->outputs[i]);
	free(c->sources);
	free(c->outputs);
	free(c->state);
}

/* One source against every output and the state. */
static int check_source_apart(const struct check *c, struct config_place place, const char *source,
			      struct error *err)
{
	for (size_t i = 0; i < c->config->n_datasets; i++) {
		const struct dataset_config *d = &c->config->datasets[i];

		if (overlap(source, c->outputs[i]))
			return refuse(c, place, err,
				      "source %s and the output %s of dataset %s: one lies in the "
				      "other, expected folders apart",
				      source, c->outputs[i], d->name);
	}
	if (overlap(source, c->state))
		return refuse(c, place, err,
			      "source %s and state_dir %s: one lies in the other, expected folders "
			      "apart",
			      source, c->state);
	return 0;
}

static int check_sources(const struct check *c, struct error *err)
{
	size_t n = 0;

	for (size_t i = 0; i < c->config->n_datasets; i++) {
		const struct dataset_config *d = &c->config->datasets[i];

		for (size_t k = 0; k < d->n_sources; k++) {
			struct config_place place = in_source(c, i, k);

			if (check_source_apart(c, place, c->sources[n + k], err) < 0)
				return -1;
			for (size_t j = 0; j < k; j++) {
				if (overlap(c->sources[n + j], c->sources[n + k]))
					return refuse(c, place, err,
						      "source %s and source %s: one lies in the "
						      "other, expected each image once",
						      c->sources[n + k], c->sources[n + j]);
			}
		}
		n += d->n_sources;
	}
	return 0;
}

/* Datasets may share an output, in which each has its own folder; but none may lie in another. */
static int check_outputs(const struct check *c, struct error *err)
{
	for (size_t i = 0; i < c->config->n_datasets; i++) {
		struct config_place place = in_dataset(c, i, NAMES("output", "path"));

		if (overlap(c->outputs[i], c->state))
			return refuse(c, place, err,
				      "output %s and state_dir %s: one lies in the other, expected "
				      "folders apart",
				      c->outputs[i], c->state);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(c->outputs[i], c->outputs[k]) != 0 &&
			    overlap(c->outputs[i], c->outputs[k]))
				return refuse(c, place, err,
					      "output %s and the output %s of dataset %s: one lies "
					      "in the other, expected the same folder or folders "
					      "apart",
					      c->outputs[i], c->outputs[k],
					      c->config->datasets[k].name);
		}
	}
	return 0;
}

/* -- what is there ------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Whether a file is an archive is known above (daemon/config_check.c). */
static bool may_be_source(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode));
}

/* What it is shows when it is opened. */
static int check_vae_there(const struct check *c, size_t i, struct error *err)
{
	const char *vae = c->config->datasets[i].recipe.vae;
	/* a name is looked up when the model is loaded */
	if (*vae == '/' && !file_exists(vae))
		return refuse(c, in_dataset(c, i, NAMES("recipe", "vae")), err,
			      "vae: there is no file or folder %s", vae);
	return 0;
}

static int check_group_there(const struct check *c, struct error *err)
{
	const char *name = c->config->api.group;
	struct group group, *found = NULL;
	char room[4096];

	if (!name || (getgrnam_r(name, &group, room, sizeof(room), &found) == 0 && found))
		return 0;
	return refuse(c, at_top(c, NAMES("api", "group")), err, "group: there is no group %s",
		      name);
}

static int check_there(const struct check *c, struct error *err)
{
	if (file_exists(c->state) && !is_folder(c->state))
		return refuse(c, at_top(c, NAMES("state_dir")), err, "state_dir: %s is no folder",
			      c->state);
	if (check_group_there(c, err) < 0)
		return -1;
	for (size_t i = 0; i < c->config->n_datasets; i++) {
		const struct dataset_config *d = &c->config->datasets[i];

		/* One that is not there may be a disk that is mounted later: its dataset waits for it. */
		for (size_t k = 0; k < d->n_sources; k++) {
			if (file_exists(d->sources[k].path) && !may_be_source(d->sources[k].path))
				return refuse(c, in_source(c, i, k), err,
					      "source: %s is no folder and no file",
					      d->sources[k].path);
		}
		if (check_vae_there(c, i, err) < 0)
			return -1;
	}
	return 0;
}

/* -- datasets ------------------------------------------------------------------------------------ */

static int check_dataset(const struct check *c, size_t i, struct error *err)
{
	const struct dataset_config *d = &c->config->datasets[i];
	struct error wrong = ERROR_INIT;
	size_t variants, sides[PIXEL_RESOLUTIONS_MAX], resolutions;

	for (size_t k = 0; k < i; k++) {
		if (strcmp(c->config->datasets[k].name, d->name) == 0)
			return refuse(c, in_dataset(c, i, NAMES("name")), err,
				      "a second dataset %s, the first is in line %zu: expected "
				      "another name",
				      d->name, c->config->datasets[k].place.line);
	}
	if (d->n_sources == 0)
		return refuse(c, in_dataset(c, i, NAMES("source")), err,
			      "source: an empty list: expected a folder or more");
	if (d->require_caption && !d->captions)
		return refuse(c, in_dataset(c, i, NAMES("require_caption")), err,
			      "require_caption without captions: expected captions: true");
	if (recipe_options_check(&d->recipe, &wrong) < 0)
		return refuse(c, in_dataset(c, i, NAMES("recipe")), err, "recipe: %s",
			      wrong.message);
	if (store_options_check(&d->output.store, d->output.options.shard_size, &wrong) < 0)
		return refuse(c, in_dataset(c, i, NAMES("output")), err, "output: %s",
			      wrong.message);
	resolutions = pixel_options_resolutions(&d->recipe.pixels, sides);
	variants =
	    (1 + d->recipe.crops) * (d->recipe.flip ? 2 : 1) * (resolutions > 0 ? resolutions : 1);
	if (d->max_requests_per_day > 0 && d->max_requests_per_day < variants)
		return refuse(c, in_dataset(c, i, NAMES("max_requests_per_day")), err,
			      "max_requests_per_day: less than the %zu variants of one image, "
			      "expected more, or 0",
			      variants);
	return 0;
}

/* -- encoders ------------------------------------------------------------------------------------ */

static const char *encoder_wanted(enum vae_source source)
{
	switch (source) {
	case VAE_SOURCE_FAKE:
		return "one of type fake";
	case VAE_SOURCE_DECLARED:
		return "one of type remote with this model";
	case VAE_SOURCE_ENDPOINT:
		return "one of type remote";
	case VAE_SOURCE_FILES:
		break;
	}
	return "one of a type other than fake";
}

/* The fake encoder and real ones never stand in for each other, nor do weights that are known and those that are not. */
static int check_encodable(const struct check *c, size_t i, struct error *err)
{
	const char *vae = c->config->datasets[i].recipe.vae;
	enum vae_source source = vae_source_of(vae, NULL);
	struct error why = ERROR_INIT;

	for (size_t k = 0; k < c->config->n_encoders; k++) {
		const struct encoder_config *e = &c->config->encoders[k];
		const struct encoder_scope_wish wish = {
		    .declared = source == VAE_SOURCE_DECLARED,
		    .send = remote_send_name(e->remote.options.send)};

		if (!encoder_scope_has(e, vae))
			continue;
		if (e->type != ENCODER_TYPE_REMOTE || encoder_scope_endpoint(&wish, &why) == 0)
			return 0;
	}
	if (why.code != ERR_NONE)
		return refuse(c, in_dataset(c, i, NAMES("recipe", "vae")), err, "vae %s: %s", vae,
			      why.message);
	return refuse(c, in_dataset(c, i, NAMES("recipe", "vae")), err,
		      "vae%s%s: no encoder can encode it: expected %s",
		      source == VAE_SOURCE_FILES ? "" : " ", source == VAE_SOURCE_FILES ? "" : vae,
		      encoder_wanted(source));
}

static int check_serve(const struct check *c, struct error *err)
{
	const struct serve_options *serve = &c->config->serve;
	struct error wrong = ERROR_INIT;

	if (serve_options_check(serve, &wrong) < 0)
		return refuse(c, at_top(c, NAMES("serve")), err, "serve: %s", wrong.message);
	if (!serve->listen)
		return 0;
	if (c->look && *serve->vae == '/' && !file_exists(serve->vae))
		return refuse(c, at_top(c, NAMES("serve", "vae")), err,
			      "vae: there is no file or folder %s", serve->vae);
	for (size_t k = 0; k < c->config->n_encoders; k++) {
		if (encoder_scope_has(&c->config->encoders[k], serve->vae))
			return 0;
	}
	return refuse(c, at_top(c, NAMES("serve", "vae")), err,
		      "vae: no encoder can encode it: expected %s",
		      encoder_wanted(vae_source_of(serve->vae, NULL)));
}

static struct config_place in_encoder(const struct check *c, size_t i, const char *const *names)
{
	return place_below(nth(yaml_node_get(c->tree, "encoders"), i), names,
			   c->config->encoders[i].place);
}

static int check_remote(const struct check *c, size_t i, struct error *err)
{
	const struct encoder_config *e = &c->config->encoders[i];
	struct error wrong = ERROR_INIT;
	size_t which = 0;

	if (remote_config_check(&e->remote, &which, &wrong) < 0)
		return refuse(c,
			      which < e->remote.n_endpoints ? e->remote.endpoints[which].place
							    : in_encoder(c, i, NAMES("endpoints")),
			      err, "%s", wrong.message);
	if (e->remote.model.name && remote_model_check(&e->remote.model, &wrong) < 0)
		return refuse(c, in_encoder(c, i, NAMES("model")), err, "%s", wrong.message);
	for (size_t k = 0; c->look && k < e->remote.n_endpoints; k++) {
		const struct remote_endpoint *endpoint = &e->remote.endpoints[k];

		if (endpoint->token_file &&
		    remote_secret_check("token_file", endpoint->token_file, &wrong) < 0)
			return refuse(c, endpoint->place, err, "%s", wrong.message);
	}
	if (c->look && e->remote.options.proxy_auth_file &&
	    remote_secret_check("proxy_auth_file", e->remote.options.proxy_auth_file, &wrong) < 0)
		return refuse(c, in_encoder(c, i, NAMES("proxy_auth_file")), err, "%s",
			      wrong.message);
	if (c->look && e->remote.options.ca_file && !file_exists(e->remote.options.ca_file))
		return refuse(c, in_encoder(c, i, NAMES("ca_file")), err,
			      "ca_file: there is no file %s", e->remote.options.ca_file);
	return 0;
}

static int check_encoders(const struct check *c, struct error *err)
{
	const struct daemon_config *config = c->config;

	if (config->n_encoders == 0)
		return refuse(c, at_top(c, NAMES("encoders")), err,
			      "encoders: an empty list: expected one like {type: cpu}");
	for (size_t i = 0; i < config->n_encoders; i++) {
		const struct encoder_config *e = &config->encoders[i];
		struct error why = ERROR_INIT;

		for (size_t k = 0; k < i; k++) {
			if (strcmp(config->encoders[k].name, e->name) == 0)
				return refuse(c, e->place, err,
					      "a second encoder %s: expected another name",
					      e->name);
		}
		if (e->type == ENCODER_TYPE_REMOTE && check_remote(c, i, err) < 0)
			return -1;
		if (e->type == ENCODER_TYPE_CUDA && cuda_limits_check(&e->cuda, &why) < 0)
			return refuse(c, e->place, err, "%s", why.message);
	}
	for (size_t i = 0; i < config->n_datasets; i++) {
		if (check_encodable(c, i, err) < 0)
			return -1;
	}
	return 0;
}

/* -- everything ---------------------------------------------------------------------------------- */

static int check_api(const struct check *c, struct error *err)
{
	struct error wrong = ERROR_INIT;
	const char *which = NULL;

	if (api_config_check(&c->config->api, &which, &wrong) == 0 &&
	    (!c->look || api_config_check_files(&c->config->api, &which, &wrong) == 0))
		return 0;
	return refuse(c, at_top(c, NAMES("api", which)), err, "%s", wrong.message);
}

static int check_webhook(const struct check *c, struct error *err)
{
	const struct webhook_options *webhook = &c->config->webhook;
	struct error wrong = ERROR_INIT;

	if (webhook_options_check(webhook, &wrong) < 0)
		return refuse(c, at_top(c, NAMES("webhook", "url")), err, "%s", wrong.message);
	if (c->look && webhook->url && webhook->secret_file &&
	    remote_secret_check("secret_file", webhook->secret_file, &wrong) < 0)
		return refuse(c, at_top(c, NAMES("webhook", "secret_file")), err, "%s",
			      wrong.message);
	return 0;
}

int daemon_check(const struct daemon_config *config, const struct yaml_node *tree, bool look,
		 struct error *err)
{
	struct check c = {.config = config, .tree = tree, .look = look};
	int r = check_api(&c, err);

	for (size_t i = 0; r == 0 && i < config->n_datasets; i++)
		r = check_dataset(&c, i, err);
	if (r == 0)
		r = check_encoders(&c, err);
	if (r == 0)
		r = check_serve(&c, err);
	if (r == 0)
		r = check_webhook(&c, err);
	if (r < 0)
		return -1;
	find_folders(&c);
	if (check_sources(&c, err) < 0 || check_outputs(&c, err) < 0 ||
	    (look && check_there(&c, err) < 0))
		r = -1;
	forget_folders(&c);
	return r;
}
