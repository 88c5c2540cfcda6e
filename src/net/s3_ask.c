#include "net/s3_ask.h"

#include "base/checked.h"
#include "net/http_multi.h"

#include <string.h>
#include <strings.h>

enum { NEAR_MS = 2000, FAR_MS = 15000, TRIES = 3, ANSWER_MAX = 64 << 10 };

void s3_answer_wipe(struct buffer *answer)
{
	if (answer->data)
		explicit_bzero(answer->data, answer->size);
	buffer_release(answer);
}

bool s3_ask_is_safe(const char *url)
{
	static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
					    "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
	const char *host = url + 7;
	size_t length;

	if (strncasecmp(url, "https://", 8) == 0)
		return true;
	if (strncasecmp(url, "http://", 7) != 0)
		return false;
	length = host[0] == '[' ? strcspn(host, "]/") + 1 : strcspn(host, ":/");
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		if (strlen(hosts[i]) == length && strncasecmp(hosts[i], host, length) == 0)
			return true;
	}
	return false;
}

static int ask_once(const struct s3_question *q, long *status, struct buffer *out,
		    struct error *err)
{
	int64_t patience = q->far ? FAR_MS : NEAR_MS;
	const struct http_multi_options options = {.connect_ms = patience,
						   .proxy = q->far ? NULL : ""};
	struct http_exchange x = {.method = q->method,
				  .url = q->url,
				  .headers = q->headers,
				  .body = q->body,
				  .body_size = q->body_size,
				  .timeout_ms = patience,
				  .response_max = ANSWER_MAX};
	struct http_multi *multi = NULL;
	int r = http_multi_open(&options, &multi, err);

	if (r == 0)
		r = http_multi_start(multi, &x, err);
	while (r == 0 && !http_multi_finished(multi))
		http_multi_wait(multi, -1);
	if (r == 0 && x.result != HTTP_REPLY)
		r = error_set(err, ERR_TRANSIENT, "%s: %s", q->url, x.why);
	else if (r == 0 && (x.status >= 500 || x.status == 429))
		r = error_set(err, ERR_TRANSIENT, "%s: status %ld", q->url, x.status);
	http_multi_close(multi);
	if (r == 0) {
		*status = x.status;
		buffer_append(out, x.reply.data, x.reply.size);
	}
	s3_answer_wipe(&x.reply);
	http_exchange_release(&x);
	return r;
}

int s3_ask(const struct s3_question *q, long *status, struct buffer *out, struct error *err)
{
	for (int i = 1;; i++) {
		struct error why = ERROR_INIT;

		if (ask_once(q, status, out, &why) == 0)
			return 0;
		if (q->once || i == TRIES || why.code != ERR_TRANSIENT) {
			*err = why;
			return -1;
		}
	}
}
