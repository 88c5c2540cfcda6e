/*
 * Private to the files ctl_source*.c.
 */
#ifndef LATENTD_DAEMON_CTL_SOURCE_PARTS_H
#define LATENTD_DAEMON_CTL_SOURCE_PARTS_H

#include "daemon/ctl_source.h"

struct ctl_source {
	const struct read_options *options;
	/* Where to look, as far as the options say. */
	char *socket; /* NULL: at no daemon's */
	char *root;   /* of --out, absolute */
	char *state;  /* folder; NULL: not known */
	char *owner;  /* who works on --out */
	char *reach;  /* ctl_source_reach() */
	bool busy;
	struct ctl_api *api; /* NULL: the database is read */
};

/* -- ctl_source_stored.c -------------------------------------------------------------------------- */

/* As ctl_source_status(), of all datasets. */
int ctl_source_stored_status(const struct ctl_source *s, struct json_t **out, struct error *err);
/* As ctl_source_page(). */
int ctl_source_stored_list(const struct ctl_source *s, const char *dataset, const char *what,
			   struct json_t **out, struct error *err);

#endif
