/*
 * Computing on GPUs, as settings say: from a recipe and limits to the encoder, one GPU's or that of all of them.
 */
#ifndef LATENTD_DAEMON_ENCODE_CUDA_H
#define LATENTD_DAEMON_ENCODE_CUDA_H

#include "config/cuda_options.h"
#include "daemon/encode_model.h"
#include "encoder/encoder.h"

/*
 * @decoder: it decodes too, where the model has a decoder. Precision auto becomes the model's: float16, or bfloat16 where that may overflow.
 *
 * ERR_CONFIG: no plugin, driver or such GPU (encoder_cuda.h says more), or a model that it cannot compute. Of all GPUs
 * those that cannot be opened are left out as long as there are others, and *left_out says why; else that is untouched.
 */
int encode_cuda_open(const struct recipe_options *options, const struct cuda_limits *limits,
		     bool decoder, struct encode_model *model, struct encoder **out,
		     struct error *left_out, struct error *err);

#endif
