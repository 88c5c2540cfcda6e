/*
 * The decoder's rows go straight into the resampler where they come in the upright picture's order
 * (orientations 1 and 2, the second with each row reversed). For the others the picture is kept and
 * turned first.
 *
 * What a JPEG decoder shrank by s has ceil(side / s) columns and rows, of which side / s are
 * picture. The rest is padding at the stored right and bottom, which turning takes to other edges:
 * the source box is turned with it.
 */
#include "image/render.h"

#include "base/checked.h"
#include "base/clock.h"
#include "image/orientation.h"
#include "image/pixel_sink.h"

#include <assert.h>

struct render_input {
	const uint8_t *bytes;
	size_t size;
	const struct image_limits *limits;
	const struct image_policy *policy;
	int64_t *resize_ns; /* NULL: nobody asks */
};

/* What the decoder hands out, and what becomes of it. */
struct shape {
	size_t width, height; /* of the decoder's picture, as stored */
	unsigned orientation;
	size_t upright_width, upright_height;
	size_t n;
	struct resample_plan plans[RENDERS_MAX]; /* from the upright picture */
};

/* Reduction factor of the JPEG decoder; @full_width x @full_height: resized, as stored. */
static size_t jpeg_scale(const struct image_header *header, const struct image_policy *policy,
			 enum resample_filter filter, size_t full_width, size_t full_height)
{
	size_t scale = 8;

	if (header->format != IMAGE_JPEG || !policy->jpeg_scaling || !render_may_scale(filter))
		return 1;
	while (scale > 1 &&
	       (header->width / scale / 2 < full_width || header->height / scale / 2 < full_height))
		scale /= 2;
	return scale;
}

/* The least of those that the pictures allow. */
static size_t common_scale(const struct image_header *header, const struct image_policy *policy,
			   const struct render_geometry *geometries, size_t n, bool swaps)
{
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < n; i++) {
		const struct render_geometry *g = &geometries[i];
		size_t scale =
		    jpeg_scale(header, policy, g->filter, swaps ? g->full_height : g->full_width,
			       swaps ? g->full_width : g->full_height);

		least = scale < least ? scale : least;
	}
	return least;
}

static struct shape shape_of(const struct image_header *header, const struct image_policy *policy,
			     const struct render_geometry *geometries, size_t n)
{
	unsigned orientation = policy->apply_exif ? header->orientation : 1;
	bool swaps = orientation_swaps(orientation);
	size_t scale = common_scale(header, policy, geometries, n, swaps);
	struct shape s = {.width = (header->width + scale - 1) / scale,
			  .height = (header->height + scale - 1) / scale,
			  .orientation = orientation,
			  .n = n};

	for (size_t i = 0; i < n; i++) {
		const struct render_geometry *g = &geometries[i];

		s.plans[i] = (struct resample_plan){
		    .box = {0.0, 0.0, (double)header->width / (double)scale,
			    (double)header->height / (double)scale},
		    .full_width = g->full_width,
		    .full_height = g->full_height,
		    .left = g->left,
		    .top = g->top,
		    .width = g->width,
		    .height = g->height,
		    .filter = g->filter,
		};
		orientation_turn_box(s.plans[i].box, orientation, s.width, s.height);
	}
	s.upright_width = swaps ? s.height : s.width;
	s.upright_height = swaps ? s.width : s.height;
	return s;
}

static bool rows_come_in_order(const struct shape *s)
{
	return s->orientation <= 2;
}

/* One for each picture. */
struct resamplers {
	struct resampler *items[RENDERS_MAX];
	size_t n;
};

static void resamplers_release(struct resamplers *r)
{
	for (size_t i = 0; i < r->n; i++)
		resampler_free(r->items[i]);
}

#define cleanup_resamplers cleanup_with(resamplers_release)

static int resamplers_init(struct resamplers *r, const struct shape *s, size_t width, size_t height,
			   uint8_t *out, struct error *err)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct resample_plan *plan = &s->plans[i];

		if (resampler_new(plan, width, height, out, &r->items[i], err) < 0)
			return -1;
		r->n++;
		out += plan->width * plan->height * 3;
	}
	return 0;
}

static void resample_row(const struct resamplers *r, const uint8_t *row, int64_t *ns)
{
	int64_t began = ns ? clock_mono_ns() : 0;

	for (size_t i = 0; i < r->n; i++)
		resampler_row(r->items[i], row);
	if (ns)
		*ns += clock_mono_ns() - began;
}

/* One row, handed on as it comes. */
struct resampler_sink {
	struct pixel_sink base;
	struct resamplers *resamplers;
	uint8_t *row; /* [width][3] */
	bool mirrored;
	int64_t *resize_ns;
};

static uint8_t *resampler_sink_row(struct pixel_sink *sink, size_t y)
{
	(void)y;
	return ((struct resampler_sink *)sink)->row;
}

static void mirror(uint8_t *row, size_t width)
{
	for (uint8_t *a = row, *b = row + width * 3 - 3; a < b; a += 3, b -= 3) {
		for (size_t c = 0; c < 3; c++) {
			uint8_t sample = a[c];

			a[c] = b[c];
			b[c] = sample;
		}
	}
}

static void resampler_sink_done(struct pixel_sink *sink, size_t y)
{
	struct resampler_sink *s = (struct resampler_sink *)sink;

	(void)y;
	if (s->mirrored)
		mirror(s->row, sink->width);
	resample_row(s->resamplers, s->row, s->resize_ns);
}

/* Memory for @rows rows of @s, which a decoder fills. */
static uint8_t *rows_alloc(const struct shape *s, size_t rows, struct error *err)
{
	size_t bytes;
	uint8_t *p = size_mul3(s->width, 3, rows, &bytes) ? malloc(bytes) : NULL;

	if (!p)
		error_set(err, ERR_NOMEM, "no memory for %zu rows of %zu pixels", rows, s->width);
	return p;
}

static int render_rows(const struct render_input *in, const struct shape *s, uint8_t *out,
		       struct error *err)
{
	cleanup_resamplers struct resamplers resamplers = {.n = 0};
	cleanup_free uint8_t *row = NULL;
	struct resampler_sink sink;

	if (resamplers_init(&resamplers, s, s->width, s->height, out, err) < 0)
		return -1;
	row = rows_alloc(s, 1, err);
	if (!row)
		return -1;
	sink = (struct resampler_sink){
	    .base = {s->width, s->height, resampler_sink_row, resampler_sink_done},
	    .resamplers = &resamplers,
	    .row = row,
	    .mirrored = s->orientation == 2,
	    .resize_ns = in->resize_ns,
	};
	return image_decode_rows(in->bytes, in->size, in->limits, in->policy, &sink.base, err);
}

/* Some rows, put into the upright picture together. */
struct turning_sink {
	struct pixel_sink base;
	uint8_t *band; /* [ORIENTATION_BAND][width][3] */
	unsigned orientation;
	struct image *upright;
};

static uint8_t *turning_sink_row(struct pixel_sink *sink, size_t y)
{
	return ((struct turning_sink *)sink)->band + y % ORIENTATION_BAND * sink->width * 3;
}

static void turning_sink_done(struct pixel_sink *sink, size_t y)
{
	struct turning_sink *s = (struct turning_sink *)sink;
	size_t rows = y % ORIENTATION_BAND + 1;

	if (rows == ORIENTATION_BAND || y + 1 == sink->height)
		orientation_place(s->upright, s->orientation, s->band, y + 1 - rows, rows);
}

static int decode_upright(const struct render_input *in, const struct shape *s,
			  struct image *upright, struct error *err)
{
	cleanup_free uint8_t *band = rows_alloc(s, ORIENTATION_BAND, err);
	struct turning_sink sink = {
	    .base = {s->width, s->height, turning_sink_row, turning_sink_done},
	    .band = band,
	    .orientation = s->orientation,
	    .upright = upright,
	};

	if (!band)
		return -1;
	return image_decode_rows(in->bytes, in->size, in->limits, in->policy, &sink.base, err);
}

static int render_turned(const struct render_input *in, const struct shape *s, uint8_t *out,
			 struct error *err)
{
	cleanup_resamplers struct resamplers resamplers = {.n = 0};
	cleanup_image struct image upright = IMAGE_INIT;

	if (image_alloc(&upright, s->upright_width, s->upright_height, err) < 0 ||
	    decode_upright(in, s, &upright, err) < 0 ||
	    resamplers_init(&resamplers, s, upright.width, upright.height, out, err) < 0)
		return -1;
	for (size_t y = 0; y < upright.height; y++)
		resample_row(&resamplers, upright.pixels + y * upright.width * 3, in->resize_ns);
	return 0;
}

static int render(const struct render_input *in, const struct render_geometry *geometries, size_t n,
		  uint8_t *out, struct error *err)
{
	struct image_header header;
	struct shape s;

	if (image_read_header(in->bytes, in->size, in->limits, &header, err) < 0)
		return -1;
	s = shape_of(&header, in->policy, geometries, n);
	return rows_come_in_order(&s) ? render_rows(in, &s, out, err)
				      : render_turned(in, &s, out, err);
}

int image_render(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		 const struct image_policy *policy, const struct render_geometry *geometry,
		 uint8_t *out, struct error *err)
{
	const struct render_input in = {bytes, size, limits, policy, NULL};

	return render(&in, geometry, 1, out, err);
}

int image_render_many(const uint8_t *bytes, size_t size, const struct image_limits *limits,
		      const struct image_policy *policy, const struct render_geometry *geometries,
		      size_t n, uint8_t *out, int64_t *resize_ns, struct error *err)
{
	const struct render_input in = {bytes, size, limits, policy, resize_ns};

	assert(n >= 1 && n <= RENDERS_MAX);
	*resize_ns = 0;
	return render(&in, geometries, n, out, err);
}

bool render_pixel_bytes(const struct render_geometry *geometries, size_t n, size_t *bytes)
{
	size_t sum = 0, one;

	for (size_t i = 0; i < n; i++) {
		if (!size_mul3(geometries[i].width, geometries[i].height, 3, &one) ||
		    !size_add(sum, one, &sum))
			return false;
	}
	*bytes = sum;
	return true;
}

/* Decoder, resamplers and a row together; or the upright picture, first beside the decoder and a band
 * of rows, then beside the resamplers. */
size_t image_render_bytes(const struct image_header *header, const struct image_policy *policy,
			  const struct render_geometry *geometries, size_t n)
{
	struct shape s = shape_of(header, policy, geometries, n);
	size_t resampling = 0, rows, decoding, image, peak;

	for (size_t i = 0; i < n; i++) {
		if (!size_add(resampling,
			      resampler_bytes(&s.plans[i], s.upright_width, s.upright_height),
			      &resampling))
			return SIZE_MAX;
	}
	if (!size_mul3(s.width, 3, rows_come_in_order(&s) ? 1 : ORIENTATION_BAND, &rows) ||
	    !size_add(header->decode_bytes, rows, &decoding))
		return SIZE_MAX;
	if (rows_come_in_order(&s))
		return size_add(decoding, resampling, &peak) ? peak : SIZE_MAX;
	if (!size_mul3(s.width, s.height, 3, &image) ||
	    !size_add(image, decoding > resampling ? decoding : resampling, &peak))
		return SIZE_MAX;
	return peak;
}
