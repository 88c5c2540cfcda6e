/*
 * Why the whole is as fast as it is, and no faster: in one line, from what each stage does.
 */
#ifndef LATENTD_DAEMON_BOTTLENECK_H
#define LATENTD_DAEMON_BOTTLENECK_H

#include "daemon/stage_meter.h"

#include <stdbool.h>

struct stage_view {
	double images_per_second; /* over the last minute; -1: not known yet */
	double busy;		  /* workers, on average over the last seconds; -1: not known yet */
	size_t workers;
	size_t queue; /* images that wait for it or are in it */
};

struct bottleneck_encoder {
	const char *name;
	double busy;  /* share of the last seconds, 0 to 1; -1: not known yet */
	bool usable;  /* it has a model, something to compute with, and work */
	bool loading; /* it will be */
};

struct bottleneck_input {
	struct stage_view stages[STAGES];
	const struct bottleneck_encoder *encoders;
	size_t n_encoders;
	bool work;		 /* there is something to do, and nobody has paused it */
	bool scanning;		 /* more of it is being looked for */
	size_t behind;		 /* datasets whose writing is as far behind as it may be */
	size_t waits_for_memory; /* images */
	int64_t longest_ms;	 /* that a decode worker has been at one step of an image */
	uint64_t memory_used, memory_limit;
};

struct bottleneck {
	enum work_stage stage; /* STAGE_NONE: none of them */
	char *text;	       /* to be freed; NULL: nothing to say */
};

void bottleneck_find(const struct bottleneck_input *in, struct bottleneck *out);

#endif
