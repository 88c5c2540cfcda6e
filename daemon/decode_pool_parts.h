/*
 * What decode_pool's parts share; nobody else includes it.
 *
 *	decode_pool.c    the pool: who gets an image, time, opening and closing
 *	decode_life.c    one worker: its process, from start to end
 *	decode_talk.c    what it is asked, and what it answers
 */
#ifndef LATENTD_DAEMON_DECODE_POOL_PARTS_H
#define LATENTD_DAEMON_DECODE_POOL_PARTS_H

#include "daemon/decode_pool.h"
#include "daemon/decode_process.h"

#define DECODE_NO_DEADLINE INT64_MAX /* of workers that owe nothing and need nothing */

enum ticket_state {
	TICKET_FREE,	/* the berth has no image */
	TICKET_LOOKING, /* OPEN sent, HASHED or HEADER expected */
	TICKET_SEEN,	/* HEADER came, not answered yet */
	TICKET_PLACED,	/* GEOMETRY sent, DONE expected */
};

/* A berth of a worker, and the image in it. */
struct decode_ticket {
	struct decode_worker *worker;
	enum ticket_state state;
	bool hashed;
	void *image;
	const struct decode_handlers *handlers; /* of the image */
	size_t file_bytes;			/* once it is hashed */
	struct image_header header;		/* once it came */
	size_t render_bytes;			/* once it is placed */
	uint64_t limit_ms;			/* for the next answer */
};

enum decode_worker_state {
	WORKER_DOWN,	 /* with a deadline: to be started then */
	WORKER_STARTING, /* START sent, READY expected */
	WORKER_READY,
	WORKER_SPENT, /* without images, and to be replaced: its deadline is now */
	WORKER_GONE,  /* it has left, and is to be forgotten: its deadline is now */
};

struct decode_worker {
	struct decode_pool *pool;
	enum decode_worker_state state;
	bool leaves; /* the pool: what it has is its last */
	struct decode_process process;
	sd_event_source *io;
	size_t images; /* that this process was given */
	struct decode_ticket berths[DECODE_BERTHS];
	struct decode_ticket *owed[DECODE_BERTHS]; /* in order: the first is what it is at */
	size_t n_owed;
	struct decode_ticket
	    *looked;	       /* what it did last was to look at this one; NULL: it was not */
	enum work_stage stage; /* what it is at; STAGE_NONE: nothing */
	int64_t stage_since;   /* monotonic ns */
	uint64_t limit_ms;
	int64_t deadline; /* monotonic, ms: of the first answer that is owed */
};

struct decode_pool {
	sd_event *event;
	struct decode_pool_options options;
	char *program;
	size_t n, capacity;
	struct decode_worker *
	    *workers; /* tickets and events point to them: each stays where it is */
	sd_event_source *timer;
	int64_t timer_at; /* DECODE_NO_DEADLINE: off */
	unsigned
	    early_deaths;   /* in a row: processes that had no image yet, or could not be started */
	char last_end[512]; /* how the last process ended */
	char confinement[CONFINEMENT_TEXT_SIZE];
	char warning[CONFINEMENT_TEXT_SIZE + 96];
	bool cancelled;
};

/* -- decode_pool.c ---------------------------------------------------------------------------------- */

/* The worker owes its next message in @ms, or is to be looked at then. */
void decode_deadline_set(struct decode_worker *w, uint64_t ms);

/* -- decode_life.c ---------------------------------------------------------------------------------- */

/* Into WORKER_STARTING. What was begun before an error is for decode_worker_stop(). */
int decode_worker_spawn(struct decode_worker *w, struct error *err);
/* Its images, if any, are the caller's business. */
void decode_worker_stop(struct decode_worker *w, char how[DECODE_PROCESS_END_SIZE]);
size_t decode_worker_images(const struct decode_worker *w);
/* Whether it can be given another image now. */
bool decode_worker_has_room(const struct decode_worker *w);
/* Ends the process and starts another; its images are returned. */
void decode_worker_cancel(struct decode_worker *w);
/* Its slots have become too small: it is replaced, at once if it has no image. */
void decode_worker_outgrown(struct decode_worker *w);
/* The pool gets on without it. */
void decode_worker_leave(struct decode_worker *w);
/* It does not after all. */
void decode_worker_stay(struct decode_worker *w);
/* Its deadline is over. */
void decode_worker_late(struct decode_worker *w, int64_t now);
/* Whom its end is charged to; NULL: nobody. */
struct decode_ticket *decode_worker_blames(const struct decode_worker *w);
/*
 * It is of no more use: the image of @blamed, if any, fails with @why, or because the process died where @why is NULL; its others
 * are returned. A new process takes its place, unless process after process ends before it had an image.
 */
void decode_worker_lost(struct decode_worker *w, const struct decode_ticket *blamed,
			const struct error *why);
/* Where it has no image: it is ready for one, or is replaced. */
void decode_worker_rest(struct decode_worker *w);
/* Limits its memory to what it may need for all that it is asked now; without images, for any file. */
void decode_worker_limit(struct decode_worker *w);
void decode_ticket_free(struct decode_ticket *t);

/* -- decode_talk.c ---------------------------------------------------------------------------------- */

void decode_worker_open(struct decode_worker *w, int fd, void *image,
			const struct decode_handlers *handlers);
/* Takes one message, if one is there, or notices that the worker is gone. */
void decode_worker_hear(struct decode_worker *w);
/* It is at the first thing that it owes from now on. */
void decode_worker_moves_on(struct decode_worker *w);

#endif
