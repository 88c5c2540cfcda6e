/*
 * What the client's parts share; nobody else includes it.
 *
 *	s3_call.c      the client itself, and one request until it worked or cannot
 *	s3.c           objects
 *	s3_upload.c    objects in many parts
 */
#ifndef LATENTD_NET_S3_CALL_H
#define LATENTD_NET_S3_CALL_H

#include "net/retry.h"
#include "net/s3.h"

enum { S3_LOOK_MS = 200 /* how often stop and on_wait are called */ };

struct s3 {
	struct s3_options options; /* without what it points to, but for arg */
	struct s3_bucket bucket;
	struct s3_credentials *credentials;
	struct http_multi *multi;
	struct retry_random random;
	int64_t skew_ms; /* what the server's clock is ahead of ours */
	size_t keys;	 /* how often others were fetched because they expired */
	bool corrected_clock, new_keys, new_region; /* since the last reply that was fine */
	bool no_conditions;			    /* the store does not know If-None-Match */
	struct error trouble;			    /* s3_trouble() */
};

struct s3_call {
	struct s3_what what;
	size_t response_max; /* 0: of a document */
	bool gives_up;	     /* as soon as stop says so, and not when its reply has come */
	struct http_exchange x;
	struct s3_outcome outcome;
	size_t tries;
	size_t keys; /* those of the client when it was signed */
};

void s3_call_release(struct s3_call *c);
#define cleanup_s3_call cleanup_with(s3_call_release)

/* Until it worked, or cannot, or patience is over; c->outcome says which. -1 where nothing could be asked. */
int s3_perform(struct s3 *s3, struct s3_call *c, struct error *err);
/* What c->outcome means, if nothing is done about it. */
int s3_call_failed(const struct s3 *s3, const struct s3_call *c, struct error *err);
/* Makes c->x from c->what; *request must live as long as that is under way. */
int s3_call_start(struct s3 *s3, struct s3_call *c, struct s3_request *request, struct error *err);
/* s3_judge() of c->x, which may have been under way while others found out that keys expired. */
enum s3_next s3_call_judge(struct s3 *s3, struct s3_call *c);
/* Tells who asked for it that it is being waited. */
void s3_tick(const struct s3 *s3);
/* Who asked wants no second try and no pause. */
bool s3_stops(const struct s3 *s3);

#define S3_SAME 3

/* 0: nothing is there; S3_IN_THE_WAY; S3_SAME: an object with this hash is. */
int s3_look_before(struct s3 *s3, const char *key, const char *sha256, uint64_t size,
		   struct error *err);
/* s3_perform with, where @mode wants it and the store knows it, If-None-Match: *, for which there is room behind the headers. */
int s3_perform_new(struct s3 *s3, struct s3_call *c, enum s3_mode mode, struct error *err);

#endif
