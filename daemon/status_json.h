/*
 * Status as JSON: what the API answers and what `latentctl status --json` prints. docs/API.md says what each member
 * means; docs/openapi.yaml is held against it by a test.
 */
#ifndef LATENTD_DAEMON_STATUS_JSON_H
#define LATENTD_DAEMON_STATUS_JSON_H

#include "daemon/service_status.h"

struct json_t;

/* Everything. */
struct json_t *status_json(const struct service_status *s);
/* A disk, as in it. */
struct json_t *status_json_disk(const struct service_disk_view *disk);
/* One dataset. Without @live only what a database can tell: it has no state, rates, scans and so on. */
struct json_t *status_json_dataset(const struct service_dataset *d, bool live);
/*
 * Whether the daemon does what it is for. @age_ms: of the picture, -1 for none (@s may be NULL then). *healthy: as the
 * answer's status.
 */
struct json_t *status_json_health(const struct service_status *s, int64_t age_ms, bool *healthy);

#endif
