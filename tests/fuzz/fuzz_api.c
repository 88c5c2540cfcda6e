/*
 * Any request: a line "METHOD URI", then the body. It gets an answer that is one JSON value, with a status that the
 * API documents; and what reaches the service is a command with parameters in range.
 */
#include "daemon/api_params.h"
#include "daemon/api_pictures.h"
#include "daemon/api_routes.h"
#include "daemon/event_log.h"
#include "daemon/history.h"

#include "base/checked.h"
#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int on_request(void *arg, const struct service_request *request, struct service_reply *reply,
		      struct error *err)
{
	(void)arg;
	(void)err;
	check((unsigned)request->command < SERVICE_COMMANDS);
	check(request->state >= -1 && request->state < JOB_STATES);
	check(request->priority >= -1000 && request->priority <= 1000);
	check(!request->dataset || strcmp(request->dataset, "a b") == 0);
	reply->count = 1;
	return 0;
}

/* Of a service with one dataset, which is only being opened. */
static const struct api_context *service(void)
{
	static struct api_context made = {.request = on_request};
	struct service_status *s;

	if (made.board)
		return &made;
	made.board = status_board_new();
	made.history = history_new();
	made.log = event_log_new(3);
	made.pictures = api_pictures_new();
	s = service_status_new(1, 0);
	s->datasets[0].name = xstrdup("a b");
	status_board_publish(made.board, s);
	return &made;
}

static void check_answer(const struct http_answer *answer)
{
	static const unsigned known[] = {200, 400, 404, 405, 503};
	bool found = false;
	json_t *root;

	if (answer->type) { /* the metrics, which are made of nothing that was asked */
		check(answer->status == 200);
		return;
	}
	root =
	    json_loadb((const char *)answer->body.data, answer->body.size, JSON_DECODE_ANY, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		found = found || known[i] == answer->status;
	check(found && json_is_object(root));
	check((answer->status == 405) == (answer->allow != NULL));
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
	size_t head = line ? (size_t)(line - data) : size;
	cleanup_free char *method = xmalloc(head + 1);
	struct http_answer answer = HTTP_ANSWER_INIT;
	struct api_call call;
	char *space;

	if (head > 0)
		memcpy(method, data, head);
	method[head] = '\0';
	space = strchr(method, ' ');
	if (!space)
		return 0;
	*space = '\0';
	call = (struct api_call){.method = method,
				 .uri = space + 1,
				 .body = line ? line + 1 : NULL,
				 .body_size = line ? size - head - 1 : 0};
	api_handle(service(), &call, &answer);
	check_answer(&answer);
	buffer_release(&answer.body);
	return 0;
}
