/*
 * What an endpoint's reply means: for the machine a class, for people a sentence that says what to do.
 */
#ifndef LATENTD_ENCODER_REMOTE_REPLY_H
#define LATENTD_ENCODER_REMOTE_REPLY_H

#include "base/ndarray.h"
#include "encoder/remote_access.h"
#include "net/http_multi.h"
#include "net/retry.h"

enum { REMOTE_REASON_SIZE = 512 };

/* Of a finished exchange. @reason: empty where the class is RETRY_NOT_NEEDED. No secrets in it, and no line breaks. */
enum retry_class remote_reply_class(const struct http_exchange *x, const struct remote_access *a,
				    char reason[REMOTE_REASON_SIZE]);

/* The latent that is expected: [1, channels, height, width]. */
struct remote_latent {
	size_t channels, height, width;
};

/* What a reply of status 2xx turned out to be. */
enum remote_answer {
	REMOTE_ANSWER_GOOD,
	REMOTE_ANSWER_WRONG, /* no latent, or a broken one */
	REMOTE_ANSWER_OTHER_MODEL, /* a whole latent with another number of channels: it is another model */
	REMOTE_ANSWER_NOT_FINITE,
};

/*
 * Reads it into @out as float32 [channels][height][width], which is allocated here. @reason says what is wrong. ERR_NOMEM is
 * REMOTE_ANSWER_WRONG too.
 */
enum remote_answer remote_reply_latent(const struct http_exchange *x,
				       const struct remote_latent *want, struct ndarray *out,
				       char reason[REMOTE_REASON_SIZE]);

/* Bytes of the largest reply that can be right. */
size_t remote_reply_max(const struct remote_latent *want);

#endif
