/*
 * One question to a service that gives keys out, waited for: three times at most where it does not answer.
 *
 *	const struct s3_question question = {.method = "GET", .url = url};
 *	s3_ask(&question, &status, &answer, err)
 */
#ifndef LATENTD_NET_S3_ASK_H
#define LATENTD_NET_S3_ASK_H

#include "base/buffer.h"

#include <stdbool.h>

struct s3_question {
	const char *method, *url;
	const char *const *headers; /* as of http_exchange; NULL: none */
	const void *body;
	size_t body_size;
	bool
	    far; /* not on this machine: through the proxy of the environment, and with more patience than two seconds */
	bool once; /* most machines have none: nobody waits for it thrice */
};

/* 0: an answer, whatever its status, but for those that pass. ERR_TRANSIENT. *out is appended to; to be wiped. */
int s3_ask(const struct s3_question *question, long *status, struct buffer *out, struct error *err);
/* The keys travel there in the clear, so without TLS only to where nobody listens. */
bool s3_ask_is_safe(const char *url);

void s3_answer_wipe(struct buffer *answer);
#define cleanup_s3_answer cleanup_with(s3_answer_wipe)

#endif
