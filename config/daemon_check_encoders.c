#include "config/daemon_check_parts.h"

#include "config/encoder_scope.h"
#include "config/secret_file.h"

#include "base/files.h"

#include <string.h>

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
static int check_encodable(const struct daemon_check *c, size_t i, struct error *err)
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
		return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("recipe", "vae")), err,
				    "vae %s: %s", vae, why.message);
	return check_refuse(c, check_in_dataset(c, i, CHECK_NAMES("recipe", "vae")), err,
			    "vae%s%s: no encoder can encode it: expected %s",
			    source == VAE_SOURCE_FILES ? "" : " ",
			    source == VAE_SOURCE_FILES ? "" : vae, encoder_wanted(source));
}

int check_serve(const struct daemon_check *c, struct error *err)
{
	const struct serve_options *serve = &c->config->serve;
	struct error wrong = ERROR_INIT;
	const char *which = NULL;

	if (serve_options_check(serve, &wrong) < 0)
		return check_refuse(c, check_at_top(c, CHECK_NAMES("serve")), err, "serve: %s",
				    wrong.message);
	if (!serve->listen)
		return 0;
	if (c->look && *serve->vae == '/' && !file_exists(serve->vae))
		return check_refuse(c, check_at_top(c, CHECK_NAMES("serve", "vae")), err,
				    "vae: there is no file or folder %s", serve->vae);
	if (c->look && serve_options_check_files(serve, &which, &wrong) < 0)
		return check_refuse(c, check_at_top(c, CHECK_NAMES("serve", which)), err,
				    "serve: %s", wrong.message);
	for (size_t k = 0; k < c->config->n_encoders; k++) {
		if (encoder_scope_has(&c->config->encoders[k], serve->vae))
			return 0;
	}
	return check_refuse(c, check_at_top(c, CHECK_NAMES("serve", "vae")), err,
			    "vae: no encoder can encode it: expected %s",
			    encoder_wanted(vae_source_of(serve->vae, NULL)));
}

static int check_remote(const struct daemon_check *c, size_t i, struct error *err)
{
	const struct encoder_config *e = &c->config->encoders[i];
	struct error wrong = ERROR_INIT;
	size_t which = 0;

	if (remote_config_check(&e->remote, &which, &wrong) < 0)
		return check_refuse(c,
				    which < e->remote.n_endpoints
					? e->remote.endpoints[which].place
					: check_in_encoder(c, i, CHECK_NAMES("endpoints")),
				    err, "%s", wrong.message);
	if (e->remote.model.name && remote_model_check(&e->remote.model, &wrong) < 0)
		return check_refuse(c, check_in_encoder(c, i, CHECK_NAMES("model")), err, "%s",
				    wrong.message);
	for (size_t k = 0; c->look && k < e->remote.n_endpoints; k++) {
		const struct remote_endpoint *endpoint = &e->remote.endpoints[k];

		if (endpoint->token_file &&
		    secret_file_check("token_file", endpoint->token_file, &wrong) < 0)
			return check_refuse(c, endpoint->place, err, "%s", wrong.message);
	}
	if (c->look && e->remote.options.proxy_auth_file &&
	    secret_file_check("proxy_auth_file", e->remote.options.proxy_auth_file, &wrong) < 0)
		return check_refuse(c, check_in_encoder(c, i, CHECK_NAMES("proxy_auth_file")), err,
				    "%s", wrong.message);
	if (c->look && e->remote.options.ca_file && !file_exists(e->remote.options.ca_file))
		return check_refuse(c, check_in_encoder(c, i, CHECK_NAMES("ca_file")), err,
				    "ca_file: there is no file %s", e->remote.options.ca_file);
	return 0;
}

int check_encoders(const struct daemon_check *c, struct error *err)
{
	const struct daemon_config *config = c->config;

	if (config->n_encoders == 0)
		return check_refuse(c, check_at_top(c, CHECK_NAMES("encoders")), err,
				    "encoders: an empty list: expected one like {type: cpu}");
	for (size_t i = 0; i < config->n_encoders; i++) {
		const struct encoder_config *e = &config->encoders[i];
		struct error why = ERROR_INIT;

		for (size_t k = 0; k < i; k++) {
			if (strcmp(config->encoders[k].name, e->name) == 0)
				return check_refuse(c, e->place, err,
						    "a second encoder %s: expected another name",
						    e->name);
		}
		if (e->type == ENCODER_TYPE_REMOTE && check_remote(c, i, err) < 0)
			return -1;
		if (e->type == ENCODER_TYPE_CUDA && cuda_limits_check(&e->cuda, &why) < 0)
			return check_refuse(c, e->place, err, "%s", why.message);
	}
	for (size_t i = 0; i < config->n_datasets; i++) {
		if (check_encodable(c, i, err) < 0)
			return -1;
	}
	return 0;
}
