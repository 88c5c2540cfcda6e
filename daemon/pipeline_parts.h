/*
 * What the pipeline's parts share; nobody else includes it.
 *
 *	pipeline.c           claims, the policy, opening and closing
 *	pipeline_open.c      from a claimed job to an open file
 *	pipeline_decode.c    from there to pixels
 *	pipeline_content.c   what is stored or under way already
 *	pipeline_encode.c    from pixels to the packer
 *	pipeline_end.c       how a work ends otherwise
 */
#ifndef LATENTD_DAEMON_PIPELINE_PARTS_H
#define LATENTD_DAEMON_PIPELINE_PARTS_H

#include "daemon/duplicates.h"
#include "daemon/executor.h"
#include "daemon/outcome_log.h"
#include "daemon/pipeline.h"

/* When what failed for a passing reason is tried again. */
#define PIPELINE_RETRY_MS 500

/* Decoded images whose targets have the same sizes, and wait for a batch of each. */
struct pending {
	struct picture_size {
		size_t width, height;
	} sizes[RESOLUTIONS_MAX];
	struct work_list works;
};

struct pipeline {
	sd_event *event;
	sd_event_source *extend_timer, *retry_timer;
	sd_event_source *fetch_timer; /* what is fetched has been silent for long */
	struct pipeline_options options;
	struct pipeline_root *roots;
	uint32_t *root_numbers; /* of them: what may be claimed */
	size_t n_roots;
	struct executor *opener;
	struct work_list ready; /* claimed */
	int64_t reached_at;	/* when the last file could be opened; monotonic ms */
	int64_t moved_at;	/* when the last job was claimed or settled; monotonic ms */
	int64_t asked_at;	/* when jobs were asked for last; monotonic ms */
	bool put_off;		/* servers cannot be reached: images wait for them */
	int64_t put_off_until;	/* when the last of these is claimed again; monotonic ms */
	size_t opening;		/* works whose file is being opened */
	size_t fetching;	/* of them, by their source */
	int64_t fetched_at; /* when the last of these came, or the first was wanted; monotonic ms */
	struct work_list opened;  /* no decode worker has room yet */
	struct work_list waiting; /* header seen, no memory yet */
	struct pending *pending;
	size_t n_pending, pending_capacity;
	struct work_list to_ask; /* hashed, the queue is not asked yet */
	struct duplicates *duplicates;
	struct pipeline_counts counts;
	struct outcome_log *outcomes;
	size_t variants;	      /* of each image */
	size_t each;		      /* of them of one resolution: they are encoded in one batch */
	size_t per_batch;	      /* images that fill one well */
	struct encode_batch **formed; /* batches that no encoder has had room for yet */
	size_t n_formed, formed_capacity;
	size_t images;	   /* works between claim and end */
	size_t at_workers; /* of them with a decode worker */
	size_t batches;	   /* formed, and not back yet */
	size_t encoding;   /* images in them */
	size_t kept_files; /* that works keep open */
	size_t sent;	   /* pictures of them, variants counted, that endpoints have */
	size_t extending;  /* renewals of leases that will be answered */
	bool claiming, claims_over, paused, stopping, failed;
	enum pipeline_claims may_claim;
	bool asked_suspects; /* by the last claim */
	bool again;	     /* asked for since the last claim: what that says is out of date */
	bool suspects_over;  /* none was there when claims were over */
	bool gave_up;	     /* claims are over, though some jobs are due later */
	bool alone;	     /* a suspect is in flight, and must be the only one */
};

/* -- pipeline.c ------------------------------------------------------------------------------------- */

void pipeline_fail(struct pipeline *p, const struct error *why);
/* Jobs went back to the queue, or are due later: asks for some again in a while. */
void pipeline_claim_later(struct pipeline *p);
/* What is claimed is begun. */
bool pipeline_begins(const struct pipeline *p);

/* -- pipeline_open.c -------------------------------------------------------------------------------- */

/* Has the file of a work opened that is in no list; it comes among the opened, or ends. */
void pipeline_open_file(struct pipeline *p, struct work *w);
/* It is no image: if it is kept for the next time, it is not any more. */
void pipeline_drop_at_hand(const struct work *w);
/* How many more may be opened for files like that of @w, which its source fetches; 0 where it lies here. */
size_t pipeline_fetches(const struct pipeline *p, const struct work *w);

/* -- pipeline_decode.c ------------------------------------------------------------------------------ */

void pipeline_start_decodes(struct pipeline *p);
/* Lets decodes begin whose memory is there; one that needs more than all of it runs alone. */
void pipeline_place_waiting(struct pipeline *p);
void pipeline_on_hashed(void *image, const struct hash128 *content, uint64_t bytes);
void pipeline_on_header(void *image, const struct image_header *header,
			struct decode_ticket *ticket);
void pipeline_on_done(void *image, const uint8_t *pixels);
void pipeline_on_failed(void *image, const struct error *why);
void pipeline_on_returned(void *image);
/* The queue has nothing of it: it is drawn, once there is memory. */
void pipeline_decode(struct work *w);

/* -- pipeline_content.c ----------------------------------------------------------------------------- */

/* @w, which is hashed, may be stored or under way already: it ends so, is parked, or the queue will be asked. */
void pipeline_look_up(struct work *w);
/* Asks the queue about the contents that were hashed since. */
void pipeline_ask(struct pipeline *p);
/* So much is parked, or kept open, that nothing more should be hashed. */
bool pipeline_parking_is_full(const struct pipeline *p);

/* -- pipeline_encode.c ------------------------------------------------------------------------------ */

void pipeline_submit_batches(struct pipeline *p);
/* What no encoder has had room for yet is not encoded: its images are released. */
void pipeline_drop_formed(struct pipeline *p);
/* Its guard allows no image for endpoints, and nobody else encodes. */
bool pipeline_has_no_budget(const struct pipeline *p);

/* -- pipeline_end.c --------------------------------------------------------------------------------- */

/* @w is not with a decode worker any more. */
void work_left_worker(struct work *w);
/* Neither content nor header of @w make its worker draw it. */
void work_skip_decode(struct work *w);
void work_reserve(struct work *w, size_t bytes);
/* Of one of its variants of this resolution, of all of those, and of all. */
size_t work_picture_bytes(const struct work *w, size_t resolution);
size_t work_resolution_bytes(const struct work *w, size_t resolution);
size_t work_pixel_bytes(const struct work *w);
/* Keeps its file, which a worker has by now, open for its alpha. */
void work_keep_file(struct work *w);
/* It is not needed. */
void work_drop_file(struct work *w);
/* Who it is, its texts, its mask and its file go to the packer; of its facts those that need no encoding. */
void work_hand_over(struct work *w, struct finished *f);
void work_free(struct work *w);
/* Those parked behind @w, which does not lead any more. */
struct work_list work_stop_leading(struct work *w);
/* They are tried for themselves. */
void pipeline_ready_again(struct pipeline *p, struct work_list *parked);
/* Ends @w with an error about it. */
void work_failed(struct work *w, const struct error *why);
/* Ends @w, of @width x @height oriented pixels, because its dataset leaves such images out in this resolution. */
void work_skipped(struct work *w, size_t resolution, size_t width, size_t height);
/* The server of @w cannot be reached: it is claimed again in @ms or later, uncharged. */
void work_put_off(struct work *w, const struct error *why, int64_t ms);
/* Gives @w back to the queue, uncharged. */
void work_released(struct work *w);
/* @w, that lost its worker through another image, begins anew. */
void work_again(struct work *w);
/* The file is another, its content is what its record or sample has. */
void work_kept(struct work *w);
/* Its dataset has the same image as @first_key. */
void work_dropped(struct work *w, const char *first_key);

#endif
