/* An answer on its way through libmicrohttpd. */
#ifndef LATENTD_DAEMON_HTTP_SEND_H
#define LATENTD_DAEMON_HTTP_SEND_H

#include "daemon/http_answer.h"

#include <microhttpd.h>

/* Releases @answer, whatever comes of it. */
enum MHD_Result http_answer_send(struct MHD_Connection *connection, struct http_answer *answer);

#endif
