/*
 * The last minute of every stage and encoder of a daemon, and what follows from it.
 */
#ifndef LATENTD_DAEMON_SERVICE_STAGES_H
#define LATENTD_DAEMON_SERVICE_STAGES_H

#include "daemon/service_status.h"

struct service;
struct service_stages;

/* Of @s, whose encoders are there. */
struct service_stages *service_stages_new(struct service *s);
/* NULL is fine. */
void service_stages_free(struct service_stages *stages);
/* Once a second. */
void service_stages_tick(struct service_stages *stages);
/* After encoders and datasets: fills in the stages, the encoders' busy shares, and the limit. */
void service_stages_picture(struct service_stages *stages, struct service_status *out);

#endif
