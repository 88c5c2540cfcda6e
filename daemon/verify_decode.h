/*
 * Some latents of each dataset, chosen at random, decoded and held against the pixels of their sources. A picture that is
 * much too bright may still have a fair PSNR, so each latent is also held against what the model's own encoder makes of
 * these pixels: a wrong scale or shift, another model, channels in another order or an engine that computes nonsense are
 * all seen there. What records say of the model's factors is compared as well.
 */
#ifndef LATENTD_DAEMON_VERIFY_DECODE_H
#define LATENTD_DAEMON_VERIFY_DECODE_H

#include "daemon/commands.h"

/*
 * Decodes options->decode latents of each dataset that options->name leaves, prints what is wrong and how good they are.
 * *bad: latents below the least PSNR or far from the encoder's own, and datasets whose records are of other factors than the model. ERR_CONFIG: they are
 * of another model, or of none of them the source is there.
 */
int verify_decode(const struct opened_output *opened, const struct read_options *options,
		  size_t *bad, struct error *err);

#endif
