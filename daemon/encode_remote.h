/*
 * The remote encoder as a configuration asks for it, and what people are told of it.
 */
#ifndef LATENTD_DAEMON_ENCODE_REMOTE_H
#define LATENTD_DAEMON_ENCODE_REMOTE_H

#include "base/buffer.h"
#include "daemon/encode_model.h"
#include "encoder/encoder.h"
#include "net/cost_guard.h"

/* @memory: bytes of requests and replies in flight; @guard: see encoder_remote.h. ERR_CONFIG. */
int encode_remote_open(const struct remote_config *config, const struct encode_model *model,
		       size_t memory, struct cost_guard *guard, struct encoder **out,
		       struct error *err);

/* The endpoints are those of @config from now on; see encoder_remote_change(). ERR_CONFIG. */
int encode_remote_change(struct encoder *encoder, const struct remote_config *config,
			 struct error *err);

enum encode_remote_health {
	ENCODE_REMOTE_FINE,    /* some endpoint encodes, or was not tried yet */
	ENCODE_REMOTE_WAITS,   /* none does now; they are tried again */
	ENCODE_REMOTE_GUARDED, /* the cost guard holds it */
	ENCODE_REMOTE_STOPPED, /* none does, and each waits for somebody to do something */
};

/*
 * From any thread. Appends to @why what is wrong, also where some endpoints are fine and others are not: one line, without
 * secrets; nothing where nothing is. Of an encoder of another kind: FINE.
 */
enum encode_remote_health encode_remote_look(const struct encoder *encoder, struct buffer *why);

/* What people were told of an encoder. All zero before the first time. */
struct encode_remote_told {
	enum encode_remote_health told, seen;
	int64_t since; /* it was seen so */
};

/*
 * Whether people should be told of @health now, at @now (clock_mono_ms): what passes within seconds is not worth a
 * line. They are taken to be told then.
 */
bool encode_remote_is_news(struct encode_remote_told *t, enum encode_remote_health health,
			   int64_t now);

#endif
