/*
 * Batches of one size, and what comes back of them.
 */
#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"

/* What nothing comes of for so long does not hold up what is there: a server that says a byte a second. */
#define FETCH_PATIENCE_MS 2000

#include <string.h>

/* Images that endpoints may have now, with all their variants; what they have already may yet come back unspent. */
static uint64_t images_to_send(const struct pipeline *p)
{
	uint64_t left = cost_guard_left(p->options.guard, clock_mono_ms());

	return left > p->sent ? (left - p->sent) / p->variants : 0;
}

static unsigned needs_of(const struct pipeline *p)
{
	return (p->options.recipe->tile > 0 ? ENCODE_TILES : 0) |
	       (images_to_send(p) == 0 ? ENCODE_HERE : 0);
}

/* Of the one whose turn it is. */
static unsigned formed_needs(const struct pipeline *p)
{
	return (p->options.recipe->tile > 0 ? ENCODE_TILES : 0) |
	       (p->formed[0]->here ? ENCODE_HERE : 0);
}

bool pipeline_has_no_budget(const struct pipeline *p)
{
	unsigned needs = needs_of(p);

	return (needs & ENCODE_HERE) && !encode_group_can(p->options.encoders, needs);
}

static size_t batch_size(const struct pipeline *p, const struct pending *bucket, unsigned needs)
{
	size_t n = bucket->works.n < p->per_batch ? bucket->works.n : p->per_batch;
	uint64_t most = images_to_send(p);

	return (needs & ENCODE_HERE) || n < most ? n : (size_t)most;
}

/* The pictures of one resolution. */
static void form_batch(struct pipeline *p, const struct pending *bucket, struct work *const *works,
		       size_t n, size_t resolution, unsigned needs)
{
	struct encode_batch *batch = encode_batch_new(n * p->each);

	batch->here = needs & ENCODE_HERE;
	batch->width = bucket->sizes[resolution].width;
	batch->height = bucket->sizes[resolution].height;
	batch->posterior = p->options.recipe->posterior;
	batch->seed = p->options.recipe->seed;
	batch->tile = p->options.recipe->tile;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *pixels = works[i]->pixels;

		for (size_t r = 0; r < resolution; r++)
			pixels += work_resolution_bytes(works[i], r);
		works[i]->batches++;
		for (size_t v = 0; v < p->each; v++) {
			struct encode_item *item = &batch->items[i * p->each + v];
			size_t index = resolution * p->each + v;

			item->owner = works[i];
			item->pixels = pixels + v * work_picture_bytes(works[i], resolution);
			item->content = variant_noise(&works[i]->content,
						      recipe_variant(p->options.recipe, index));
		}
	}
	ARRAY_GROW(p->formed, p->n_formed, p->formed_capacity);
	p->formed[p->n_formed++] = batch;
	p->batches++;
}

/* A batch for each resolution, of the same images. */
static void form_batches(struct pipeline *p, struct pending *bucket, unsigned needs)
{
	size_t n = batch_size(p, bucket, needs);
	cleanup_free struct work **works = xcalloc(n, sizeof(struct work *));

	for (size_t i = 0; i < n; i++) {
		works[i] = work_list_pop(&bucket->works);
		works[i]->finished = xcalloc(1, sizeof(*works[i]->finished));
	}
	p->encoding += n;
	for (size_t r = 0; r < p->options.resolutions.n; r++)
		form_batch(p, bucket, works, n, r, needs);
}

static void submit_formed(struct pipeline *p, struct encode_driver *driver)
{
	struct encode_batch *batch = p->formed[0];

	memmove(p->formed, p->formed + 1, --p->n_formed * sizeof(struct encode_batch *));
	p->counts.pixels += (uint64_t)batch->n * batch->width * batch->height;
	encode_driver_submit(driver, batch);
	p->sent += batch->sent ? batch->n : 0;
}

static struct pending *fullest(struct pipeline *p)
{
	struct pending *best = NULL;

	for (size_t i = 0; i < p->n_pending; i++) {
		if (p->pending[i].works.n > 0 && (!best || p->pending[i].works.n > best->works.n))
			best = &p->pending[i];
	}
	return best;
}

/* All that is being opened is fetched, and nothing has come for long. Looks again when that may be so. */
static bool fetches_stall(struct pipeline *p)
{
	int64_t silent = clock_mono_ms() - p->fetched_at;

	if (p->fetching == 0 || p->fetching < p->opening || p->opened.n > 0)
		return false;
	if (silent >= FETCH_PATIENCE_MS)
		return true;
	sd_event_source_set_time_relative(p->fetch_timer,
					  (uint64_t)(FETCH_PATIENCE_MS - silent) * 1000);
	sd_event_source_set_enabled(p->fetch_timer, SD_EVENT_ONESHOT);
	return false;
}

/* No image can join a batch before one is encoded: nothing is being decoded, and nothing could start. */
static bool nothing_more_comes(struct pipeline *p)
{
	if (p->at_workers > p->waiting.n)
		return false;
	return p->waiting.n > 0 || p->options.memory->turn || pipeline_parking_is_full(p) ||
	       (p->ready.n == 0 && p->opening == 0 && p->opened.n == 0 && !p->claiming &&
		(p->claims_over || p->alone || p->paused || p->n_roots == 0 ||
		 p->may_claim != PIPELINE_CLAIMS)) ||
	       fetches_stall(p);
}

/* What is formed goes first: images wait for it. False: there is nothing to submit, or no room. */
static bool submit_one(struct pipeline *p)
{
	unsigned needs = p->n_formed > 0 ? formed_needs(p) : needs_of(p);
	struct encode_driver *driver = encode_group_pick(p->options.encoders, needs);
	struct pending *bucket = fullest(p);

	if (!driver || (p->n_formed == 0 && (!bucket || packer_is_behind(p->options.packer))))
		return false;
	if (p->n_formed == 0) {
		if (bucket->works.n < p->per_batch && !nothing_more_comes(p))
			return false;
		form_batches(p, bucket, needs);
	}
	submit_formed(p, driver);
	return true;
}

void pipeline_submit_batches(struct pipeline *p)
{
	while (!p->failed && submit_one(p))
		;
}

/* All its latents are there: what the packer gets. */
static struct finished finish(struct work *w)
{
	struct finished f = *w->finished;

	free(TAKE(w->finished));
	work_hand_over(w, &f);
	f.facts.header = w->header;
	memcpy(f.placements, w->placements, sizeof(f.placements));
	return f;
}

/* An error of one of its pictures: the first counts, but one to be tried again before others. */
static void note_failure(struct work *w, const struct error *why)
{
	if (!w->unencoded)
		w->unencoded = xcalloc(1, sizeof(*w->unencoded));
	if (w->unencoded->code == ERR_NONE || why->code == ERR_TRANSIENT)
		*w->unencoded = *why;
}

static size_t resolution_of(const struct work *w, const struct encode_item *first)
{
	const uint8_t *pixels = w->pixels;
	size_t r = 0;

	while (pixels != first->pixels)
		pixels += work_resolution_bytes(w, r++);
	return r;
}

/* What a batch has of one image. */
static void take_latents(struct work *w, struct encode_item *items, const char *engine)
{
	size_t each = w->pipeline->each, first = resolution_of(w, items) * each;

	for (size_t v = 0; v < each; v++) {
		if (items[v].error.code != ERR_NONE)
			note_failure(w, &items[v].error);
		w->finished->in_float32[first + v] = items[v].in_float32;
		w->finished->latents[first + v] = items[v].latent;
		items[v].latent = (struct ndarray)NDARRAY_INIT;
	}
	w->finished->engines[first / each] = xstrdup(engine);
}

/* What was answered is spent, a refusal of the image too; what is to be sent again is not. */
static void count_sent(struct pipeline *p, const struct encode_batch *batch)
{
	uint64_t spent = 0;

	if (!batch->sent)
		return;
	p->sent -= batch->n;
	for (size_t i = 0; i < batch->n; i++) {
		enum error_code code = batch->items[i].error.code;

		spent += code == ERR_NONE || code == ERR_DATA;
	}
	cost_guard_spend(p->options.guard, clock_mono_ms(), spent, 0);
}

/* The last of its batches is back: true, and it is in @out, or it ended otherwise. */
static bool end_image(struct work *w, struct finished *out)
{
	bool encoded = !w->unencoded;

	w->pipeline->encoding--;
	if (encoded) {
		*out = finish(w);
		work_free(w);
	} else if (w->unencoded->code == ERR_TRANSIENT) {
		work_released(w);
	} else {
		work_failed(w, w->unencoded);
	}
	return encoded;
}

static void take_batch(struct pipeline *p, struct encode_batch *batch)
{
	size_t images = batch->n / p->each, n = 0;
	struct finished *finished = xcalloc(images, sizeof(*finished));

	p->batches--;
	for (size_t i = 0; i < images; i++) {
		struct encode_item *items = &batch->items[i * p->each];
		struct work *w = items[0].owner;

		take_latents(w, items, batch->engine);
		if (--w->batches == 0 && end_image(w, &finished[n]))
			n++;
	}
	if (n > 0)
		packer_append(p->options.packer, finished, n);
	else
		free(finished);
	encode_batch_free(batch);
}

/* As if an encoder had given them back. */
static void give_back(struct encode_batch *batch, const struct error *why)
{
	for (size_t i = 0; i < batch->n; i++)
		batch->items[i].error = *why;
}

void pipeline_on_batch(struct encode_batch *batch, const struct error *failure)
{
	struct pipeline *p = ((const struct work *)batch->items[0].owner)->pipeline;
	struct error again = ERROR_INIT;

	count_sent(p, batch);
	if (failure->code != ERR_NONE) {
		error_set(&again, ERR_TRANSIENT, "%s", failure->message);
		give_back(batch, &again);
	}
	take_batch(p, batch);
	if (failure->code != ERR_NONE)
		pipeline_fail(p, failure);
}

void pipeline_drop_formed(struct pipeline *p)
{
	struct error why = ERROR_INIT;

	error_set(&why, ERR_TRANSIENT, "it was not encoded");
	while (p->n_formed > 0) {
		struct encode_batch *batch = p->formed[--p->n_formed];

		give_back(batch, &why);
		take_batch(p, batch);
	}
}
