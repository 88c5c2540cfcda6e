#include "daemon/encode_model.h"

#include "daemon/vae_choice.h"

#include "base/checked.h"
#include "encoder/endpoint_model.h"
#include "vae/vae_encoder.h"

#include <stdio.h>
#include <string.h>

enum { DECLARED_MULTIPLE = 8, FAKE_RESOLUTION = 512 };

/* Less than anybody waits for a daemon to stop. */
enum { ASK_MS = 10000 };

int encode_model_of_files(const struct recipe_options *o, struct encode_model *out,
			  struct error *err)
{
	struct encode_model model = {.fake = false};
	struct vae_choice choice = VAE_CHOICE_INIT;
	struct vae_encoder *vae;

	if (vae_choice_open(o->vae, &o->vae_options, &choice, err) < 0)
		return -1;
	snprintf(model.name, sizeof(model.name), "%s", choice.name);
	model.multiple = vae_choice_multiple(&choice);
	model.resolution = choice.preset ? choice.preset->resolution : 0;
	vae = vae_encoder_load(choice.model, &vae_engine_naive, 1, err);
	vae_choice_close(&choice);
	if (!vae)
		return -1;
	model.vae = *vae_encoder_config(vae);
	model.weights = *vae_encoder_weights_hash(vae);
	vae_encoder_free(vae);
	*out = model;
	return 0;
}

/* A network of the usual form: of it only the size of a latent counts. */
static void set_declared(struct encode_model *model, size_t channels, double scaling, double shift,
			 bool has_shift)
{
	vae_config_defaults(VAE_CLASS_KL, &model->vae);
	model->vae.blocks = 4;
	model->vae.latent_channels = channels;
	model->vae.scaling_factor = scaling;
	model->vae.shift_factor = shift;
	model->vae.has_shift_factor = has_shift;
}

static int of_preset(const struct vae_preset *p, struct encode_model *model, struct error *err)
{
	if (p->batch_norm)
		return error_set(
		    err, ERR_CONFIG,
		    "declared %s: its statistics are in its weights, which an endpoint "
		    "that does not tell them cannot give",
		    p->name);
	if (p->network >= VAE_NETWORK_TINY)
		return error_set(err, ERR_CONFIG,
				 "declared %s: an endpoint that does not tell its weights gives "
				 "draws, and an AutoencoderTiny has none",
				 p->name);
	set_declared(model, p->latent_channels, p->scaling_factor, p->shift_factor,
		     p->has_shift_factor);
	if (p->mean) {
		model->vae.n_statistics = p->latent_channels;
		memcpy(model->vae.latents_mean, p->mean, p->latent_channels * sizeof(*p->mean));
		memcpy(model->vae.latents_std, p->std, p->latent_channels * sizeof(*p->std));
	}
	model->multiple = p->multiple > DECLARED_MULTIPLE ? p->multiple : DECLARED_MULTIPLE;
	model->resolution = p->resolution;
	return 0;
}

int encode_model_declared(const char *name, const struct remote_model *said,
			  struct encode_model *out, struct error *err)
{
	const struct vae_preset *preset = vae_preset_find(name);
	struct encode_model model = {.fake = false};

	if (preset) /* in one spelling, whichever was used */
		name = preset->name;
	snprintf(model.name, sizeof(model.name), "%s", name);
	if (strlen(name) >= sizeof(model.declared))
		return error_set(err, ERR_CONFIG, "declared: a name of %zu bytes: expected %zu",
				 strlen(name), sizeof(model.declared) - 1);
	snprintf(model.declared, sizeof(model.declared), "%s", name);
	if (preset && of_preset(preset, &model, err) < 0)
		return -1;
	if (!preset && (!said->name || !vae_name_same(said->name, name)))
		return error_set(err, ERR_CONFIG,
				 "declared %s: expected a name of `latentctl model list`", name);
	if (!preset) {
		set_declared(&model, said->latent_channels, said->scaling_factor,
			     said->shift_factor, said->shift_factor != 0);
		model.multiple = said->size_multiple ? said->size_multiple : DECLARED_MULTIPLE;
	}
	*out = model;
	return 0;
}

/* The token that is configured for @url. */
static const char *token_of(const char *url, const struct remote_config *remote)
{
	for (size_t i = 0; i < remote->n_endpoints; i++) {
		if (remote_url_same(remote->endpoints[i].url, url))
			return remote->endpoints[i].token_file;
	}
	return NULL;
}

int encode_model_ask(const char *url, const struct remote_config *remote, struct encode_model *out,
		     struct error *err)
{
	const struct endpoint_model_ask ask = {
	    .url = url,
	    .token_file = token_of(url, remote),
	    .ca_file = remote->options.ca_file,
	    .proxy = remote_proxy_of(&remote->options),
	    .proxy_auth_file = remote->options.proxy_auth_file,
	    .connect_ms = (int64_t)remote->options.connect_timeout,
	    .timeout_ms = ASK_MS,
	};
	struct encode_model model = {.fake = false};
	const struct vae_preset *preset;
	struct endpoint_model told;

	if (endpoint_model_ask(&ask, &told, err) < 0)
		return -1;
	if (!told.latentd)
		return error_set(
		    err, ERR_CONFIG,
		    "%s does not tell which model it has: only `latentd serve` does. Say what it "
		    "computes: vae declared:NAME (as declared:sdxl), and posterior draw, which is "
		    "all that such an endpoint gives",
		    url);
	model.fake = told.fake;
	snprintf(model.name, sizeof(model.name), "%.63s", told.name);
	model.vae = told.vae;
	model.weights = told.weights;
	model.multiple = told.size_multiple;
	preset = told.fake ? NULL : vae_choice_preset_of(&told.vae);
	model.resolution = told.fake ? FAKE_RESOLUTION : preset ? preset->resolution : 0;
	*out = model;
	return 0;
}

void encode_model_add(struct encode_model *all, const struct encode_model *model, bool first)
{
	size_t batch = first ? model->best_batch : all->best_batch;
	bool tiles = model->tiles || (!first && all->tiles);

	if (first)
		*all = *model;
	all->best_batch = model->best_batch < batch ? model->best_batch : batch;
	all->tiles = tiles;
}

bool encode_model_same(const struct encode_model *a, const struct encode_model *b)
{
	return a->fake == b->fake && strcmp(a->declared, b->declared) == 0 &&
	       memcmp(&a->weights, &b->weights, sizeof(a->weights)) == 0 &&
	       a->vae.scaling_factor == b->vae.scaling_factor &&
	       a->vae.shift_factor == b->vae.shift_factor &&
	       a->vae.n_statistics == b->vae.n_statistics &&
	       memcmp(a->vae.latents_mean, b->vae.latents_mean, sizeof(a->vae.latents_mean)) == 0 &&
	       memcmp(a->vae.latents_std, b->vae.latents_std, sizeof(a->vae.latents_std)) == 0;
}
