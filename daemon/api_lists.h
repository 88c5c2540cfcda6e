/*
 * What the API reads from the database: pages of jobs, reasons, duplicates. Each call opens a connection of its own
 * that only reads, so that neither the loop nor the writing thread ever waits for it.
 *
 * ERR_CONFIG: a parameter is wrong (a page that begins nowhere); other errors as in queue.h.
 */
#ifndef LATENTD_DAEMON_API_LISTS_H
#define LATENTD_DAEMON_API_LISTS_H

#include "daemon/api_params.h"
#include "daemon/service_status.h"

struct json_t;
struct sources_known;

/* The dataset's folders, which are remembered beside the database. */
void api_lists_sources(const struct service_dataset *dataset, struct sources_known *out);

/* Each gives *out, the answer's body. */
typedef int (*api_list_fn)(const struct service_dataset *dataset, const struct api_params *params,
			   struct json_t **out, struct error *err);

int api_list_jobs(const struct service_dataset *dataset, const struct api_params *params,
		  struct json_t **out, struct error *err);
int api_list_failures(const struct service_dataset *dataset, const struct api_params *params,
		      struct json_t **out, struct error *err);
int api_list_dupes(const struct service_dataset *dataset, const struct api_params *params,
		   struct json_t **out, struct error *err);

#endif
