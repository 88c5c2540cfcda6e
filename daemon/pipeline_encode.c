/*
 * Batches of one size, and what comes back of them.
 */
#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"

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

static void submit(struct pipeline *p, struct pending *bucket, unsigned needs)
{
	size_t n = batch_size(p, bucket, needs);
	struct encode_batch *batch = encode_batch_new(n * p->variants);

	batch->here = needs & ENCODE_HERE;
	batch->width = bucket->width;
	batch->height = bucket->height;
	batch->posterior = p->options.recipe->posterior;
	batch->seed = p->options.recipe->seed;
	batch->tile = p->options.recipe->tile;
	for (size_t i = 0; i < n; i++) {
		struct work *w = work_list_pop(&bucket->works);

		for (size_t v = 0; v < p->variants; v++) {
			struct encode_item *item = &batch->items[i * p->variants + v];

			item->owner = w;
			item->pixels = w->pixels + v * work_picture_bytes(w);
			item->content =
			    variant_noise(&w->content, recipe_variant(p->options.recipe, v));
		}
	}
	p->batches++;
	p->encoding += n;
	p->counts.pixels += (uint64_t)batch->n * batch->width * batch->height;
	encode_group_submit(p->options.encoders, batch);
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

/* No image can join a batch before one is encoded: nothing is being decoded, and nothing could start. */
static bool nothing_more_comes(const struct pipeline *p)
{
	if (p->at_workers > p->waiting.n)
		return false;
	return p->waiting.n > 0 || p->options.memory->turn || pipeline_parking_is_full(p) ||
	       (p->ready.n == 0 && p->opening == 0 && p->opened.n == 0 && !p->claiming &&
		(p->claims_over || p->alone || p->paused || p->n_roots == 0));
}

void pipeline_submit_batches(struct pipeline *p)
{
	while (!p->failed && !packer_is_behind(p->options.packer)) {
		unsigned needs = needs_of(p);
		struct pending *bucket = fullest(p);

		if (!bucket || !encode_group_room(p->options.encoders, needs))
			return;
		if (bucket->works.n < p->per_batch && !nothing_more_comes(p))
			return;
		submit(p, bucket, needs);
	}
}

/* @items: of all its variants. */
static struct finished finish(struct work *w, struct encode_item *items, const char *engine)
{
	struct finished f = {.job = w->job.id, .fence = w->job.fence, .rank = w->job.rank};

	f.key = TAKE(w->job.key);
	f.path = TAKE(w->job.path);
	f.caption = TAKE(w->caption);
	f.meta = TAKE(w->meta);
	f.again = w->job.has_content;
	f.facts.content = w->content;
	f.facts.header = w->header;
	f.facts.placement = w->placement;
	f.facts.captions = w->pipeline->options.captions;
	f.engine = xstrdup(engine);
	for (size_t v = 0; v < w->pipeline->variants; v++) {
		f.in_float32[v] = items[v].in_float32;
		f.latents[v] = items[v].latent;
		items[v].latent = (struct ndarray)NDARRAY_INIT;
	}
	return f;
}

/* Of its variants the first that failed, one to be tried again before others; NULL: none. */
static const struct error *item_error(const struct encode_item *items, size_t n)
{
	const struct error *first = NULL;

	for (size_t v = 0; v < n; v++) {
		const struct error *e = &items[v].error;

		if (e->code == ERR_TRANSIENT)
			return e;
		if (e->code != ERR_NONE && !first)
			first = e;
	}
	return first;
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

void pipeline_on_batch(struct encode_batch *batch, const struct error *failure)
{
	struct pipeline *p = ((const struct work *)batch->items[0].owner)->pipeline;
	size_t images = batch->n / p->variants, n = 0;
	struct finished *finished = xcalloc(images, sizeof(*finished));

	p->batches--;
	p->encoding -= images;
	count_sent(p, batch);
	for (size_t i = 0; i < images; i++) {
		struct encode_item *items = &batch->items[i * p->variants];
		const struct error *why = item_error(items, p->variants);
		struct work *w = items[0].owner;

		if (failure->code != ERR_NONE || (why && why->code == ERR_TRANSIENT)) {
			work_released(w);
		} else if (why) {
			work_failed(w, why);
		} else {
			finished[n++] = finish(w, items, batch->engine);
			work_free(w);
		}
	}
	if (n > 0)
		packer_append(p->options.packer, finished, n);
	else
		free(finished);
	encode_batch_free(batch);
	if (failure->code != ERR_NONE)
		pipeline_fail(p, failure);
}
