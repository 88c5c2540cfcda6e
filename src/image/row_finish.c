#include "image/row_finish.h"

#include "base/checked.h"
#include "image/alpha.h"

int row_finish_init(struct row_finish *f, struct pixel_sink *sink,
		    const struct image_policy *policy, enum color_space space, bool alpha,
		    const uint8_t *profile, size_t profile_size, struct error *err)
{
	struct row_finish made = {.sink = sink, .policy = policy};
	size_t bytes;

	made.samples = color_space_samples(space);
	if (alpha && size_mul(sink->width, made.samples, &bytes)) {
		made.color = malloc(bytes);
		made.opacity = malloc(sink->width);
	}
	if (alpha && (!made.color || !made.opacity)) {
		row_finish_release(&made);
		return error_set(err, ERR_NOMEM, "no memory for a row of %zu pixels", sink->width);
	}
	if (policy->color == COLOR_IGNORE)
		profile = NULL;
	made.converter = color_converter_new(space, profile, profile_size);
	*f = made;
	return 0;
}

void row_finish_release(struct row_finish *f)
{
	color_converter_free(f->converter);
	free(f->color);
	free(f->opacity);
	*f = (struct row_finish)ROW_FINISH_INIT;
}

static void split_alpha(struct row_finish *f, const uint8_t *row)
{
	uint8_t *out = f->color;

	for (size_t x = 0; x < f->sink->width; x++) {
		for (size_t c = 0; c < f->samples; c++)
			*out++ = *row++;
		f->opacity[x] = *row++;
	}
}

void row_finish_put(struct row_finish *f, size_t y, const uint8_t *row)
{
	size_t width = f->sink->width;
	uint8_t *out = f->sink->row(f->sink, y);

	if (f->color) {
		split_alpha(f, row);
		row = f->color;
	}
	if (f->policy->alpha == ALPHA_ALONE) {
		alpha_alone(out, f->opacity, width);
	} else {
		color_convert(f->converter, row, out, width);
		if (f->opacity && f->policy->alpha == ALPHA_OVER)
			alpha_over(out, f->opacity, width, f->policy->background);
	}
	f->sink->done(f->sink, y);
}
