/*
 * The dashboard: four files that are built into the program (daemon/dashboard/).
 */
#ifndef LATENTD_DAEMON_API_WEB_H
#define LATENTD_DAEMON_API_WEB_H

#include "daemon/http_answer.h"

#include <stdbool.h>

/* Fills in the answer where @uri is one of its files. */
bool api_web_file(const char *uri, struct http_answer *answer);

#endif
