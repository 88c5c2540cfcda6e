/*
 * What a route asks of the service: a request made of its parameters, and the service's reply as JSON.
 */
#ifndef LATENTD_DAEMON_API_COMMANDS_H
#define LATENTD_DAEMON_API_COMMANDS_H

#include "daemon/api_params.h"
#include "daemon/api_routes.h"

struct api_command {
	enum service_command command;
	const char *dataset, *encoder; /* that the path names; NULL: none */
	const struct api_params *params;
};

/* The HTTP status: 200 with *body, which is the caller's, else *err has the message for people. */
unsigned api_command(const struct api_context *context, const struct api_command *command,
		     struct json_t **body, struct error *err);

#endif
