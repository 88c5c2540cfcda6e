/*
 * Several encoders of one model, as one: each has a thread that feeds it, and all take from one line. So GPUs of a
 * machine share the work, whichever of them is done first.
 *
 * A batch's `engine` becomes that of the encoder which got it. What fails as a whole in one of them is what collect
 * returns; the others go on.
 */
#ifndef LATENTD_ENCODER_ENCODER_MANY_H
#define LATENTD_ENCODER_ENCODER_MANY_H

#include "encoder/encoder.h"

/* They are this one's, also on failure. At least one; their caps but for max_in_flight and engine are alike. */
int encoder_many_open(struct encoder *const *encoders, size_t n, struct encoder **out,
		      struct error *err);
/* The first of them; NULL: @e is another encoder. */
const struct encoder *encoder_many_first(const struct encoder *e);

#endif
