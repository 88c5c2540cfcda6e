/*
 * Telling a daemon what to do with the datasets that the options mean.
 */
#ifndef LATENTD_DAEMON_CTL_STEER_H
#define LATENTD_DAEMON_CTL_STEER_H

#include "config/read_options.h"

#include "base/error.h"

#include <stdbool.h>

struct json_t;
struct ctl_source;

struct ctl_order {
	const char *command; /* of the API: "retry" */
	/* Its body, for each request anew; NULL: none. */
	struct json_t *(*body)(const struct read_options *options);
	const char *noun, *done; /* of the count: "image", "will be tried again" */
	bool each;		 /* the API has it only for one dataset at a time */
	const char *where;	 /* only datasets with more than none of this member; NULL: all */
};

/*
 * Gives the order: to the daemon as a whole, or, where --name or --out leave some, to each of the datasets. Prints a
 * line for each answer. *given: how many there were (may be NULL).
 */
int ctl_steer(struct ctl_source *source, const struct read_options *options,
	      const struct ctl_order *order, size_t *given, struct error *err);
/* To one encoder of the daemon. */
int ctl_steer_encoder(struct ctl_source *source, const char *encoder, const struct ctl_order *order,
		      struct error *err);

#endif
