#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"
#include "daemon/packer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PUT_OFF_EVERY_MS = 5 };

void work_left_worker(struct work *w)
{
	w->pipeline->at_workers--;
}

void work_skip_decode(struct work *w)
{
	decode_pool_skip(TAKE(w->ticket));
	work_left_worker(w);
}

void work_reserve(struct work *w, size_t bytes)
{
	w->pipeline->options.memory->used += bytes - w->reserved;
	w->reserved = bytes;
}

size_t work_picture_bytes(const struct work *w, size_t resolution)
{
	const struct bucket_placement *p = &w->placements[resolution];

	return p->target_width * p->target_height * 3;
}

size_t work_resolution_bytes(const struct work *w, size_t resolution)
{
	return work_picture_bytes(w, resolution) * w->pipeline->each;
}

size_t work_pixel_bytes(const struct work *w)
{
	size_t sum = 0;

	for (size_t i = 0; i < w->pipeline->options.resolutions.n; i++)
		sum += work_resolution_bytes(w, i);
	return sum;
}

void work_keep_file(struct work *w)
{
	w->keeps_file = true;
	w->kept_file = TAKE_FD(w->fd);
	w->pipeline->kept_files++;
}

void work_drop_file(struct work *w)
{
	if (!w->keeps_file)
		return;
	w->keeps_file = false;
	close(w->kept_file);
	w->pipeline->kept_files--;
}

static void hand_file(struct work *w, struct finished *f)
{
	if (!w->keeps_file)
		return;
	w->keeps_file = false;
	f->has_file = true;
	f->file = w->kept_file;
	w->pipeline->kept_files--;
}

void work_hand_over(struct work *w, struct finished *f)
{
	f->job = w->job.id;
	f->fence = w->job.fence;
	f->rank = w->job.rank;
	f->key = TAKE(w->job.key);
	f->path = TAKE(w->job.path);
	f->caption = TAKE(w->caption);
	f->meta = TAKE(w->meta);
	f->mask = w->mask;
	w->mask = (struct buffer)BUFFER_INIT;
	hand_file(w, f);
	f->again = w->job.has_content;
	f->facts.content = w->content;
	f->facts.captions = w->pipeline->options.captions;
}

void work_free(struct work *w)
{
	work_drop_file(w);
	work_reserve(w, 0);
	w->pipeline->images--;
	work_release(w);
	free(w);
}

/* Those parked behind @w, which does not lead any more. */
struct work_list work_stop_leading(struct work *w)
{
	w->leads = false;
	return duplicates_leave(w->pipeline->duplicates, &w->content, w->job.id);
}

/* They are tried for themselves. */
void pipeline_ready_again(struct pipeline *p, struct work_list *parked)
{
	for (struct work *w = parked->first; w; w = w->next)
		work_drop_file(w);
	work_list_append(&p->ready, parked);
}

static void settle_until(struct work *w, enum outcome_kind kind, const char *reason,
			 const char *message, int64_t ms)
{
	struct pipeline *p = w->pipeline;
	struct job_outcome o = {.job = w->job.id,
				.fence = w->job.fence,
				.kind = kind,
				.has_content = w->has_content && kind != OUTCOME_RELEASE,
				.content = w->content,
				.not_before = clock_steady_wall_ms() + ms,
				.reason = reason,
				.message = message};

	p->moved_at = clock_mono_ms();
	outcome_log_add(p->outcomes, &o);
	if (kind == OUTCOME_RETRY || kind == OUTCOME_POSTPONE)
		pipeline_claim_later(p);
	if (kind != OUTCOME_KEPT && kind != OUTCOME_RELEASE)
		p->options.on_outcome(p->options.arg, w->job.path, kind, reason, message);
}

static void settle(struct work *w, enum outcome_kind kind, const char *reason, const char *message)
{
	settle_until(w, kind, reason, message, PIPELINE_RETRY_MS);
}

/* In how long one is claimed again that should not be before @ms: one after the other, so that there is room for those of others. */
static int64_t take_turn(struct pipeline *p, int64_t ms)
{
	int64_t now = clock_mono_ms();

	p->put_off_until += PUT_OFF_EVERY_MS;
	if (p->put_off_until < now + ms)
		p->put_off_until = now + ms;
	return p->put_off_until - now;
}

void work_put_off(struct work *w, const struct error *why, int64_t ms)
{
	w->pipeline->put_off = true;
	settle_until(w, OUTCOME_POSTPONE, "unreachable", why->message, take_turn(w->pipeline, ms));
	work_free(w);
}

/* Ends @w with an error about it. */
void work_failed(struct work *w, const struct error *why)
{
	struct pipeline *p = w->pipeline;
	struct work_list parked = WORK_LIST_INIT;
	const char *reason;
	enum outcome_kind kind = outcome_judge(why, w->job.attempts, &reason);
	int64_t pause = outcome_pause_ms(why, w->job.attempts);
	struct work *other;

	if (w->leads)
		parked = work_stop_leading(w);
	if (why->code == ERR_DATA)
		pipeline_drop_at_hand(w);
	p->put_off = p->put_off || outcome_waits(kind, reason);
	settle_until(w, kind, reason, why->message, pause > 0 ? pause : PIPELINE_RETRY_MS);
	/* What is wrong with the bytes is wrong with every file of them; a decoder's death may be chance. */
	if (kind == OUTCOME_QUARANTINE && why->code == ERR_DATA &&
	    strcmp(why->reason, "worker_died") != 0 && strcmp(why->reason, "timeout") != 0) {
		while ((other = work_list_pop(&parked))) {
			settle(other, kind, reason, why->message);
			work_free(other);
		}
	}
	pipeline_ready_again(p, &parked);
	work_free(w);
}

/* Ends @w, of @width x @height oriented pixels, because its dataset leaves such images out. */
void work_skipped(struct work *w, size_t resolution, size_t width, size_t height)
{
	const struct bucket_placement *placement = &w->placements[resolution];
	struct work_list same = WORK_LIST_INIT;
	char message[160];
	struct work *each;

	bucket_skip_message(w->pipeline->options.resolutions.tables[resolution], width, height,
			    placement, message, sizeof(message));
	if (w->leads)
		same = work_stop_leading(w);
	settle(w, OUTCOME_SKIP, placement->skip, message);
	while ((each = work_list_pop(&same))) {
		settle(each, OUTCOME_SKIP, placement->skip, message);
		work_free(each);
	}
	work_free(w);
}

/* Gives @w back to the queue, uncharged. */
void work_released(struct work *w)
{
	struct work_list parked = WORK_LIST_INIT;

	if (w->leads)
		parked = work_stop_leading(w);
	pipeline_ready_again(w->pipeline, &parked);
	settle(w, OUTCOME_RELEASE, NULL, NULL);
	pipeline_claim_later(w->pipeline);
	work_free(w);
}

void work_again(struct work *w)
{
	struct pipeline *p = w->pipeline;
	struct work_list again = WORK_LIST_INIT, parked = WORK_LIST_INIT;

	if (p->stopping || p->failed) {
		work_released(w);
		return;
	}
	if (w->leads)
		parked = work_stop_leading(w);
	work_reserve(w, 0);
	work_list_push(&again, w);
	work_list_append(&again, &parked);
	pipeline_ready_again(p, &again);
}

/* The file is another, its content is what its record or sample has. */
void work_kept(struct work *w)
{
	w->pipeline->counts.kept++;
	settle(w, OUTCOME_KEPT, NULL, NULL);
	work_free(w);
}

void work_dropped(struct work *w, const char *first_key)
{
	char message[160];

	snprintf(message, sizeof(message), "the same image as %s", first_key);
	settle(w, OUTCOME_SKIP, "duplicate", message);
	work_free(w);
}
