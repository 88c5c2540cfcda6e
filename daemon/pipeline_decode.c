/*
 * A file is hashed, measured and drawn by a decode worker. The next ones stand ready behind it: read and
 * looked up, and with memory of their own where there is plenty.
 */
#include "daemon/pipeline_parts.h"

#include "base/checked.h"
#include "base/clock.h"

#include <string.h>
#include <unistd.h>

enum { BATCHES_AHEAD = 4, OPENED_AHEAD = 2, PATIENCE_MS = 1000 };

/* What opening, hashing and looking at a file take, as pixels: 0.2 ms where a megapixel takes 3. */
#define FILE_PIXELS ((uint64_t)1 << 16)

static void start_one(struct pipeline *p, struct work *w)
{
	p->at_workers++;
	decode_pool_start(p->options.pool, w->fd, w);
	if (p->options.alpha)
		work_keep_file(w);
	else
		close(TAKE_FD(w->fd));
}

/* Whole batches that the encoder has no room for yet. */
static size_t batches_ahead(const struct pipeline *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_pending; i++)
		n += p->pending[i].works.n / p->per_batch;
	return n;
}

static bool may_start(const struct pipeline *p)
{
	return pipeline_begins(p) && p->waiting.n == 0 && !pipeline_parking_is_full(p) &&
	       !packer_is_behind(p->options.packer) && batches_ahead(p) < BATCHES_AHEAD;
}

void pipeline_start_decodes(struct pipeline *p)
{
	size_t room;

	while (p->opened.n > 0 && decode_pool_room(p->options.pool) > 0 && may_start(p))
		start_one(p, work_list_pop(&p->opened));
	room = decode_pool_room(p->options.pool) + OPENED_AHEAD;
	while (p->ready.n > 0 && may_start(p) &&
	       p->opening + p->opened.n < room + pipeline_fetches(p, p->ready.first))
		pipeline_open_file(p, work_list_pop(&p->ready));
}

void pipeline_on_hashed(void *image, const struct hash128 *content, uint64_t bytes)
{
	struct work *w = image;

	w->content = *content;
	w->has_content = true;
	w->file_bytes = bytes;
}

void pipeline_on_header(void *image, const struct image_header *header,
			struct decode_ticket *ticket)
{
	struct work *w = image;

	w->header = *header;
	w->has_header = true;
	w->ticket = ticket;
	if (header->format == IMAGE_JPEG) /* which has no alpha */
		work_drop_file(w);
	pipeline_look_up(w);
}

void pipeline_decode(struct work *w)
{
	struct pipeline *p = w->pipeline;
	size_t width = w->header.width, height = w->header.height, skips;

	if (p->options.recipe->policy.apply_exif)
		image_oriented_size(&w->header, &width, &height);
	skips = resolutions_place(&p->options.resolutions, width, height, w->placements);
	if (skips < p->options.resolutions.n) {
		work_skip_decode(w);
		work_skipped(w, skips, width, height);
	} else {
		w->waits_since = clock_mono_ms();
		work_list_push(&p->waiting, w);
	}
}

/* What is drawn for one resolution: all crops, and no more. */
static struct render_geometry geometry_of(const struct work *w, size_t resolution)
{
	const struct bucket_placement *at = &w->placements[resolution];
	const struct recipe *recipe = w->pipeline->options.recipe;
	size_t left = at->crop_left, top = at->crop_top, right = left, bottom = top;

	for (unsigned crop = 1; crop <= recipe->crops; crop++) {
		size_t x, y;

		variant_place(at, &w->content, recipe->seed, 2 * crop, &x, &y);
		left = x < left ? x : left;
		top = y < top ? y : top;
		right = x > right ? x : right;
		bottom = y > bottom ? y : bottom;
	}
	return (struct render_geometry){at->resized_width,
					at->resized_height,
					left,
					top,
					right - left + at->target_width,
					bottom - top + at->target_height,
					recipe->filter};
}

/* Of all resolutions; their number. */
static size_t geometries_of(const struct work *w, struct render_geometry out[RESOLUTIONS_MAX])
{
	size_t n = w->pipeline->options.resolutions.n;

	for (size_t i = 0; i < n; i++)
		out[i] = geometry_of(w, i);
	return n;
}

/* One variant out of what was drawn of its resolution. */
static void take_variant(const struct work *w, size_t resolution,
			 const struct render_geometry *drawn, const uint8_t *pixels,
			 uint32_t variant, uint8_t *out)
{
	const struct bucket_placement *at = &w->placements[resolution];
	struct image picture = {at->target_width, at->target_height, out};
	size_t row = picture.width * 3, left, top;

	variant_place(at, &w->content, w->pipeline->options.recipe->seed, variant, &left, &top);
	pixels += ((top - drawn->top) * drawn->width + left - drawn->left) * 3;
	for (size_t y = 0; y < picture.height; y++)
		memcpy(out + y * row, pixels + y * drawn->width * 3, row);
	if (variant_is_mirrored(variant))
		image_mirror(&picture);
}

static void take_pixels(struct work *w, const uint8_t *pixels)
{
	const struct pipeline *p = w->pipeline;
	struct render_geometry drawn[RESOLUTIONS_MAX];
	size_t n = geometries_of(w, drawn);
	uint8_t *out;

	out = w->pixels = xmalloc(work_pixel_bytes(w));
	for (size_t r = 0; r < n; r++) {
		for (size_t i = 0; i < p->each; i++) {
			take_variant(w, r, &drawn[r], pixels,
				     recipe_variant(p->options.recipe, r * p->each + i), out);
			out += work_picture_bytes(w, r);
		}
		pixels += drawn[r].width * drawn[r].height * 3;
	}
}

static bool is_of(const struct pending *bucket, const struct work *w)
{
	for (size_t i = 0; i < w->pipeline->options.resolutions.n; i++) {
		if (bucket->sizes[i].width != w->placements[i].target_width ||
		    bucket->sizes[i].height != w->placements[i].target_height)
			return false;
	}
	return true;
}

static struct pending *pending_of(struct pipeline *p, const struct work *w)
{
	struct pending *bucket;

	for (size_t i = 0; i < p->n_pending; i++) {
		if (is_of(&p->pending[i], w))
			return &p->pending[i];
	}
	ARRAY_GROW(p->pending, p->n_pending, p->pending_capacity);
	bucket = &p->pending[p->n_pending++];
	*bucket = (struct pending){.works = WORK_LIST_INIT};
	for (size_t i = 0; i < p->options.resolutions.n; i++)
		bucket->sizes[i] = (struct picture_size){w->placements[i].target_width,
							 w->placements[i].target_height};
	return bucket;
}

void pipeline_on_done(void *image, const uint8_t *pixels)
{
	struct work *w = image;

	work_left_worker(w);
	take_pixels(w, pixels);
	work_reserve(w, work_pixel_bytes(w) + (w->keeps_file ? w->file_bytes : 0));
	work_list_push(&pending_of(w->pipeline, w)->works, w);
}

/* What was hashed may be stored already, whatever its header is like. */
void pipeline_on_failed(void *image, const struct error *why)
{
	struct work *w = image;
	bool looked_up = w->has_header || !w->has_content;

	work_left_worker(w);
	if (looked_up && !w->asking) {
		if (TAKE(w->ticket))
			work_list_remove(&w->pipeline->waiting, w);
		work_failed(w, why);
		return;
	}
	w->ticket = NULL;
	w->failure = xmalloc(sizeof(*why));
	*w->failure = *why;
	if (!looked_up)
		pipeline_look_up(w);
}

void pipeline_on_returned(void *image)
{
	struct work *w = image;

	work_left_worker(w);
	if (w->asking) {
		w->ticket = NULL;
		w->returned = true;
		return;
	}
	if (TAKE(w->ticket))
		work_list_remove(&w->pipeline->waiting, w);
	work_again(w);
}

/* Memory that decoding takes, the file and the result included. */
static size_t decode_need(const struct pipeline *p, const struct work *w)
{
	struct render_geometry geometries[RESOLUTIONS_MAX];
	size_t n = geometries_of(w, geometries);
	size_t need = image_render_bytes(&w->header, &p->options.recipe->policy, geometries, n);

	if (!size_add(need, w->file_bytes, &need) || !size_add(need, work_pixel_bytes(w), &need))
		return SIZE_MAX;
	return need;
}

static void place(struct pipeline *p, struct work *w, size_t need)
{
	struct render_geometry geometries[RESOLUTIONS_MAX];
	size_t n = geometries_of(w, geometries);

	work_list_remove(&p->waiting, w);
	work_reserve(w, need);
	p->counts.drawn += FILE_PIXELS + (uint64_t)w->header.width * w->header.height;
	for (size_t i = 0; i < n; i++)
		p->counts.drawn += (uint64_t)geometries[i].width * geometries[i].height;
	decode_pool_place(TAKE(w->ticket), geometries, n, &p->options.recipe->policy);
}

/*
 * The first whose worker would draw it at once, or that stands in line for long, perhaps because images of other datasets
 * always come before it. NULL: none.
 */
static struct work *first_urgent(const struct pipeline *p)
{
	int64_t now = p->waiting.first ? clock_mono_ms() : 0;
	struct work *w = p->waiting.first;

	while (w && now - w->waits_since < PATIENCE_MS && decode_pool_would_wait(w->ticket))
		w = w->next;
	return w;
}

/* What would stand in line takes no memory that another worker could use meanwhile. */
void pipeline_place_waiting(struct pipeline *p)
{
	struct work *w;
	size_t need;

	while ((w = first_urgent(p))) {
		need = decode_need(p, w);
		if (!memory_budget_allows(p->options.memory, p, need))
			return;
		place(p, w, need);
	}
	memory_budget_pass(p->options.memory, p);
	while ((w = p->waiting.first)) {
		need = decode_need(p, w);
		if (!memory_budget_spares(p->options.memory, p, need))
			return;
		place(p, w, need);
	}
}
