/*
 * The object `recipe_vae` has the words of a diffusers config.json, so that one's reader reads it; FLUX.2's statistics, which
 * a config.json has not, are read here.
 */
#include "encoder/endpoint_model.h"

#include "base/checked.h"
#include "base/text.h"
#include "encoder/remote_reply.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 1 << 20, MULTIPLE_MAX = 4096 };

/* ---- what it says ----------------------------------------------------------------------------------------------- */

static int model_bad(struct error *err, const char *what)
{
	return error_data(err, "model", "its description of its model makes no sense: %s", what);
}

static void copy_text(const json_t *value, char *out, size_t size)
{
	cleanup_buffer struct buffer clean = BUFFER_INIT;
	const char *text = json_string_value(value);

	if (!text)
		return;
	utf8_append_clean(&clean, text, strlen(text));
	snprintf(out, size, "%s", clean.size ? (const char *)clean.data : "");
	for (char *c = out; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	}
}

/* Absent: 0. False: there, and no such number. */
static bool read_size(const json_t *root, const char *key, size_t *out)
{
	const json_t *value = json_object_get(root, key);

	if (value && (!json_is_integer(value) || json_integer_value(value) < 0))
		return false;
	*out = (size_t)json_integer_value(value);
	return true;
}

static bool read_doubles(const json_t *list, size_t n, double *out)
{
	if (json_array_size(list) != n || n > VAE_MAX_STATISTICS)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!json_is_number(json_array_get(list, i)))
			return false;
		out[i] = json_number_value(json_array_get(list, i));
	}
	return true;
}

/* As a config.json has it, to be freed. */
static char *as_config(const json_t *vae, bool flux2)
{
	json_t *config = json_copy((json_t *)(uintptr_t)vae), *types = json_array();
	char *text;

	json_object_set(config, "_class_name", json_object_get(vae, "class"));
	for (size_t i = json_array_size(json_object_get(vae, "block_out_channels")); i > 0; i--)
		json_array_append_new(types, json_string("DownEncoderBlock2D"));
	json_object_set_new(config, "down_block_types", types);
	if (flux2)
		json_object_del(config, "patch_size");
	text = json_dumps(config, JSON_COMPACT);
	json_decref(config);
	return text;
}

static int read_vae(const json_t *vae, struct endpoint_model *m, struct error *err)
{
	const char *class = json_string_value(json_object_get(vae, "class"));
	bool flux2 = class && strcmp(class, vae_class_name(VAE_CLASS_FLUX2)) == 0;
	cleanup_free char *config = NULL;

	if (class && strcmp(class, "fake") == 0) {
		m->fake = true;
		m->vae = (struct vae_config){.scaling_factor = 1, .patch_size = 1};
		return 0;
	}
	config = as_config(vae, flux2);
	if (!config)
		return model_bad(err, "recipe_vae");
	if (vae_config_parse(config, strlen(config), "recipe_vae", &m->vae, err) < 0) {
		err->code = ERR_DATA;
		snprintf(err->reason, sizeof(err->reason), "model");
		return -1;
	}
	if (flux2 && (!read_doubles(json_object_get(vae, "latents_mean"), m->vae.n_statistics,
				    m->vae.latents_mean) ||
		      !read_doubles(json_object_get(vae, "latents_std"), m->vae.n_statistics,
				    m->vae.latents_std)))
		return model_bad(err, "latents_mean and latents_std");
	return 0;
}

static int read_model(const json_t *root, struct endpoint_model *m, struct error *err)
{
	const json_t *vae = json_object_get(root, "recipe_vae");
	const char *weights = json_string_value(json_object_get(vae, "weights_sha256"));
	size_t channels = 0, downscale = 0;

	copy_text(json_object_get(root, "name"), m->name, sizeof(m->name));
	copy_text(json_object_get(root, "latentd"), m->version, sizeof(m->version));
	m->decodes = json_is_true(json_object_get(root, "decodes"));
	if (!json_is_object(vae) || read_vae(vae, m, err) < 0)
		return err->code ? -1 : model_bad(err, "no recipe_vae");
	if (!weights || !sha256_parse(weights, &m->weights))
		return model_bad(err, "weights_sha256");
	if (!read_size(root, "size_multiple", &m->size_multiple) ||
	    !read_size(root, "max_pixels", &m->max_pixels) ||
	    !read_size(root, "max_body", &m->max_body) ||
	    !read_size(root, "latent_channels", &channels) ||
	    !read_size(root, "downscale", &downscale) || m->size_multiple == 0 ||
	    m->size_multiple > MULTIPLE_MAX)
		return model_bad(err, "its sizes");
	if (m->fake)
		m->vae.latent_channels = channels;
	if (channels == 0 || channels != m->vae.latent_channels ||
	    (!m->fake && downscale != vae_config_downscale(&m->vae)))
		return model_bad(err, "latent_channels and downscale are not those of recipe_vae");
	return 0;
}

int endpoint_model_parse(const char *json, size_t size, struct endpoint_model *out,
			 struct error *err)
{
	struct endpoint_model model = {.latentd = false};
	json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, NULL);
	int r = 0;

	model.latentd = json_is_string(json_object_get(root, "latentd"));
	if (model.latentd)
		r = read_model(root, &model, err);
	json_decref(root);
	if (r == 0)
		*out = model;
	return r;
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

char *endpoint_model_url(const char *url)
{
	static const char predict[] = "/predict";
	size_t n = strcspn(url, "?#");

	while (n > 0 && url[n - 1] == '/')
		n--;
	if (n > strlen(predict) &&
	    strncmp(url + n - strlen(predict), predict, strlen(predict)) == 0)
		n -= strlen(predict);
	while (n > 0 && url[n - 1] == '/')
		n--;
	return xasprintf("%.*s/v1/model", (int)n, url);
}

/* Where it is not found, something else is there. */
static bool is_foreign(const struct http_exchange *x, enum retry_class class)
{
	return x->result == HTTP_REPLY &&
	       ((x->status == 400 && class == RETRY_ELSEWHERE) || x->status == 404 ||
		x->status == 405 || x->status == 501);
}

int endpoint_model_read(const struct http_exchange *x, const struct remote_access *access,
			enum retry_class *class, struct endpoint_model *out, struct error *err)
{
	char reason[REMOTE_REASON_SIZE];

	*class = remote_reply_class(x, access, reason);
	if (is_foreign(x, *class)) {
		*class = RETRY_NOT_NEEDED;
		*out = (struct endpoint_model){.latentd = false};
		return 0;
	}
	if (*class != RETRY_NOT_NEEDED)
		return error_set(err, *class == RETRY_STOP ? ERR_CONFIG : ERR_TRANSIENT, "%s: %s",
				 access->shown, reason);
	*class = RETRY_STOP;
	if (endpoint_model_parse((const char *)x->reply.data, x->reply.size, out, err) < 0)
		return error_wrap(err, "%s", access->shown);
	*class = RETRY_NOT_NEEDED;
	return 0;
}

static int ask(const struct endpoint_model_ask *ask, const struct remote_access *access,
	       struct http_multi *multi, struct endpoint_model *out, struct error *err)
{
	int64_t timeout = ask->timeout_ms > 0 ? ask->timeout_ms : 30000;
	cleanup_free char *url = endpoint_model_url(access->url);
	cleanup_free char *wake =
	    ask->scale_up_ms > 0
		? xasprintf("X-Scale-Up-Timeout: %lld", (long long)ask->scale_up_ms / 1000)
		: NULL;
	const char *headers[3] = {access->bearer ? access->bearer : wake,
				  access->bearer ? wake : NULL, NULL};
	struct http_exchange x = {
	    .method = "GET",
	    .url = url,
	    .headers = headers,
	    .timeout_ms = timeout + ask->scale_up_ms,
	    .response_max = ANSWER_MAX,
	};
	enum retry_class class;
	int r;

	if (http_multi_start(multi, &x, err) < 0)
		return -1;
	while (!http_multi_finished(multi))
		http_multi_wait(multi, -1);
	r = endpoint_model_read(&x, access, &class, out, err);
	http_exchange_release(&x);
	return r;
}

int endpoint_model_ask(const struct endpoint_model_ask *question, struct endpoint_model *out,
		       struct error *err)
{
	struct http_multi_options options = {.connect_ms = question->connect_ms,
					     .ca_file = question->ca_file};
	struct remote_access access = {.url = NULL};
	struct remote_proxy proxy = {.url = NULL};
	struct http_multi *multi = NULL;
	int r;

	if (remote_access_init(&access, question->url, question->token_file, err) < 0)
		return -1;
	r = remote_proxy_init(&proxy, question->proxy, question->proxy_auth_file, err);
	options.proxy = proxy.url;
	options.proxy_user = proxy.user;
	options.proxy_password = proxy.password;
	if (r == 0)
		r = http_multi_open(&options, &multi, err);
	if (r == 0)
		r = ask(question, &access, multi, out, err);
	http_multi_close(multi);
	remote_proxy_release(&proxy);
	remote_access_release(&access);
	return r;
}
