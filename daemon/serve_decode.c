/*
 * Images are decoded by the confined workers, never here: the process that holds the model, the token and the sockets
 * does not look into what strangers send.
 */
#include "daemon/serve_desk_parts.h"

#include "base/checked.h"

#include <string.h>

/* -- lists of jobs ------------------------------------------------------------------------------- */

static void list_push(struct job_list *l, struct serve_job *job)
{
	job->next = NULL;
	if (l->last)
		l->last->next = job;
	else
		l->first = job;
	l->last = job;
}

static struct serve_job *list_pop(struct job_list *l)
{
	struct serve_job *job = l->first;

	if (!job)
		return NULL;
	l->first = job->next;
	if (!l->first)
		l->last = NULL;
	return job;
}

static void list_remove(struct job_list *l, const struct serve_job *job)
{
	struct serve_job *before = NULL;

	for (struct serve_job *j = l->first; j; before = j, j = j->next) {
		if (j != job)
			continue;
		if (before)
			before->next = j->next;
		else
			l->first = j->next;
		if (l->last == j)
			l->last = before;
		return;
	}
}

/* -- decoding ------------------------------------------------------------------------------------ */

static const struct decode_handlers handlers;

/* As the original servers see them: convert("RGB"), nothing turned, no profile applied. */
static const struct image_policy policy = {
    .apply_exif = false, .color = COLOR_IGNORE, .alpha = ALPHA_DROP};

/* Whole, and where a side is no multiple of the VAE's, shrunk to one as VaeImageProcessor does. */
static struct render_geometry geometry_of(const struct serve_job *job)
{
	return (struct render_geometry){job->width,  job->height,   0, 0, job->width,
					job->height, FILTER_LANCZOS};
}

static void start_decodes(struct serve_desk *d)
{
	while (d->to_decode.first) {
		const char *why = serve_job_pointless(d->to_decode.first);
		struct serve_job *job;

		if (!why && decode_pool_dead(d->options.pool)) {
			why = "no decoder can be started";
			decode_pool_revive(d->options.pool); /* for the next one */
		}
		if (!why && (d->for_memory.first || decode_pool_room(d->options.pool) == 0))
			return;
		job = list_pop(&d->to_decode);
		if (why)
			serve_job_fail_transient(job, why);
		else
			decode_pool_start_for(d->options.pool, job->image, job, &handlers);
	}
}

size_t serve_model_step(const struct encode_model *model)
{
	return model->fake ? model->multiple : vae_config_downscale(&model->vae);
}

static void on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	struct serve_job *job = image;

	(void)content; /* the server's own is not of a process that read the image */
	job->file_bytes = bytes;
}

static void refuse_size(struct serve_job *job, struct decode_ticket *ticket, const char *reason,
			const char *what)
{
	struct error err = ERROR_INIT;

	error_data(&err, reason, "%zux%zu pixels: %s", job->header.width, job->header.height, what);
	decode_pool_skip(ticket);
	serve_job_fail(job, &err);
}

static void on_header(void *image, const struct image_header *header, struct decode_ticket *ticket)
{
	struct serve_job *job = image;
	struct serve_desk *d = job->desk;
	size_t step = serve_model_step(engine_model(d->options.engine)), pixels;

	job->header = *header;
	job->width = header->width - header->width % step;
	job->height = header->height - header->height % step;
	if (!size_mul(header->width, header->height, &pixels) || pixels > d->options.max_pixels) {
		refuse_size(job, ticket, "too_large", "more than this server takes");
	} else if (job->width == 0 || job->height == 0) {
		refuse_size(job, ticket, "too_small", "less than one latent");
	} else {
		job->ticket = ticket;
		list_push(&d->for_memory, job);
	}
}

static size_t pixel_bytes(const struct serve_job *job)
{
	return 3 * job->width * job->height;
}

static void place_waiting(struct serve_desk *d)
{
	while (d->for_memory.first) {
		struct serve_job *job = d->for_memory.first;
		const struct render_geometry geometry = geometry_of(job);
		size_t need = image_render_bytes(&job->header, &policy, &geometry, 1);
		const char *why = serve_job_pointless(job);

		if (why) {
			list_pop(&d->for_memory);
			decode_pool_skip(TAKE(job->ticket));
			serve_job_fail_transient(job, why);
			continue;
		}
		if (!size_add(need, job->file_bytes + pixel_bytes(job), &need))
			need = SIZE_MAX;
		if (!memory_budget_allows(d->options.memory, d, need))
			return;
		list_pop(&d->for_memory);
		serve_job_reserve(job, need);
		decode_pool_place(TAKE(job->ticket), &geometry, 1, &policy);
	}
	memory_budget_pass(d->options.memory, d);
}

static void on_done(void *image, const uint8_t *pixels)
{
	struct serve_job *job = image;

	job->pixels = xmalloc(pixel_bytes(job));
	memcpy(job->pixels, pixels, pixel_bytes(job));
	serve_job_reserve(job, pixel_bytes(job));
	serve_job_ready(job);
}

/* Its decoder was lost through another image, or was cancelled for one: it is decoded again. */
static void on_returned(void *image)
{
	struct serve_job *job = image;

	if (TAKE(job->ticket))
		list_remove(&job->desk->for_memory, job);
	serve_job_reserve(job, 0);
	if (job->desk->cancelled)
		serve_job_fail_transient(job, "the server stops");
	else
		list_push(&job->desk->to_decode, job);
}

static void on_failed(void *image, const struct error *why)
{
	struct serve_job *job = image;

	if (why->code == ERR_TRANSIENT) {
		on_returned(job);
		return;
	}
	if (TAKE(job->ticket))
		list_remove(&job->desk->for_memory, job);
	serve_job_fail(job, why);
}

static const struct decode_handlers handlers = {on_hashed, on_header, on_done, on_failed,
						on_returned};

/* -- what the desk asks for ---------------------------------------------------------------------- */

void serve_decode_job(struct serve_job *job)
{
	list_push(&job->desk->to_decode, job);
}

void serve_decode_pump(struct serve_desk *d)
{
	start_decodes(d);
	place_waiting(d);
}

void serve_decode_cancel(struct serve_desk *d)
{
	struct serve_job *job;

	decode_pool_cancel_for(d->options.pool, &handlers);
	while ((job = list_pop(&d->to_decode)))
		serve_job_fail_transient(job, "the server stops");
}
