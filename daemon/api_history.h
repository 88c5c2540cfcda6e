/*
 * What GET /api/v1/history answers: speed and what was to do, of the last hour and of the last day.
 */
#ifndef LATENTD_DAEMON_API_HISTORY_H
#define LATENTD_DAEMON_API_HISTORY_H

#include "daemon/history.h"

struct json_t;

/* @wall: now, ms. */
struct json_t *api_history_json(struct history *h, int64_t wall);

#endif
