/*
 * Several encoders of one model, as one: each has a thread that feeds it, and all take from one line. So GPUs of a
 * machine share the work, whichever of them is done first.
 *
 * A batch's `engine` becomes that of the encoder which got it. One that fails as a whole gets nothing any more: what it
 * had comes back as ERR_TRANSIENT, for the others. When the last one fails that is what collect returns, for what waits
 * too, and nothing is taken from then on: capacity is 0.
 */
#ifndef LATENTD_ENCODER_ENCODER_MANY_H
#define LATENTD_ENCODER_ENCODER_MANY_H

#include "encoder/encoder.h"

/* They are this one's, also on failure. At least one; their caps but for max_in_flight and engine are alike. */
int encoder_many_open(struct encoder *const *encoders, size_t n, struct encoder **out,
		      struct error *err);
/* How many have failed; *why: how the last one did, untouched where none has. From any thread. 0: @e is another encoder. */
size_t encoder_many_left_out(const struct encoder *e, struct error *why);
/* The first of them; NULL: @e is another encoder. */
const struct encoder *encoder_many_first(const struct encoder *e);

#endif
