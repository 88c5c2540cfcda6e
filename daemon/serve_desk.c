/*
 * A job is in one of these: to be decoded, with a decode worker, waiting for memory there, or its images wait in the line
 * of their size or are in a batch. It is answered when none of its images is anywhere.
 */
#include "daemon/serve_desk_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

/* -- jobs ---------------------------------------------------------------------------------------- */

void serve_job_reserve(struct serve_job *job, size_t bytes)
{
	struct memory_budget *memory = job->desk->options.memory;

	memory->used += bytes;
	memory->used -= job->reserved;
	job->reserved = bytes;
}

/* It is not coming any more: it is there, or has failed. */
static void job_arrived(struct serve_job *job)
{
	if (job->expected)
		serve_desk_unexpect(job->desk);
	job->expected = false;
}

static void job_answer(struct serve_job *job)
{
	job_arrived(job);
	serve_job_reserve(job, 0);
	atomic_fetch_sub(&job->desk->jobs, 1);
	job->answered(job);
}

/* @job, none of whose images is anywhere. */
void serve_job_fail(struct serve_job *job, const struct error *why)
{
	if (job->error.code == ERR_NONE)
		job->error = *why;
	job_answer(job);
}

void serve_job_fail_transient(struct serve_job *job, const char *why)
{
	struct error err = ERROR_INIT;

	error_set(&err, ERR_TRANSIENT, "%s", why);
	serve_job_fail(job, &err);
}

/* Who asked has hung up: nobody would take the answer. */
static bool is_gone(const struct serve_job *job)
{
	struct pollfd p = {.fd = job->client, .events = POLLRDHUP};

	return job->client >= 0 && poll(&p, 1, 0) == 1 &&
	       (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Why nothing more is done for @job; NULL: go on. */
const char *serve_job_pointless(const struct serve_job *job)
{
	if (job->desk->cancelled)
		return "the server stops";
	if (clock_mono_ms() >= job->deadline)
		return "the encoder is busy: it was not this request's turn in time";
	return is_gone(job) ? "the client has hung up" : NULL;
}

/* -- from jobs to lines -------------------------------------------------------------------------- */

static unsigned needs_of(const struct serve_job *job)
{
	if (job->decode)
		return ENCODE_DECODE;
	return job->image < 0 && !job->tensor.pixels ? ENCODE_VALUES : 0;
}

static struct size_line *line_of(struct serve_desk *d, size_t width, size_t height, unsigned needs)
{
	struct size_line *line = d->lines;

	for (size_t i = 0; i < d->n_lines; i++, line++) {
		if (line->width == width && line->height == height && line->needs == needs)
			return line;
	}
	ARRAY_GROW(d->lines, d->n_lines, d->lines_capacity);
	line = &d->lines[d->n_lines++];
	*line = (struct size_line){.width = width, .height = height, .needs = needs};
	return line;
}

/* All images of @job stand in line. */
void serve_job_ready(struct serve_job *job)
{
	struct size_line *line = line_of(job->desk, job->width, job->height, needs_of(job));
	int64_t now = clock_mono_ms();

	job_arrived(job);
	job->left = job->n;
	job->items = xcalloc(job->n, sizeof(*job->items));
	job->latents = xcalloc(job->n, sizeof(*job->latents));
	for (size_t i = 0; i < job->n; i++) {
		struct serve_item *item = &job->items[i];

		job->latents[i].moments = (struct ndarray)NDARRAY_INIT;
		job->latents[i].content = job->image < 0 ? job->tensor.contents[i] : job->content;
		*item = (struct serve_item){.job = job, .index = i, .since = now};
		if (line->last)
			line->last->next = item;
		else
			line->first = item;
		line->last = item;
		line->n++;
	}
}

static void refuse_needs(struct serve_job *job)
{
	struct error err = ERROR_INIT;

	error_data(&err, "unsupported", "%s",
		   job->decode ? "no encoder of this server decodes"
			       : "no encoder of this server takes tensors of floats: send an "
				 "image, or a tensor of uint8");
	serve_job_fail(job, &err);
}

static void on_posted(struct task *t)
{
	struct serve_job *job = (struct serve_job *)t;
	struct serve_desk *d = job->desk;

	if (d->cancelled)
		serve_job_fail_transient(job, "the server stops");
	else if (job->image >= 0)
		serve_decode_job(job);
	else if (engine_lacks(d->options.engine, needs_of(job)))
		refuse_needs(job);
	else
		serve_job_ready(job);
}

/* -- batches ------------------------------------------------------------------------------------- */

static struct serve_item *line_pop(struct size_line *line)
{
	struct serve_item *item = line->first;

	line->first = item->next;
	if (!line->first)
		line->last = NULL;
	line->n--;
	return item;
}

static void item_gone(struct serve_item *item)
{
	struct serve_job *job = item->job;

	if (--job->left == 0)
		job_answer(job);
}

/* The images at the head of @line that nobody waits for any more are not encoded. */
static void drop_pointless(struct size_line *line)
{
	while (line->first) {
		struct serve_job *job = line->first->job;
		const char *why = job->submitted == 0 ? serve_job_pointless(job) : NULL;

		if (!why && job->error.code == ERR_NONE)
			return;
		if (why && job->error.code == ERR_NONE)
			error_set(&job->error, ERR_TRANSIENT, "%s", why);
		item_gone(line_pop(line));
	}
}

static void submit(struct serve_desk *d, struct encode_driver *driver, struct size_line *line,
		   size_t most)
{
	size_t n = line->n < most ? line->n : most;
	struct encode_batch *batch = encode_batch_new(n);

	batch->width = line->width;
	batch->height = line->height;
	batch->posterior = vae_config_deterministic(&engine_model(d->options.engine)->vae)
			       ? POSTERIOR_MEAN
			       : POSTERIOR_MOMENTS;
	batch->decode = line->needs & ENCODE_DECODE;
	batch->owner = d;
	for (size_t i = 0; i < n; i++) {
		struct serve_item *item = line_pop(line);
		struct serve_job *job = item->job;
		size_t each = job->decode ? job->latent_floats : 3 * line->width * line->height;
		size_t offset = item->index * each;
		struct encode_item *out = &batch->items[i];

		job->submitted++;
		out->owner = item;
		out->content = job->latents[item->index].content;
		if (job->pixels)
			out->pixels = job->pixels;
		else if (job->tensor.pixels)
			out->pixels = job->tensor.pixels + offset;
		else
			out->values = job->tensor.values + offset;
	}
	d->batches++;
	d->served += (uint64_t)n * line->width * line->height;
	encode_driver_submit(driver, batch);
}

/* Whether what stands in @line is a batch now; else *when it will be, if nothing more comes. */
static bool is_due(const struct serve_desk *d, const struct size_line *line, size_t most,
		   int64_t *when)
{
	int64_t at = line->first->since + (int64_t)d->options.gather_ms;
	size_t encoders = engine_group(d->options.engine)->n;

	if (line->n >= most)
		return true;
	if (d->batches > encoders) /* each has one, and one waits: there is time to gather */
		return false;
	if ((d->batches < encoders && atomic_load(&d->coming) == 0) || clock_mono_ms() >= at)
		return true;
	*when = at < *when ? at : *when;
	return false;
}

/* The line whose first image has waited longest of those that are due; NULL where none is or encoders are full. */
static struct size_line *next_line(struct serve_desk *d, size_t most, int64_t *when)
{
	struct engine *e = d->options.engine;
	bool ready = engine_state(e) == ENGINE_READY;
	struct size_line *best = NULL;

	for (size_t i = 0; i < d->n_lines; i++) {
		struct size_line *line = &d->lines[i];

		drop_pointless(line);
		if (ready && line->first && encode_group_pick(engine_group(e), line->needs) &&
		    is_due(d, line, most, when) &&
		    (!best || line->first->since < best->first->since))
			best = line;
	}
	return best;
}

/* A client may send every size there is. */
static void forget_empty_lines(struct serve_desk *d)
{
	for (size_t i = 0; i < d->n_lines; i++) {
		if (!d->lines[i].first)
			d->lines[i--] = d->lines[--d->n_lines];
	}
}

static void submit_batches(struct serve_desk *d)
{
	size_t best = engine_model(d->options.engine)->best_batch;
	size_t most = d->options.batch ? d->options.batch : best;
	int64_t when = INT64_MAX;
	struct encode_driver *driver;
	struct size_line *line;

	while ((line = next_line(d, most, &when)) &&
	       (driver = encode_group_pick(engine_group(d->options.engine), line->needs)))
		submit(d, driver, line, most);
	if (when != INT64_MAX)
		sd_event_source_set_time(d->timer, (uint64_t)when * 1000);
	sd_event_source_set_enabled(d->timer, when != INT64_MAX ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

void serve_desk_on_batch(struct serve_desk *d, struct encode_batch *batch,
			 const struct error *failure)
{
	size_t failed = 0;

	(void)failure; /* each item has it */
	for (size_t i = 0; i < batch->n; i++)
		failed += batch->items[i].error.code != ERR_NONE;
	serve_stats_batch(d->options.stats, batch->n, failed); /* before anybody is answered */
	for (size_t i = 0; i < batch->n; i++) {
		struct encode_item *in = &batch->items[i];
		struct serve_item *item = in->owner;
		struct serve_job *job = item->job;

		if (in->error.code == ERR_NONE) {
			job->latents[item->index].moments = in->latent;
			in->latent = (struct ndarray)NDARRAY_INIT;
		} else if (job->error.code == ERR_NONE) {
			job->error = in->error;
		}
		item_gone(item);
	}
	d->batches--;
	encode_batch_free(batch);
}

/* -- the desk ------------------------------------------------------------------------------------ */

void serve_desk_expect(struct serve_desk *d)
{
	atomic_fetch_add(&d->coming, 1);
}

void serve_desk_unexpect(struct serve_desk *d)
{
	atomic_fetch_sub(&d->coming, 1);
}

void serve_desk_post(struct serve_desk *d, struct serve_job *job)
{
	job->desk = d;
	job->base.done = on_posted;
	job->expected = true;
	atomic_fetch_add(&d->jobs, 1);
	inbox_post(d->options.inbox, &job->base);
}

void serve_job_release(struct serve_job *job)
{
	for (size_t i = 0; job->latents && i < job->n; i++)
		ndarray_release(&job->latents[i].moments);
	free(job->latents);
	free(job->items);
	free(job->pixels);
	serve_tensor_release(&job->tensor);
	if (job->image >= 0)
		close(job->image);
	job->image = -1;
	job->latents = NULL;
	job->items = NULL;
	job->pixels = NULL;
}

/* The pump after this turn of the loop does it. */
static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source, (void)usec, (void)arg;
	return 0;
}

int serve_desk_open(const struct serve_desk_options *options, struct serve_desk **out,
		    struct error *err)
{
	struct serve_desk *d = xcalloc(1, sizeof(*d));
	int r;

	d->options = *options;
	atomic_init(&d->coming, 0);
	atomic_init(&d->jobs, 0);
	r = sd_event_add_time(options->event, &d->timer, CLOCK_MONOTONIC, UINT64_MAX, 1, on_timer,
			      d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->timer, SD_EVENT_OFF);
	if (r < 0) {
		serve_desk_close(d);
		return error_set(err, ERR_IO, "cannot set a timer: %s", strerror(-r));
	}
	decode_pool_reserve(options->pool, 3 * options->max_pixels);
	*out = d;
	return 0;
}

void serve_desk_pump(struct serve_desk *d)
{
	serve_decode_pump(d);
	submit_batches(d);
	forget_empty_lines(d);
}

size_t serve_desk_jobs(const struct serve_desk *d)
{
	return atomic_load(&d->jobs);
}

uint64_t serve_desk_served(const struct serve_desk *d)
{
	return d->served;
}

void serve_desk_set_served(struct serve_desk *d, uint64_t pixels)
{
	d->served = pixels;
}

void serve_desk_cancel(struct serve_desk *d)
{
	d->cancelled = true;
	serve_decode_cancel(d);
	for (size_t i = 0; i < d->n_lines; i++) {
		struct size_line *line = &d->lines[i];

		while (line->first) {
			struct serve_item *item = line_pop(line);

			if (item->job->error.code == ERR_NONE)
				error_set(&item->job->error, ERR_TRANSIENT, "the server stops");
			item_gone(item);
		}
	}
}

void serve_desk_close(struct serve_desk *d)
{
	if (!d)
		return;
	memory_budget_pass(d->options.memory, d);
	sd_event_source_disable_unref(d->timer);
	free(d->lines);
	free(d);
}
