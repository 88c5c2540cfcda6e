/*
 * The names that a VAE's tensors have in files. The canonical ones are those that diffusers writes today
 * ("encoder.down_blocks.0.resnets.1.conv1.weight"); the others are tables of what stands in their place.
 */
#ifndef LATENTD_VAE_VAE_NAMES_H
#define LATENTD_VAE_VAE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define VAE_NAME_SIZE 160

enum vae_naming {
	VAE_NAMING_DIFFUSERS,
	VAE_NAMING_OLD_ATTENTION, /* diffusers before 0.17: query, key, value, proj_attn */
	VAE_NAMING_LDM, /* CompVis/LDM: down.0.block.1, mid.attn_1, nin_shortcut; FLUX.1, SD3 */
	VAE_NAMING_LDM_FLUX2, /* the same, with encoder.quant_conv and decoder.post_quant_conv */
	VAE_NAMINGS
};

/* For people: "CompVis/LDM". */
const char *vae_naming_title(enum vae_naming naming);

/*
 * @canonical as @naming has it. @blocks: of the decoder, for its blocks are numbered from the other end in LDM; 0: they
 * are not known. False where nothing of it is different there, or where it does not fit into @out.
 */
bool vae_name_in(enum vae_naming naming, const char *canonical, size_t blocks,
		 char out[VAE_NAME_SIZE]);

#endif
