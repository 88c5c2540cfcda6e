#include "daemon/vae_choice.h"

#include "daemon/pixel_setup.h"
#include "daemon/vae_locate.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

/* -- presets against configs --------------------------------------------------------------------- */

/* Numbers of which one was written by a person and one may have gone through float32. */
static bool same_number(double a, double b)
{
	return fabs(a - b) <= 1e-5 * fmax(1, fabs(a));
}

static bool same_network(const struct vae_preset *p, const struct vae_config *c)
{
	static const struct {
		size_t channels[4], layers;
		bool attention;
	} networks[] = {
	    [VAE_NETWORK_STANDARD] = {{128, 256, 512, 512}, 2, true},
	    [VAE_NETWORK_COGVIEW4] = {{128, 512, 1024, 1024}, 3, false},
	};

	if (p->network >= VAE_NETWORK_TINY || c->class == VAE_CLASS_TINY)
		return p->network >= VAE_NETWORK_TINY && c->class == VAE_CLASS_TINY &&
		       c->latent_channels == p->latent_channels &&
		       vae_config_downscale(c) == (p->network == VAE_NETWORK_TINY ? 8 : 32);
	return c->blocks == ARRAY_SIZE(networks[0].channels) &&
	       memcmp(c->block_out_channels, networks[p->network].channels,
		      sizeof(networks[0].channels)) == 0 &&
	       c->layers_per_block == networks[p->network].layers && c->norm_num_groups == 32 &&
	       c->mid_block_add_attention == networks[p->network].attention &&
	       c->latent_channels == p->latent_channels && c->use_quant_conv == p->quant_conv &&
	       (c->class == VAE_CLASS_FLUX2) == p->batch_norm;
}

/* Statistics may be the preset's, or nobody's; those of FLUX.2 are each file's own. */
static bool may_have_statistics(const struct vae_preset *p, const struct vae_config *c)
{
	return c->class == VAE_CLASS_FLUX2 || c->n_statistics == 0 || p->mean;
}

static bool same_factors(const struct vae_preset *p, const struct vae_config *c)
{
	double shift = c->has_shift_factor ? c->shift_factor : 0;
	bool has_statistics = c->class != VAE_CLASS_FLUX2 && c->n_statistics > 0;

	if (!same_number(c->scaling_factor, p->scaling_factor) ||
	    !same_number(shift, p->shift_factor) || has_statistics != (p->mean != NULL))
		return false;
	for (size_t i = 0; has_statistics && i < c->n_statistics; i++) {
		if (!same_number(c->latents_mean[i], p->mean[i]) ||
		    !same_number(c->latents_std[i], p->std[i]))
			return false;
	}
	return true;
}

static bool same_numbers(const struct vae_preset *a, const struct vae_preset *b)
{
	return a->scaling_factor == b->scaling_factor && a->shift_factor == b->shift_factor &&
	       a->mean == b->mean;
}

bool vae_choice_may_be(const struct vae_choice *choice, const struct vae_preset *preset)
{
	const struct vae_config *c = &choice->model->config;

	return same_network(preset, c) && may_have_statistics(preset, c) &&
	       (!choice->model->factors_told || same_factors(preset, c));
}

const struct vae_preset *vae_choice_preset_of(const struct vae_config *config)
{
	for (size_t i = 0; i < n_vae_presets; i++) {
		if (same_network(&vae_presets[i], config) &&
		    may_have_statistics(&vae_presets[i], config) &&
		    same_factors(&vae_presets[i], config))
			return &vae_presets[i];
	}
	return NULL;
}

/* -- what the files do not tell ------------------------------------------------------------------ */

/* Statistics that stand in the file (Playground's) are its own, and stay. */
static void take_factors(struct vae_model *model, const struct vae_preset *p)
{
	struct vae_config *c = &model->config;

	c->scaling_factor = p->scaling_factor;
	c->has_shift_factor = p->has_shift_factor;
	c->shift_factor = p->shift_factor;
	if (p->mean && c->n_statistics == 0) {
		c->n_statistics = p->latent_channels;
		memcpy(c->latents_mean, p->mean, c->n_statistics * sizeof(*p->mean));
		memcpy(c->latents_std, p->std, c->n_statistics * sizeof(*p->std));
	}
	model->factors_told = true;
}

/* The family of the checkpoint that the VAE is in, by a tensor that only it has. */
static const struct vae_preset *find_probe(const struct vae_choice *choice)
{
	for (size_t i = 0; i < n_vae_presets; i++) {
		if (vae_presets[i].probe && vae_choice_may_be(choice, &vae_presets[i]) &&
		    kl_weights_has(choice->model->weights, vae_presets[i].probe))
			return &vae_presets[i];
	}
	return NULL;
}

/* The first that it may be; *agree: all others have the same numbers. */
static const struct vae_preset *find_fitting(const struct vae_choice *choice, bool *agree)
{
	const struct vae_preset *first = NULL;

	*agree = true;
	for (size_t i = 0; i < n_vae_presets; i++) {
		if (!vae_choice_may_be(choice, &vae_presets[i]))
			continue;
		if (!first)
			first = &vae_presets[i];
		*agree = *agree && same_numbers(first, &vae_presets[i]);
	}
	return first;
}

/* Refuses a file that nothing is known of, with what would help. */
static int not_told(const struct vae_choice *choice, struct error *err)
{
	cleanup_buffer struct buffer names = BUFFER_INIT;
	const char *file = vae_model_name(choice->model);

	for (size_t i = 0; i < n_vae_presets; i++) {
		if (vae_choice_may_be(choice, &vae_presets[i]))
			buffer_appendf(&names, "%s%s", names.size ? ", " : "", vae_presets[i].name);
	}
	if (names.size == 0)
		return error_set(err, ERR_CONFIG,
				 "%s has no config, and the shape of no known model: give its "
				 "config.json with --vae-config FILE",
				 file);
	return error_set(
	    err, ERR_CONFIG,
	    "%s has no config, and its shape does not tell the scaling factor: say with "
	    "--model which it is: %s",
	    file, (const char *)names.data);
}

static int does_not_fit(const struct vae_choice *choice, const struct vae_preset *p,
			struct error *err)
{
	const struct vae_config *c = &choice->model->config;

	if (!same_network(p, c) || !may_have_statistics(p, c))
		return error_set(err, ERR_CONFIG,
				 "model %s: %s is another network: it has %zu latent channels, %s "
				 "%zu; `latentctl model info` says more",
				 p->name, vae_model_name(choice->model), c->latent_channels,
				 p->name, p->latent_channels);
	return error_set(err, ERR_CONFIG,
			 "model %s: the config of %s has scaling factor %g and shift %g, %s has "
			 "%g and %g",
			 p->name, vae_model_name(choice->model), c->scaling_factor,
			 c->has_shift_factor ? c->shift_factor : 0, p->name, p->scaling_factor,
			 p->shift_factor);
}

/*
 * @said: by --model, which must fit. Else the preset that the repository's name stands for, where it fits: its files
 * count for more than what is known of the name.
 */
static int complete(struct vae_choice *choice, const struct vae_preset *said,
		    const struct vae_preset *of_name, struct error *err)
{
	bool agree = true;

	if (said && !vae_choice_may_be(choice, said))
		return does_not_fit(choice, said, err);
	if (!said && of_name && vae_choice_may_be(choice, of_name))
		said = of_name;
	if (!said && !choice->model->factors_told)
		said = find_probe(choice);
	if (!said)
		said = find_fitting(choice, &agree);
	if (!choice->model->factors_told && said && agree)
		take_factors(choice->model, said);
	choice->preset = choice->model->factors_told ? said : NULL;
	if (choice->preset && !choice->model->config_path)
		choice->model->config.sample_size = said->tile > 0 ? said->tile : said->resolution;
	return 0;
}

/* -- interface ----------------------------------------------------------------------------------- */

int vae_choice_look(const char *vae, const struct vae_options *options, struct vae_choice *out,
		    struct error *err)
{
	const struct vae_preset *said = options->model ? vae_preset_find(options->model) : NULL;
	struct vae_choice choice = VAE_CHOICE_INIT;
	struct vae_place place;
	int r = -1;

	if (vae_locate(vae, &place, err) < 0)
		return -1;
	choice.name = xstrdup(place.name);
	choice.model = vae_model_open(place.path, options->config, err);
	if (choice.model)
		r = complete(&choice, said, place.preset, err);
	vae_place_release(&place);
	if (r < 0)
		vae_choice_close(&choice);
	else
		*out = choice;
	return r;
}

int vae_choice_open(const char *vae, const struct vae_options *options, struct vae_choice *out,
		    struct error *err)
{
	struct vae_choice choice = VAE_CHOICE_INIT;

	if (vae_choice_look(vae, options, &choice, err) < 0)
		return -1;
	if (!choice.model->factors_told) {
		not_told(&choice, err);
		vae_choice_close(&choice);
		return -1;
	}
	*out = choice;
	return 0;
}

void vae_choice_close(struct vae_choice *choice)
{
	vae_model_close(choice->model);
	free(choice->name);
	*choice = (struct vae_choice)VAE_CHOICE_INIT;
}

bool vae_choice_fits_float16(const struct vae_choice *choice)
{
	return !choice->model->config.force_upcast ||
	       (choice->preset && choice->preset->fits_float16);
}

size_t vae_choice_multiple(const struct vae_choice *choice)
{
	size_t multiple = vae_config_downscale(&choice->model->config);

	if (choice->preset && choice->preset->multiple > multiple)
		return choice->preset->multiple;
	return multiple * choice->model->config.patch_size;
}

int vae_choice_resolution(const struct vae_choice *choice, struct pixel_options *pixels,
			  struct error *err)
{
	return pixel_setup_resolution(pixels, choice->name,
				      choice->preset ? choice->preset->resolution : 0, err);
}
