/*
 * The daemon's last lines as a page of the API.
 */
#ifndef LATENTD_DAEMON_API_LOG_H
#define LATENTD_DAEMON_API_LOG_H

#include "daemon/api_params.h"
#include "daemon/event_log.h"

struct json_t;

struct json_t *api_log_line(const struct event_line *line);
/* The lines that are meant, as JSON; *next: as of event_log_read(). */
struct json_t *api_log_lines(struct event_log *log, const struct event_filter *filter,
			     int64_t *next);
/* The answer's body in *out. ERR_CONFIG: `after` is no number. */
int api_log_page(struct event_log *log, const struct api_params *params, struct json_t **out,
		 struct error *err);

#endif
