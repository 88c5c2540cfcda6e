/*
 * A normed convolution goes band by band: rows of its input are normed into the band, then convolved, then the sums of
 * what came out are taken while it is still in the cache. One that sees its input in twice its size does the same with
 * rows that are repeated. The last two rows of a band are the first two of the next.
 * They are copied, not normed again; so a row of the input is not read once it may have been written, and the output
 * may take the input's place.
 *
 * Where a map less must do (gpu_layers.h: GPU_RESNET), what is between the two convolutions of a block is a band too. It is
 * computed once for its norm's sums, and once more, band by band, for the second convolution, whose output is put where
 * the block's input was.
 */
#include "gpu_network_parts.h"

/* -- convolutions --------------------------------------------------------------------------------- */

/* A piece of a convolution: rows @first and following of images @image and following. */
struct piece {
	size_t index;
	const struct gpu_step *step;
	struct gpu_rows in, out; /* whole maps, n images at once; in as it is seen */
	int64_t image;
	int64_t first, rows; /* of the output */
	int64_t in_first, in_rows;
	struct conv_problem problem;
};

/* @layer: of the convolution; @added: to a map */
static void aim(const struct gpu_run *run, struct piece *p, int layer, bool added)
{
	const struct gpu_param *param = &run->net->model->params[layer];
	int64_t stride = param->stride, before = stride == 1 ? 1 : 0, top, bottom;

	top = p->first * stride - before;
	bottom = (p->first + p->rows - 1) * stride - before + 3;
	p->in_first = top > 0 ? top : 0;
	p->in_rows = (bottom < p->in.height ? bottom : p->in.height) - p->in_first;
	p->problem = (struct conv_problem){
	    .n = p->in.n,
	    .height = p->in_rows,
	    .width = p->in.width,
	    .in = p->in.channels,
	    .out = p->out.channels,
	    .kernel = 3,
	    .stride = stride,
	    .pad_top = p->in_first - top,
	    .pad_bottom = bottom - (p->in_first + p->in_rows),
	    .pad_left = before,
	    .pad_right = 1,
	    .dtype = run->device->dtype,
	    .epilogue = added ? CONV_BIAS_ADD : CONV_BIAS,
	    .tf32 = run->device->tf32,
	};
}

/* The rows that the piece reads, from its input in half their size. */
static int repeat(const struct gpu_run *run, const struct piece *p, const struct gpu_rows *rows,
		  void *out)
{
	int64_t half = p->in.height / 2 * (p->in.width / 2) * p->in.channels;

	return run->ops->repeat(run->device, out, gpu_run_map(run, p->step->in, p->image * half),
				rows, run->err);
}

/* The rows that the piece reads, normed or repeated, in the band; *x is where they begin. */
static int fill_band(const struct gpu_run *run, const struct piece *p, int64_t previous_rows,
		     void **x)
{
	int64_t row = p->in.width * p->in.channels;
	size_t bytes = (size_t)row * run->plan->shape.element, kept = p->first > 0 ? 2 : 0;
	uint8_t *band = gpu_run_at(run, run->plan->scratch[p->index]);
	struct gpu_rows rows = p->in;

	*x = band;
	if (kept && run->ops->copy(run->device, band, band + (size_t)(previous_rows - 2) * bytes,
				   2 * bytes, run->err) < 0)
		return -1;
	rows.first = p->in_first + (int64_t)kept;
	rows.rows = p->in_rows - (int64_t)kept;
	if (rows.rows == 0)
		return 0;
	band += kept * bytes;
	return p->step->up ? repeat(run, p, &rows, band)
			   : gpu_run_apply(run, p->step, p->image, &rows, band);
}

static int conv_piece(const struct gpu_run *run, struct piece *p, int64_t previous_rows)
{
	const struct gpu_step *step = p->step;
	int64_t in_row = p->in.width * p->in.channels, out_row = p->out.width * p->out.channels;
	bool in_band = step->norm != GPU_NONE || step->up;
	int64_t out_at = (p->image * p->out.height + p->first) * out_row;
	struct gpu_conv *conv = gpu_network_conv(run->net, &p->problem, run->err);
	struct gpu_rows written = p->out;
	void *x = NULL, *y;

	if (!conv)
		return -1;
	if (!run->arena)
		return 0;
	if (in_band && fill_band(run, p, previous_rows, &x) < 0)
		return -1;
	if (!in_band)
		x = gpu_run_map(run, step->in, (p->image * p->in.height + p->in_first) * in_row);
	y = step->over ? gpu_run_at(run, run->plan->scratch[p->index])
		       : gpu_run_map(run, step->out, out_at);
	if (run->ops->conv(
		run->device, conv, x, run->net->weights[step->layer], run->net->biases[step->layer],
		step->z == GPU_NONE ? NULL : gpu_run_map(run, step->z, out_at), y, run->err) < 0)
		return -1;
	/* A row of it is half of one of the input: what is written over has been read. */
	if (step->over &&
	    run->ops->copy(run->device, gpu_run_map(run, step->out, out_at), y,
			   (size_t)(p->rows * out_row) * run->plan->shape.element, run->err) < 0)
		return -1;
	written.first = p->first;
	written.rows = p->rows;
	return step->stats ? gpu_run_sums(run, step->out, p->image, &written) : 0;
}

int gpu_run_conv(const struct gpu_run *run, size_t index)
{
	const struct gpu_pieces *pieces = &run->plan->pieces[index];
	struct piece p = {.index = index, .step = &run->steps->steps[index]};
	struct gpu_map seen = gpu_plan_seen(run->steps, p.step);

	p.in = gpu_run_rows(run, &seen);
	p.out = gpu_run_rows_of(run, p.step->out);
	if (run->arena && p.step->norm != GPU_NONE &&
	    gpu_run_norm(run, p.step->norm, &p.in, run->plan->scale, run->plan->shift) < 0)
		return -1;
	p.in.n = p.out.n = pieces->images;
	for (p.image = 0; p.image < run->plan->shape.n; p.image += pieces->images) {
		int64_t previous_rows = 0;

		for (p.first = 0; p.first < p.out.height; p.first += pieces->rows) {
			int64_t left = p.out.height - p.first;

			p.rows = left < pieces->rows ? left : pieces->rows;
			aim(run, &p, p.step->layer, p.step->z != GPU_NONE);
			if (conv_piece(run, &p, previous_rows) < 0)
				return -1;
			previous_rows = p.in_rows;
		}
	}
	return 0;
}

/* -- a block in one map --------------------------------------------------------------------------- */

struct resnet {
	const struct gpu_run *run;
	const struct gpu_step *step;
	struct gpu_rows in, out;
	int shortcut, norm2, conv2; /* parameters; the first GPU_NONE */
	uint8_t *x, *inner, *normed, *y;
	int64_t x_rows, normed_rows; /* in the bands now */
};

static size_t row_bytes(const struct resnet *r, const struct gpu_rows *map)
{
	return (size_t)(map->width * map->channels) * r->run->plan->shape.element;
}

/* Some rows as a map of their own. */
static struct gpu_rows band_of(const struct gpu_rows *map, int64_t rows)
{
	return (struct gpu_rows){1, rows, map->width, map->channels, 0, rows};
}

/* The band's last two rows to its beginning, where it goes on. */
static int keep_two(const struct resnet *r, uint8_t *band, int64_t rows, size_t row)
{
	return r->run->ops->copy(r->run->device, band, band + (size_t)(rows - 2) * row, 2 * row,
				 r->run->err);
}

/* The inner map's rows @first and following, which come in order, into their band. */
static int make_inner(struct resnet *r, int64_t first, int64_t rows)
{
	const struct gpu_run *run = r->run;
	struct piece p = {.in = r->in, .out = r->out, .first = first, .rows = rows};
	struct gpu_rows fresh = r->in;
	int64_t kept = first > 0 ? 2 : 0;
	struct gpu_conv *conv;

	aim(run, &p, r->step->layer, false);
	conv = gpu_network_conv(run->net, &p.problem, run->err);
	if (!conv)
		return -1;
	if (!run->arena)
		return 0;
	if (kept && keep_two(r, r->x, r->x_rows, row_bytes(r, &r->in)) < 0)
		return -1;
	fresh.first = p.in_first + kept;
	fresh.rows = p.in_rows - kept;
	r->x_rows = p.in_rows;
	if (fresh.rows > 0 &&
	    gpu_run_apply(run, r->step, 0, &fresh, r->x + (size_t)kept * row_bytes(r, &r->in)) < 0)
		return -1;
	return run->ops->conv(run->device, conv, r->x, run->net->weights[r->step->layer],
			      run->net->biases[r->step->layer], NULL, r->inner, run->err);
}

/* The factors of the inner map's norm. */
static int measure_inner(struct resnet *r, int64_t most)
{
	const struct gpu_run *run = r->run;
	const struct gpu_chunks chunks = gpu_run_chunks(&r->out);

	for (int64_t first = 0; first < r->out.height; first += most) {
		int64_t left = r->out.height - first, rows = left < most ? left : most;
		struct gpu_rows band = band_of(&r->out, rows);
		size_t skipped = (size_t)(first / chunks.chunk_rows * r->out.channels * 2);

		if (make_inner(r, first, rows) < 0)
			return -1;
		if (run->arena &&
		    run->ops->sums(run->device,
				   (float *)gpu_run_at(run, run->plan->partials) + skipped,
				   r->inner, &band, &chunks, run->err) < 0)
			return -1;
	}
	if (!run->arena)
		return 0;
	return gpu_run_norm(run, r->norm2, &r->out, run->plan->scale2, run->plan->shift2);
}

/* Rows of what the second convolution reads, of which @fresh are new and the inner band has them. */
static int fill_normed(struct resnet *r, int64_t rows, int64_t fresh)
{
	const struct gpu_run *run = r->run;
	const struct gpu_rows band = band_of(&r->out, fresh);
	size_t row = row_bytes(r, &r->out);

	if (rows > fresh && keep_two(r, r->normed, r->normed_rows, row) < 0)
		return -1;
	r->normed_rows = rows;
	if (fresh == 0)
		return 0;
	return run->ops->apply(run->device, r->normed + (size_t)(rows - fresh) * row, r->inner,
			       gpu_run_at(run, run->plan->scale2),
			       gpu_run_at(run, run->plan->shift2), &band, true, run->err);
}

/* The shortcut of those rows, in the band of the output. */
static int make_shortcut(const struct resnet *r, int64_t first, int64_t rows)
{
	const struct gpu_run *run = r->run;
	const struct gpu_product product = {
	    .a = gpu_run_map(run, r->step->in, first * r->in.width * r->in.channels),
	    .w = run->net->weights[r->shortcut],
	    .bias = run->net->biases[r->shortcut],
	    .out = r->y,
	    .m = rows * r->in.width,
	    .n = r->out.channels,
	    .k = r->in.channels,
	    .batch = 1,
	    .a_row = r->in.channels,
	    .w_row = r->in.channels,
	    .out_row = r->out.channels,
	    .w_transposed = true,
	    .alpha = 1,
	};

	return run->ops->product(run->device, &product, run->err);
}

/* The second convolution of a piece, whose input is in its band, and what is added to it. */
static int finish_rows(const struct resnet *r, const struct piece *p, struct gpu_conv *conv)
{
	const struct gpu_run *run = r->run;
	void *place = gpu_run_map(run, r->step->out, p->first * r->out.width * r->out.channels);
	bool in_place = r->shortcut == GPU_NONE; /* what is added lies where the output goes */
	struct gpu_rows written = r->out;

	if (!in_place && make_shortcut(r, p->first, p->rows) < 0)
		return -1;
	if (run->ops->conv(run->device, conv, r->normed, run->net->weights[r->conv2],
			   run->net->biases[r->conv2], in_place ? place : (void *)r->y,
			   in_place ? (void *)r->y : place, run->err) < 0)
		return -1;
	if (in_place && run->ops->copy(run->device, place, r->y,
				       (size_t)p->rows * row_bytes(r, &r->out), run->err) < 0)
		return -1;
	written.first = p->first;
	written.rows = p->rows;
	return gpu_run_sums(run, r->step->out, 0, &written);
}

static int make_output(struct resnet *r, int64_t most)
{
	const struct gpu_run *run = r->run;
	struct piece p = {.in = r->out, .out = r->out};

	for (p.first = 0; p.first < r->out.height; p.first += most) {
		int64_t left = r->out.height - p.first, fresh;
		struct gpu_conv *conv;

		p.rows = left < most ? left : most;
		aim(run, &p, r->conv2, true);
		fresh = p.in_rows - (p.first > 0 ? 2 : 0);
		if (fresh > 0 && make_inner(r, p.in_first + p.in_rows - fresh, fresh) < 0)
			return -1;
		conv = gpu_network_conv(run->net, &p.problem, run->err);
		if (!conv)
			return -1;
		if (run->arena &&
		    (fill_normed(r, p.in_rows, fresh) < 0 || finish_rows(r, &p, conv) < 0))
			return -1;
	}
	return 0;
}

int gpu_run_resnet(const struct gpu_run *run, size_t index)
{
	const struct gpu_step *step = &run->steps->steps[index];
	int64_t rows = run->plan->pieces[index].rows;
	struct gpu_resnet_scratch s = gpu_plan_resnet(run->plan, step, rows);
	size_t scratch = run->plan->scratch[index];
	struct resnet r = {.run = run,
			   .step = step,
			   .in = gpu_run_rows_of(run, step->in),
			   .out = gpu_run_rows_of(run, step->out),
			   .x = gpu_run_at(run, scratch + s.x),
			   .inner = gpu_run_at(run, scratch + s.inner),
			   .normed = gpu_run_at(run, scratch + s.normed),
			   .y = gpu_run_at(run, scratch + s.y)};
	bool same = r.in.channels == r.out.channels;

	r.shortcut = same ? GPU_NONE : step->layer + 1;
	r.norm2 = step->layer + (same ? 1 : 2);
	r.conv2 = r.norm2 + 1;
	if (run->arena &&
	    gpu_run_norm(run, step->norm, &r.in, run->plan->scale, run->plan->shift) < 0)
		return -1;
	return measure_inner(&r, rows) < 0 || make_output(&r, rows) < 0 ? -1 : 0;
}
