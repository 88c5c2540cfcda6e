/*
 * The status as numbers for Prometheus; docs/monitoring/ has what makes pictures and alerts of them. Labels are names of
 * the configuration and words of this program, so there are no more series than datasets, encoders and endpoints.
 */
#ifndef LATENTD_DAEMON_METRICS_H
#define LATENTD_DAEMON_METRICS_H

#include "base/buffer.h"

#include "daemon/service_status.h"

#define METRICS_TYPE	  "text/plain; version=0.0.4; charset=utf-8"
#define METRICS_TYPE_OPEN "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Appends all of them; @open: as OpenMetrics, else in the older format that every reader knows. */
void metrics_text(const struct service_status *s, bool healthy, bool open, struct buffer *out);

#endif
