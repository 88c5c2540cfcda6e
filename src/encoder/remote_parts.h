/*
 * What the parts of the `remote` encoder share. Who may touch what:
 *
 *	the driver's thread	submit, collect: `arrived`, `finished` and the counters, under the lock	(encoder_remote.c)
 *	the loop's thread	batches, items, endpoints and everything of HTTP			(remote_loop.c, remote_send.c)
 *	the workers		an item whose state is ITEM_PREPARING or ITEM_DRAWING			(remote_work.c)
 *	anybody			`shown`, under the lock (the loop writes it: remote_show.c); cancel, ticks
 *
 * An item goes	waiting -> preparing (a worker makes the request's body) -> ready -> flying -> [drawing ->] finished
 * and from flying back to ready for another try.
 */
#ifndef LATENTD_ENCODER_REMOTE_PARTS_H
#define LATENTD_ENCODER_REMOTE_PARTS_H

#include "base/bounded_queue.h"
#include "base/thread.h"
#include "encoder/encoder_remote.h"
#include "encoder/remote_access.h"
#include "encoder/remote_reply.h"
#include "net/cost_guard.h"
#include "net/endpoint_set.h"

#include <stdatomic.h>

/* An image that nobody can take for so long goes back. */
enum { REMOTE_PATIENCE_MS = 10000, REMOTE_FLIGHTS = 2 };

struct endpoint_model;
struct remote_item;
struct remote_flight;

struct remote_server {
	struct remote_access access;
	struct endpoint endpoint;
	struct remote_flight *question; /* GET /v1/model, while it is under way */
	bool known;			/* has the model that we want, as far as can be known */
	bool typed;			/* Content-Type and Accept are sent */
	bool wants_token;		/* stopped by 401 or 403: a new token is worth a try */
	int64_t token_at;		/* the file is looked at again */
	char reason[REMOTE_REASON_SIZE];
	uint64_t requests, failures, images, sent, received;
	enum encoder_remote_state state; /* as it was shown last, and since when */
	int64_t state_since;
};

/* One request under way: for an image, or the question for the model. */
struct remote_flight {
	struct http_exchange x;
	struct endpoint_ticket ticket;
	size_t server;
	struct remote_item *item; /* NULL: the question */
	bool typed;
	uint64_t charged; /* bytes that the cost guard counted when it began */
	struct buffer url;
	char wake[48];
	struct remote_flight *next; /* of those that are over and can be used again */
};

enum remote_item_state {
	ITEM_WAITING,
	ITEM_PREPARING,
	ITEM_READY,
	ITEM_FLYING,
	ITEM_DRAWING,
};

struct remote_batch {
	struct encode_batch *batch;
	uint64_t number;
	size_t left; /* items that are not finished */
	struct remote_batch *next;
};

struct remote_item {
	struct remote_batch *batch;
	struct encode_item *image;
	enum remote_item_state state;
	bool cancelled;
	struct buffer body;
	size_t reserved;    /* bytes of the memory limit */
	int64_t not_before; /* of the next try */
	size_t avoid;	    /* the server that it failed at last */
	size_t tries;	    /* that failed */
	size_t refusals;    /* 400 */
	size_t not_finite;  /* replies */
	bool hedged;
	struct remote_flight *flights[REMOTE_FLIGHTS];
	struct ndarray moments;	  /* while it is drawing */
	struct error error;	  /* of the worker */
	struct remote_item *next; /* among those that the workers gave back */
};

/* Endpoints, and what is shown of each. */
struct remote_list {
	struct remote_server *servers;
	struct encoder_remote_endpoint_view *shown;
	size_t n;
};

/* What view and capacity tell; times are absolute. */
struct remote_shown {
	bool works;					/* some endpoint, as far as known */
	int64_t try_at;					/* otherwise: when one will be tried */
	struct encoder_remote_endpoint_view *endpoints; /* state_ms and wait_ms are times */
};

struct encoder_remote {
	struct encoder base;
	struct encoder_caps caps;
	char *engine, *name;
	struct encoder_remote_options
	    options; /* but for the guard its pointers are not used after open */
	size_t max_requests;
	struct http_multi *multi;
	struct thread loop;
	struct thread *workers;
	size_t n_workers;
	struct bounded_queue *work;
	atomic_uint_fast64_t submitted, cancelled, ticks;
	atomic_bool closing;
	int readable; /* eventfd: finished has something */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock: */
	struct remote_batch *arrived;
	struct remote_list wanted;	/* endpoints from now on; n 0: those that there are */
	struct encode_batch **finished; /* [the most that caps.max_in_flight may be] */
	size_t n_finished;
	size_t inside; /* batches between submit and collect */
	size_t images;
	struct remote_item *worked;
	struct remote_shown shown;

	/* Of the loop's thread: */
	struct remote_server *servers; /* these two change under the lock */
	size_t n_servers;
	struct remote_access *gone; /* of endpoints that were; their names are shown yet */
	size_t n_gone, gone_capacity;
	const struct endpoint **set; /* [n_servers], and below: for choosing among some of them */
	size_t *which;
	struct remote_item **items; /* in the order of their arrival */
	size_t n_items, items_capacity;
	struct remote_batch *done; /* newest first; shown with the next view */
	size_t n_flying, n_ready, n_preparing;
	size_t memory_used;
	struct remote_flight *spare;
	struct retry_random random;
	uint64_t requests, hedges;
	int64_t works_until; /* the last time that an endpoint worked */
};

/* The latent that is expected for an image of @batch. */
struct remote_latent remote_latent_of(const struct encoder_remote *r,
				      const struct encode_batch *batch);

/* ---- remote_change.c ---- */

/* @n endpoints that nothing is known of yet. ERR_CONFIG. */
int remote_list_init(const struct encoder_remote *r, const struct encoder_remote_endpoint *from,
		     size_t n, struct remote_list *out, struct error *err);
void remote_list_release(struct remote_list *list);
/* How many may be under way at all of them, @most at most. */
size_t remote_list_requests(const struct remote_list *list, size_t most);
/* Takes what is in @list; who had what was there before frees it. */
void remote_list_use(struct encoder_remote *r, struct remote_list *list);
/* To the endpoints that are wanted. */
void remote_take_change(struct encoder_remote *r, int64_t now);

/* ---- remote_work.c ---- */

int remote_work_open(struct encoder_remote *r, struct error *err);
void remote_work_close(struct encoder_remote *r);
/* To the workers, in its state. */
void remote_work_give(struct encoder_remote *r, struct remote_item *item);
/* Bytes that preparing it takes at most. */
size_t remote_work_bytes(const struct encoder_remote *r, const struct encode_batch *batch);

/* ---- remote_send.c ---- */

/* False: the cost guard holds it, or libcurl could not take it. */
bool remote_send_image(struct encoder_remote *r, struct remote_item *item, size_t server,
		       int64_t now);
/* Unless the cost guard holds it. */
void remote_send_question(struct encoder_remote *r, size_t server, int64_t now);
/* A request is over, as its endpoint is told; it is spare afterwards. */
void remote_flight_over(struct encoder_remote *r, struct remote_flight *f, int64_t now,
			enum endpoint_outcome outcome);
/* Cancels it. */
void remote_flight_drop(struct encoder_remote *r, struct remote_flight *f, int64_t now);
/* The answer to the question. */
void remote_answered(struct encoder_remote *r, struct remote_flight *f, int64_t now);
/* 401 and 403: true if there is a new token, which is used from now on; else it is looked for again later. */
bool remote_new_token(struct remote_server *s, int64_t now);

/* ---- remote_model.c ---- */

/*
 * True: what an endpoint tells, or what a reply says of who made it, be it an error, is another model than ours; @reason says so.
 * A reply that says nothing is of nobody's.
 */
bool remote_tells_another(const struct encoder_remote *r, const struct endpoint_model *m,
			  char reason[REMOTE_REASON_SIZE]);
bool remote_comes_of_another(const struct encoder_remote *r, const struct http_exchange *x,
			     char reason[REMOTE_REASON_SIZE]);
/* True: a latent that says nothing of who made it came, and has to; @reason says so. */
bool remote_comes_of_nobody(const struct encoder_remote *r, const struct http_exchange *x,
			    char reason[REMOTE_REASON_SIZE]);

/* ---- remote_loop.c ---- */

void *remote_loop_run(void *arg);
/* The only way in which an item's state changes. */
void remote_item_enter(struct encoder_remote *r, struct remote_item *item,
		       enum remote_item_state state);
/* Cancels its requests. */
void remote_item_drop(struct encoder_remote *r, struct remote_item *item, int64_t now);
/* The item is done, with @error, or with its latent where that is NULL. */
void remote_item_finish(struct encoder_remote *r, struct remote_item *item,
			const struct error *error);

/* ---- remote_show.c ---- */

/* What anybody may see, and what is done, together: nobody sees an image before its endpoint's success. */
void remote_show(struct encoder_remote *r, int64_t now);

/* ---- remote_judge.c ---- */

/* A request for an item has an end: the item is finished, or tried again. */
void remote_judge(struct encoder_remote *r, struct remote_flight *f, int64_t now);

#endif
