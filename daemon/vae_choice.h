/*
 * The VAE that was asked for: its files, open, with everything known that they do not say themselves. Scaling and shift
 * of a file without config come from --model, from the rest of the checkpoint that it stands in, or from its shape,
 * where all families of that shape agree; where nothing tells them it is refused.
 *
 *	struct vae_choice vae = VAE_CHOICE_INIT;
 *	vae_choice_open("sdxl", &options, &vae, err)
 *	... vae_encoder_load(vae.model, ...) ...
 *	vae_choice_close(&vae);
 */
#ifndef LATENTD_DAEMON_VAE_CHOICE_H
#define LATENTD_DAEMON_VAE_CHOICE_H

#include "config/pixel_options.h"
#include "config/vae_options.h"
#include "config/vae_presets.h"
#include "vae/vae_model.h"

struct vae_choice {
	char *name;		 /* short: "sdxl", "sd-vae-ft-mse", "ae" */
	struct vae_model *model; /* its config complete */
	const struct vae_preset
	    *preset; /* whose numbers it has, the first of several; NULL: of none */
};

#define VAE_CHOICE_INIT                                                                            \
	{                                                                                          \
		NULL, NULL, NULL                                                                   \
	}

/* @vae: as vae_locate.h says. ERR_CONFIG. */
int vae_choice_open(const char *vae, const struct vae_options *options, struct vae_choice *out,
		    struct error *err);
/*
 * The same without refusing: where nothing tells scaling and shift, model->factors_told stays false and
 * vae_choice_may_be() says what it may be.
 */
int vae_choice_look(const char *vae, const struct vae_options *options, struct vae_choice *out,
		    struct error *err);
void vae_choice_close(struct vae_choice *choice);

/* Whether @preset has the network, and where they are known the numbers, of @choice. */
bool vae_choice_may_be(const struct vae_choice *choice, const struct vae_preset *preset);

/* The first preset with this network and these numbers; NULL: none has them. */
const struct vae_preset *vae_choice_preset_of(const struct vae_config *config);

/* Whether its activations are known to fit into float16: its config says that it needs no upcast, or its family. */
bool vae_choice_fits_float16(const struct vae_choice *choice);

/* Image sides must be multiples of it. */
size_t vae_choice_multiple(const struct vae_choice *choice);
/* The resolution that @pixels leave open becomes the preset's. ERR_CONFIG where there is none. */
int vae_choice_resolution(const struct vae_choice *choice, struct pixel_options *pixels,
			  struct error *err);

#endif
