/*
 * One image on its way through the pipeline, from its claim until it is handed to the packer or settled.
 */
#ifndef LATENTD_DAEMON_WORK_H
#define LATENTD_DAEMON_WORK_H

#include "daemon/decode_pool.h"
#include "daemon/executor.h"
#include "daemon/resolutions.h"
#include "queue/queue.h"
#include "source/source.h"

struct finished;
struct pipeline;

struct work {
	struct pipeline *pipeline;
	struct job job;
	struct hash128 content;
	bool has_content, has_header;
	bool leads;	  /* others of its content are parked behind it */
	bool asking;	  /* the queue is asked for its content */
	bool asked_again; /* the first answer was out of date */
	uint64_t file_bytes;
	struct image_header header;
	struct bucket_placement placements[RESOLUTIONS_MAX]; /* one for each resolution */
	char *caption, *meta;
	struct buffer mask; /* the file with its mask; empty: it has none */
	bool keeps_file;    /* for its alpha, from a decode worker to the packer: */
	int kept_file;
	bool caption_given;	      /* by a person: the file beside the image is not read */
	char *first_key;	      /* of the image that it is parked behind */
	uint8_t *pixels;	      /* of all variants, one behind the other */
	struct finished *finished;    /* while encoders have it: what is encoded already */
	size_t batches;		      /* of them that are not back yet */
	struct error *unencoded;      /* why one of its latents is none */
	size_t reserved;	      /* bytes of the budget */
	int64_t waits_since;	      /* for memory; monotonic ms */
	struct decode_ticket *ticket; /* its worker waits for an answer: of the queue, or memory */
	bool returned;		      /* it lost its worker while the queue was asked */
	struct error *failure;	      /* why it cannot be decoded; the queue is asked nonetheless */
	/* While its file is opened, and from then until a decode worker has it. */
	struct task opening;
	struct source *source;
	bool is_remote, fetching;
	struct source_order order; /* if it is remote */
	int fd;			   /* -1: none */
	struct work *next;
};

/* What it owns; not its place in lists. */
void work_release(struct work *w);

/* What was found out of its file, for another look at that. */
void work_forget(struct work *w);

/* First in, first out. */
struct work_list {
	struct work *first, *last;
	size_t n;
};

#define WORK_LIST_INIT                                                                             \
	{                                                                                          \
		NULL, NULL, 0                                                                      \
	}

void work_list_push(struct work_list *l, struct work *w);
/* NULL: empty. */
struct work *work_list_pop(struct work_list *l);
void work_list_remove(struct work_list *l, struct work *w);
/* @from is empty afterwards. */
void work_list_append(struct work_list *l, struct work_list *from);

#endif
