/* What an encoder on this machine may use. */
#ifndef LATENTD_CONFIG_ENCODER_LIMITS_H
#define LATENTD_CONFIG_ENCODER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

/* On its processor. */
struct encoder_limits {
	size_t threads; /* 0: all cores */
	size_t
	    memory; /* bytes for the model and its maps; 0: half of what there is beside pixels in flight */
	/* No settings of their own, set by whoever knows: */
	size_t beside; /* bytes in flight */
	bool decoder;  /* it is to decode too */
};

#endif
