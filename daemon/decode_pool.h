/*
 * The decode workers: processes that turn descriptors into pixels, and what may be believed of them.
 *
 *	decode_pool_open(event, &options, &pool, err)           spawns the workers
 *	decode_pool_start(pool, fd, image)                      while decode_pool_room(pool) > 0
 *	   ... handlers are called from the event loop:
 *	   on_hashed(image, content, bytes)
 *	   on_header(image, header, ticket)     -> answer now or later: decode_pool_place(ticket), or decode_pool_skip()
 *	   on_done(image, pixels)               pixels are valid during the call
 *	   on_failed(image, error)              ERR_DATA with a reason, also `worker_died`, `timeout`
 *	   on_returned(image)                   start it again: its worker was lost through another one, or cancelled
 *	decode_pool_resize(pool, workers)                       more or fewer of them, whatever they are at
 *	decode_pool_close(pool)
 *
 * A worker has up to DECODE_BERTHS images: it looks at the next before it draws the last, so that it need not wait for
 * answers. Best start another image before an answer.
 *
 * The workers are confined (confine.h), and hold no more memory than what they were asked needs (decode_memory.h). One
 * that dies, lies, or exceeds the time limit is replaced at once and costs the image that it was at; one that cannot be
 * started is tried again a little later; when process after process ends before its first image, no more are
 * started. One that had no memory for an image is replaced too: what took it may still have it.
 *
 * A worker that a file took over, and that goes on as if nothing had happened, can give wrong pixels, headers and
 * hashes for the images that it has and gets later, until it is replaced: for @images_per_process at most. Every
 * image that was started ends in exactly one of: skipped, on_done, on_failed, on_returned; or on_header, where only headers
 * are asked for.
 */
#ifndef LATENTD_DAEMON_DECODE_POOL_H
#define LATENTD_DAEMON_DECODE_POOL_H

#include "daemon/decode_protocol.h"
#include "daemon/stage_meter.h"

#include <systemd/sd-event.h>

struct decode_pool;
struct decode_ticket; /* an image that waits for an answer */

struct decode_handlers {
	/* Its header, or on_failed, comes next. */
	void (*on_hashed)(void *image, const struct hash128 *content, uint64_t bytes);
	/*
	 * A ticket is valid until one of the answers is called with it, or on_failed or on_returned. Where only
	 * headers are asked for it is NULL: nothing is to be answered, and on_header is the image's end.
	 */
	void (*on_header)(void *image, const struct image_header *header,
			  struct decode_ticket *ticket);
	/* @pixels: [height][width][3] of each geometry, one behind the other. */
	void (*on_done)(void *image, const uint8_t *pixels);
	void (*on_failed)(void *image, const struct error *why);
	/* Nothing is known of it any more. Where only headers are asked for, only after a cancel. */
	void (*on_returned)(void *image);
};

struct decode_pool_options {
	enum decode_mode mode;
	size_t workers;
	const char *program; /* NULL: latentd-decode beside this executable */
	struct image_limits limits;
	size_t slot_bytes; /* of the largest target; 0 where only headers or hashes are asked for */
	/*
	 * Wall clock for each step once the worker is at it: from descriptor to hash, from there to
	 * the header, from geometry to pixels; the last has @megapixel_ms more for each megapixel of the header. 0: 5 s and
	 * 100 ms.
	 */
	uint64_t time_limit_ms, megapixel_ms;
	size_t images_per_process; /* then it is replaced; 0: 10,000 */
	/* A worker that cannot have seccomp and rlimits is not used: the pool dies of it. */
	bool require_confinement;
	struct stage_meter *stages; /* where its work is counted; NULL: nowhere */
	struct decode_handlers handlers;
};

int decode_pool_open(sd_event *event, const struct decode_pool_options *options,
		     struct decode_pool **out, struct error *err);
/* Ends the workers; images that were started are forgotten without a call. NULL is fine. */
void decode_pool_close(struct decode_pool *pool);

/* Those that are to end included, until they have. */
size_t decode_pool_workers(const struct decode_pool *pool);
/*
 * So many from now on, at least one. Further ones are started at once. Those that are too many, idle ones first, are given nothing
 * more and end when what they have has ended as it would have. Not from a handler.
 */
void decode_pool_resize(struct decode_pool *pool, size_t workers);
/* So many images can be started now. */
size_t decode_pool_room(const struct decode_pool *pool);
/* Workers that have images. */
size_t decode_pool_busy(const struct decode_pool *pool);
/* How long the worker that has been at one step of an image the longest has been; 0: none is at any. */
int64_t decode_pool_longest_ms(const struct decode_pool *pool, int64_t now);
/* No worker is left and none can be started: nothing will ever come back. */
bool decode_pool_dead(const struct decode_pool *pool);
/* Tries again where it is dead. */
void decode_pool_revive(struct decode_pool *pool);
/* How the last process that was lost ended, or why none could be started. */
const char *decode_pool_last_end(const struct decode_pool *pool);
/* How the workers are confined: "seccomp, landlock 7, rlimits"; empty before the first is ready. */
const char *decode_pool_confinement(const struct decode_pool *pool);
/* One line for people where they lack seccomp or limits; NULL where they do not, or before the first is ready. */
const char *decode_pool_warning(const struct decode_pool *pool);
/* Ends every worker that has an image: on_returned for each. Nothing more may start. */
void decode_pool_cancel(struct decode_pool *pool);
/*
 * The same for workers with an image that @which picks of those that the pool's own handlers are for; the pool goes on
 * with new workers.
 */
void decode_pool_cancel_some(struct decode_pool *pool,
			     bool (*which)(const void *image, const void *arg), const void *arg);
/* The same for workers with an image that was started with the handlers @whose. */
void decode_pool_cancel_for(struct decode_pool *pool, const struct decode_handlers *whose);
/* Targets of so many bytes must fit from now on: workers with smaller slots are replaced once they are idle. */
void decode_pool_reserve(struct decode_pool *pool, size_t slot_bytes);
/* Hands @fd, which stays the caller's, to one of the workers; there must be room. */
void decode_pool_start(struct decode_pool *pool, int fd, void *image);
/* The same for one who shares the pool: of this image @handlers are called, which live as long as it is there. */
void decode_pool_start_for(struct decode_pool *pool, int fd, void *image,
			   const struct decode_handlers *handlers);
/* Tells the worker what to make of the image whose header it sent: 1 to RENDERS_MAX pictures. */
void decode_pool_place(struct decode_ticket *ticket, const struct render_geometry *geometries,
		       size_t n, const struct image_policy *policy);
/* Whether its worker would not draw it at once, but after another one. */
bool decode_pool_would_wait(const struct decode_ticket *ticket);
/* It is not wanted: the image is forgotten without another call. */
void decode_pool_skip(struct decode_ticket *ticket);

#endif
