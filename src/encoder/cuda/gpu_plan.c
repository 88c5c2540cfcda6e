#include "gpu_plan.h"

#include "gpu_arena.h"

#include <string.h>

enum {
	CHUNK_PIXELS = 512,
	LEAST_QUERIES = 128,
	GOOD_PIXELS = 32 * 256 * 256,
};

#define SCORE_BYTES	 ((int64_t)32 << 20)
#define SMALLEST_BAND	 ((size_t)2 << 20)
#define LEAN_BAND	 ((size_t)8 << 20)
#define LARGEST_ELEMENTS ((int64_t)1 << 30) /* of a map in one call: libraries count in 32 bits */
#define HUGE_BYTES	 ((double)(SIZE_MAX / 4))

int64_t gpu_plan_chunk_rows(int64_t height, int64_t width)
{
	int64_t rows = width < CHUNK_PIXELS ? CHUNK_PIXELS / width : 1;

	return rows < height ? rows : height;
}

int64_t gpu_plan_good_batch(int64_t height, int64_t width)
{
	int64_t n = (int64_t)GOOD_PIXELS / (height * width);

	return n < 1 ? 1 : n > 64 ? 64 : n;
}

static int64_t map_height(const struct gpu_plan *p, const struct gpu_map *m)
{
	return p->shape.height >> m->level;
}

static int64_t map_width(const struct gpu_plan *p, const struct gpu_map *m)
{
	return p->shape.width >> m->level;
}

static int64_t map_elements(const struct gpu_plan *p, const struct gpu_map *m)
{
	return map_height(p, m) * map_width(p, m) * m->channels;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

struct gpu_map gpu_plan_seen(const struct gpu_steps *steps, const struct gpu_step *step)
{
	struct gpu_map map = steps->maps[step->in];

	map.level -= (uint32_t)step->up;
	return map;
}

/* -- pieces --------------------------------------------------------------------------------------- */

/* Rows of the output whose input, with its halo, is at most @elements; whole chunks. */
static int64_t rows_within(const struct gpu_plan *p, const struct gpu_map *in,
			   const struct gpu_map *out, int64_t elements)
{
	int64_t stride = (int64_t)1 << (out->level - in->level), height = map_height(p, out);
	int64_t chunk = gpu_plan_chunk_rows(height, map_width(p, out));
	int64_t rows = elements / (map_width(p, in) * in->channels) - 2;

	rows = rows / stride / chunk * chunk;
	rows = larger(rows, chunk * ((3 + chunk) / chunk)); /* the halo is copied within the band */
	return rows < height ? rows : height;
}

static struct gpu_pieces pieces_of(const struct gpu_plan *p, const struct gpu_map *in,
				   const struct gpu_map *out, bool in_band)
{
	int64_t height = map_height(p, out), n = p->shape.n;
	int64_t most = larger(map_elements(p, in), map_elements(p, out));
	int64_t band = (int64_t)(p->shape.band_bytes / p->shape.element);
	int64_t per_row = larger(1, map_elements(p, out) / map_elements(p, in));

	if (in_band && p->shape.band_bytes && map_elements(p, in) > band)
		return (struct gpu_pieces){1, rows_within(p, in, out, band)};
	if (most > LARGEST_ELEMENTS)
		return (struct gpu_pieces){1, rows_within(p, in, out, LARGEST_ELEMENTS / per_row)};
	if (most * n > LARGEST_ELEMENTS)
		return (struct gpu_pieces){1, height};
	return (struct gpu_pieces){n, height};
}

struct gpu_attention_scratch gpu_plan_attention(const struct gpu_plan *plan, int64_t tokens,
						int64_t channels)
{
	size_t rows = (size_t)(plan->attend_images * plan->attend_queries),
	       element = plan->shape.element;
	size_t align = GPU_ARENA_ALIGN;
	struct gpu_attention_scratch s = {0};

	/* float32 probabilities replace their scores */
	s.probabilities = element == 4 ? 0 : rows * (size_t)tokens * 4;
	s.products = rows * (size_t)tokens * (element == 4 ? 4 : 4 + element);
	s.products = (s.products + align - 1) / align * align;
	s.inverse = s.products + rows * (size_t)channels * 4;
	s.size = s.inverse + rows * 4;
	return s;
}

static void plan_attention(struct gpu_plan *p, int64_t tokens)
{
	int64_t fit = SCORE_BYTES / 4 / tokens;

	p->attend_images = 1;
	p->attend_queries = larger(fit / LEAST_QUERIES * LEAST_QUERIES, LEAST_QUERIES);
	if (p->attend_queries >= tokens) {
		p->attend_queries = tokens;
		p->attend_images = larger(1, fit / tokens);
	}
	if (p->attend_images > p->shape.n)
		p->attend_images = p->shape.n;
}

struct gpu_resnet_scratch gpu_plan_resnet(const struct gpu_plan *p, const struct gpu_step *step,
					  int64_t rows)
{
	const struct gpu_map *in = &p->steps->maps[step->in], *out = &p->steps->maps[step->out];
	size_t element = p->shape.element, align = GPU_ARENA_ALIGN, at = 0;
	size_t row = (size_t)map_width(p, in) * element;
	/* of an output of n rows: n + 2 of what is convolved, which is an output of n + 1 in its turn */
	const size_t sizes[4] = {
	    (size_t)(rows + 3) * row * in->channels, (size_t)(rows + 1) * row * out->channels,
	    (size_t)(rows + 2) * row * out->channels, (size_t)rows * row * out->channels};
	size_t places[4];

	for (size_t i = 0; i < 4; i++) {
		places[i] = at;
		at += (sizes[i] + align - 1) / align * align;
	}
	return (struct gpu_resnet_scratch){places[0], places[1], places[2], places[3], at};
}

static size_t resnet_scratch(struct gpu_plan *p, const struct gpu_step *step,
			     struct gpu_pieces *pieces)
{
	const struct gpu_map *in = &p->steps->maps[step->in], *out = &p->steps->maps[step->out];
	int64_t band = (int64_t)(p->shape.band_bytes / p->shape.element);

	if (p->shape.band_bytes == 0)
		band = INT64_MAX;
	*pieces = (struct gpu_pieces){
	    1, rows_within(p, in, out, band < LARGEST_ELEMENTS ? band : LARGEST_ELEMENTS)};
	p->banded = p->banded || pieces->rows < map_height(p, in);
	return gpu_plan_resnet(p, step, pieces->rows).size;
}

static size_t scratch_of(struct gpu_plan *p, const struct gpu_steps *steps, size_t i)
{
	const struct gpu_step *step = &steps->steps[i];
	const struct gpu_map *in = step->in == GPU_NONE ? NULL : &steps->maps[step->in];
	struct gpu_pieces *pieces = &p->pieces[i];
	bool in_band = step->norm != GPU_NONE || step->up;
	struct gpu_map seen;
	int64_t rows;

	if (step->kind == GPU_ATTENTION) {
		int64_t tokens = map_height(p, in) * map_width(p, in);

		plan_attention(p, tokens);
		return gpu_plan_attention(p, tokens, in->channels / 3).size;
	}
	if (step->kind == GPU_RESNET)
		return resnet_scratch(p, step, pieces);
	if (step->kind != GPU_CONV_STEP)
		return 0;
	seen = gpu_plan_seen(steps, step);
	*pieces = pieces_of(p, &seen, &steps->maps[step->out], in_band || step->over);
	if (step->over) {
		const struct gpu_map *out = &steps->maps[step->out];

		return (size_t)(pieces->rows * map_width(p, out) * out->channels) *
		       p->shape.element;
	}
	if (!in_band)
		return 0;
	rows = pieces->rows + 2 < map_height(p, &seen) ? pieces->rows + 2 : map_height(p, &seen);
	p->banded = p->banded || pieces->rows < map_height(p, &seen);
	return (size_t)(pieces->images * rows * map_width(p, &seen) * seen.channels) *
	       p->shape.element;
}

/* -- the arena ------------------------------------------------------------------------------------ */

struct layout {
	struct gpu_arena_item items[GPU_ARENA_ITEMS];
	size_t *places[GPU_ARENA_ITEMS]; /* where the offset goes */
	size_t n;
};

static void place(struct layout *l, size_t bytes, int first, int last, size_t *offset)
{
	l->items[l->n] = (struct gpu_arena_item){.bytes = bytes, .first = first, .last = last};
	l->places[l->n++] = offset;
}

/* What lives all the time: both slots, and what norms need. */
static void place_fixed(struct layout *l, struct gpu_plan *p, const struct gpu_steps *steps)
{
	int last = (int)steps->n_steps;
	size_t n = (size_t)p->shape.n, partials = 0, channels = 0;
	size_t height = (size_t)p->shape.height, width = (size_t)p->shape.width;
	size_t input = gpu_port_values(&steps->input, height, width) * steps->input.element;
	size_t result = gpu_port_values(&steps->result, height, width) * steps->result.element;

	for (size_t i = 0; i < steps->n_maps; i++) {
		const struct gpu_map *m = &steps->maps[i];
		int64_t high = map_height(p, m), rows = gpu_plan_chunk_rows(high, map_width(p, m));
		size_t sums = (size_t)((high + rows - 1) / rows) * m->channels;

		partials = sums > partials ? sums : partials;
		channels = m->channels > channels ? m->channels : channels;
	}
	for (int s = 0; s < GPU_SLOTS; s++) {
		place(l, n * input, 0, last, &p->input[s]);
		place(l, n * result, 0, last, &p->result[s]);
		place(l, n * 4, 0, last, &p->flags[s]);
	}
	place(l, n * partials * 8, 0, last, &p->partials);
	place(l, n * channels * 4, 0, last, &p->scale);
	place(l, n * channels * 4, 0, last, &p->shift);
	place(l, n * channels * 4, 0, last, &p->scale2);
	place(l, n * channels * 4, 0, last, &p->shift2);
}

/* A few maps more than there can be at once, as a bound for sizes that would overflow. */
static bool is_beyond_reason(const struct gpu_steps *steps, const struct gpu_shape *shape)
{
	double widest = 0;

	for (size_t i = 0; i < steps->n_maps; i++)
		widest = steps->maps[i].channels > widest ? steps->maps[i].channels : widest;
	return shape->n <= 0 || shape->height <= 0 || shape->width <= 0 ||
	       (double)shape->n * (double)shape->height * (double)shape->width * widest * 64 >
		   HUGE_BYTES;
}

void gpu_plan_make(const struct gpu_steps *steps, const struct gpu_shape *shape,
		   struct gpu_plan *out)
{
	struct layout l = {.n = 0};

	memset(out, 0, sizeof(*out));
	out->steps = steps;
	out->shape = *shape;
	out->arena = SIZE_MAX;
	if (is_beyond_reason(steps, shape))
		return;
	place_fixed(&l, out, steps);
	for (size_t i = 0; i < steps->n_steps; i++)
		place(&l, scratch_of(out, steps, i), (int)i, (int)i, &out->scratch[i]);
	for (size_t i = 0; i < steps->n_maps; i++) {
		const struct gpu_map *m = &steps->maps[i];

		place(&l, (size_t)(shape->n * map_elements(out, m)) * shape->element, m->first,
		      m->last, &out->maps[i]);
		if (m->over != GPU_NONE)
			l.items[l.n - 1].over = &l.items[l.n - 1 - (i - (size_t)m->over)];
	}
	out->arena = gpu_arena_plan(l.items, l.n);
	for (size_t i = 0; i < l.n; i++)
		*l.places[i] = l.items[i].offset;
}

/* One image in smaller and smaller bands. */
static bool find_bands(const struct gpu_steps *steps, struct gpu_shape shape, gpu_fits_fn fits,
		       void *arg, struct gpu_plan *out)
{
	for (; shape.band_bytes >= SMALLEST_BAND; shape.band_bytes /= 2) {
		gpu_plan_make(steps, &shape, out);
		if (out->arena != SIZE_MAX && fits(arg, out))
			return true;
	}
	return false;
}

bool gpu_plan_find(const struct gpu_steps *steps, const struct gpu_shape *wanted, gpu_fits_fn fits,
		   void *arg, struct gpu_plan *out)
{
	struct gpu_shape shape = *wanted;

	for (; shape.n >= 1; shape.n /= 2) {
		gpu_plan_make(steps, &shape, out);
		if (out->arena != SIZE_MAX && fits(arg, out))
			return true;
	}
	shape.n = 1;
	shape.band_bytes = shape.band_bytes ? shape.band_bytes : SMALLEST_BAND * 32;
	if (find_bands(steps, shape, fits, arg, out))
		return true;
	shape.band_bytes = LEAN_BAND;
	return steps->lean && find_bands(steps->lean, shape, fits, arg, out);
}
