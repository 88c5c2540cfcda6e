/*
 * The newest of what a dataset has: its shards, and samples in them. For api_routes.c, as api_lists.h.
 */
#ifndef LATENTD_DAEMON_API_SHARDS_H
#define LATENTD_DAEMON_API_SHARDS_H

#include "daemon/api_lists.h"

/* Newest first. */
int api_list_shards(const struct service_dataset *dataset, const struct api_params *params,
		    struct json_t **out, struct error *err);
/* Live ones of the newest shards, in the order of their places; those of one image once. */
int api_list_samples(const struct service_dataset *dataset, const struct api_params *params,
		     struct json_t **out, struct error *err);

#endif
