#include "config/daemon_check.h"

#include "config/daemon_check_parts.h"
#include "config/secret_file.h"

#include <string.h>

static int check_dataset(const struct daemon_check *c, size_t i, struct error *err)
{
	const struct dataset_config *d = &c->config->datasets[i];
	struct error wrong = ERROR_INIT;
	size_t variants, sides[PIXEL_RESOLUTIONS_MAX], resolutions;

	for (size_t k = 0; k < i; k++) {
		if (strcmp(c->config->datasets[k].name, d->name) == 0)
			return check_refuse(
			    c, check_in_dataset(c, i, CHECK_NAMES("name")), err,
			    "a second dataset %s, the first is in line %zu: expected "
			    "another name",
			    d->name, c->config->datasets[k].place.line);
	}
	if (d->n_sources == 0)
		return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("source")), err,
				    "source: an empty list: expected a folder or more");
	if (d->require_caption && !d->captions)
		return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("require_caption")), err,
				    "require_caption without captions: expected captions: true");
	if (recipe_options_check(&d->recipe, &wrong) < 0)
		return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("recipe")), err,
				    "recipe: %s", wrong.message);
	if (store_options_check(&d->output.store, d->output.options.shard_size, &wrong) < 0)
		return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("output")), err,
				    "output: %s", wrong.message);
	resolutions = pixel_options_resolutions(&d->recipe.pixels, sides);
	variants =
	    (1 + d->recipe.crops) * (d->recipe.flip ? 2 : 1) * (resolutions > 0 ? resolutions : 1);
	if (d->max_requests_per_day > 0 && d->max_requests_per_day < variants)
		return check_refuse(
		    c, check_in_dataset(c, i, CHECK_NAMES("max_requests_per_day")), err,
		    "max_requests_per_day: less than the %zu variants of one image, "
		    "expected more, or 0",
		    variants);
	return 0;
}

static int check_api(const struct daemon_check *c, struct error *err)
{
	struct error wrong = ERROR_INIT;
	const char *which = NULL;

	if (api_config_check(&c->config->api, &which, &wrong) == 0 &&
	    (!c->look || api_config_check_files(&c->config->api, &which, &wrong) == 0))
		return 0;
	return check_refuse(c, check_at_top(c, CHECK_NAMES("api", which)), err, "%s",
			    wrong.message);
}

static int check_webhook(const struct daemon_check *c, struct error *err)
{
	const struct webhook_options *webhook = &c->config->webhook;
	struct error wrong = ERROR_INIT;

	if (webhook_options_check(webhook, &wrong) < 0)
		return check_refuse(c, check_at_top(c, CHECK_NAMES("webhook", "url")), err, "%s",
				    wrong.message);
	if (c->look && webhook->url && webhook->secret_file &&
	    secret_file_check("secret_file", webhook->secret_file, &wrong) < 0)
		return check_refuse(c, check_at_top(c, CHECK_NAMES("webhook", "secret_file")), err,
				    "%s", wrong.message);
	return 0;
}

int daemon_check(const struct daemon_config *config, const struct yaml_node *tree, bool look,
		 struct error *err)
{
	const struct daemon_check c = {.config = config, .tree = tree, .look = look};
	int r = check_api(&c, err);

	for (size_t i = 0; r == 0 && i < config->n_datasets; i++)
		r = check_dataset(&c, i, err);
	if (r == 0)
		r = check_encoders(&c, err);
	if (r == 0)
		r = check_serve(&c, err);
	if (r == 0)
		r = check_webhook(&c, err);
	return r == 0 ? check_folders(&c, err) : -1;
}
