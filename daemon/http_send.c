#include "daemon/http_send.h"

#include <stdio.h>

static void add_headers(struct MHD_Response *response, const struct http_answer *answer)
{
	char seconds[16];

	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				answer->type ? answer->type : "application/json");
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
				answer->cache ? answer->cache : "no-store");
	if (answer->allow)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
	if (answer->retry_after > 0) {
		snprintf(seconds, sizeof(seconds), "%u", answer->retry_after);
		MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (answer->status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	for (size_t i = 0; i < HTTP_ANSWER_HEADERS && answer->headers[i].name; i++)
		MHD_add_response_header(response, answer->headers[i].name,
					answer->headers[i].value);
}

enum MHD_Result http_answer_send(struct MHD_Connection *connection, struct http_answer *answer)
{
	struct MHD_Response *response;
	enum MHD_Result r = MHD_NO;

	response = MHD_create_response_from_buffer(answer->body.size, answer->body.data,
						   MHD_RESPMEM_MUST_FREE);
	if (response) {
		answer->body = (struct buffer)BUFFER_INIT; /* the response's now */
		add_headers(response, answer);
		r = MHD_queue_response(connection, answer->status, response);
		MHD_destroy_response(response);
	}
	http_answer_release(answer);
	return r;
}
