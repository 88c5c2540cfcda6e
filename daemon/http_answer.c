#include "daemon/http_answer.h"

#include "base/checked.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

void http_answer_release(struct http_answer *answer)
{
	for (size_t i = 0; i < HTTP_ANSWER_HEADERS; i++)
		free(answer->headers[i].value);
	buffer_release(&answer->body);
	*answer = (struct http_answer)HTTP_ANSWER_INIT;
}

void http_answer_header(struct http_answer *answer, const char *name, const char *value)
{
	size_t n = 0;

	while (n < HTTP_ANSWER_HEADERS && answer->headers[n].name)
		n++;
	assert(n < HTTP_ANSWER_HEADERS);
	answer->headers[n].name = name;
	answer->headers[n].value = xstrdup(value);
}

void http_answer_json(struct http_answer *answer, unsigned status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	buffer_reset(&answer->body);
	buffer_append_string(&answer->body, text ? text : "{}");
	buffer_append_string(&answer->body, "\n");
	free(text);
	answer->type = NULL;
	answer->status = status;
}
