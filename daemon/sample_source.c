#include "daemon/sample_source.h"

#include "daemon/source_pixels.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "config/pixel_options.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct sample_sources {
	struct source_pixels *reader;
	enum resample_filter filter;
	struct image_policy policy;
};

/* -- what was done to the pixels ----------------------------------------------------------------- */

static bool is(json_t *object, const char *name, const char *value)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && strcmp(text, value) == 0;
}

/* As recipe.c writes it. */
static bool read_policy(json_t *pixels, struct sample_sources *s)
{
	const char *filter = json_string_value(json_object_get(pixels, "filter"));
	const char *alpha = json_string_value(json_object_get(pixels, "alpha"));
	int parsed = filter ? resample_filter_parse(filter) : -1;

	if (parsed < 0 || !alpha)
		return false;
	s->filter = (enum resample_filter)parsed;
	s->policy.apply_exif = is(pixels, "exif", "apply");
	s->policy.color = is(pixels, "color", "srgb") ? COLOR_SRGB : COLOR_IGNORE;
	s->policy.alpha = strcmp(alpha, "drop") == 0 ? ALPHA_DROP : ALPHA_OVER;
	s->policy.jpeg_scaling = json_is_true(json_object_get(pixels, "jpeg_scaling"));
	return s->policy.alpha == ALPHA_DROP || background_parse(alpha, s->policy.background);
}

int sample_sources_open(const char *recipe_json, size_t pixels, struct sample_sources **out,
			struct error *err)
{
	struct sample_sources *s = xcalloc(1, sizeof(*s));
	json_t *root = json_loads(recipe_json, 0, NULL);
	bool ok = read_policy(json_object_get(root, "pixels"), s);
	int r = 0;

	json_decref(root);
	if (!ok)
		r = error_data(err, "recipe",
			       "its recipe does not say how its pixels were prepared");
	else
		r = source_pixels_open(pixels, &s->reader, err);
	if (r < 0)
		sample_sources_close(s);
	else
		*out = s;
	return r;
}

void sample_sources_close(struct sample_sources *s)
{
	if (!s)
		return;
	source_pixels_close(s->reader);
	free(s);
}

/* -- one sample ---------------------------------------------------------------------------------- */

static bool read_pair(json_t *root, const char *name, size_t *first, size_t *second)
{
	json_t *pair = json_object_get(root, name);
	json_int_t a = json_integer_value(json_array_get(pair, 0));
	json_int_t b = json_integer_value(json_array_get(pair, 1));

	if (json_array_size(pair) != 2 || a < 0 || b < 0 || a > INT32_MAX || b > INT32_MAX)
		return false;
	*first = (size_t)a;
	*second = (size_t)b;
	return true;
}

static int read_geometry(const struct record *record, const struct record_facts *facts,
			 struct render_geometry *out, bool *flip, struct error *err)
{
	const struct record_member *json = record_member(record, "json");
	json_t *root = json_loadb((const char *)json->data.data, json->data.size, 0, NULL);
	struct render_geometry g = {.width = facts->target_width, .height = facts->target_height};
	bool ok = read_pair(root, "resized_size", &g.full_width, &g.full_height) &&
		  read_pair(root, "crop_top_left", &g.top, &g.left) &&
		  g.left + g.width <= g.full_width && g.top + g.height <= g.full_height;

	*flip = json_is_true(json_object_get(root, "flip"));
	json_decref(root);
	if (!ok)
		return error_data(err, "record", "%s: its .json does not say what was cut out",
				  record->key);
	*out = g;
	return 0;
}

char *sample_source_about(const struct record *record, const struct record_facts *facts)
{
	struct error ignored = ERROR_INIT;
	struct render_geometry g;
	bool flip = false;

	if (read_geometry(record, facts, &g, &flip, &ignored) < 0)
		return xasprintf("%zux%zu", facts->target_width, facts->target_height);
	return xasprintf("%zux%zu  crop %zu,%zu of %zux%zu%s", g.width, g.height, g.left, g.top,
			 g.full_width, g.full_height, flip ? ", mirrored" : "");
}

static void mirror(struct image *image)
{
	for (size_t y = 0; y < image->height; y++) {
		uint8_t *row = image->pixels + y * image->width * 3;

		for (size_t x = 0; x < image->width / 2; x++) {
			uint8_t *a = row + 3 * x, *b = row + 3 * (image->width - 1 - x), kept[3];

			memcpy(kept, a, 3);
			memcpy(a, b, 3);
			memcpy(b, kept, 3);
		}
	}
}

static int place(void *arg, const struct image_header *header, struct render_geometry *geometry,
		 struct error *err)
{
	(void)header;
	(void)err;
	*geometry = *(const struct render_geometry *)arg;
	return 0;
}

static int open_file(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char quoted[TEXT_QUOTE_SIZE];

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR)
		return error_data(err, "gone", "its source %s is not there any more",
				  text_quote(path, quoted));
	return error_data(err, "unreadable", "its source %s: %s", text_quote(path, quoted),
			  strerror(errno));
}

int sample_source_prepare(struct sample_sources *sources, const char *path,
			  const struct record *record, const struct record_facts *facts,
			  struct image *out, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct render_geometry geometry = {.width = 0};
	char quoted[TEXT_QUOTE_SIZE];
	struct hash128 content;
	cleanup_close int fd = -1;
	bool flip = false;

	if (read_geometry(record, facts, &geometry, &flip, err) < 0)
		return -1;
	geometry.filter = sources->filter;
	fd = open_file(path, err);
	if (fd < 0)
		return -1;
	if (source_pixels_read(sources->reader, fd, place, &geometry, &sources->policy, &image,
			       &content, err) < 0)
		return error_wrap(err, "its source %s", text_quote(path, quoted));
	if (!hash128_equal(&content, &facts->content))
		return error_data(err, "changed", "its source %s is another file since",
				  text_quote(path, quoted));
	if (flip)
		mirror(&image);
	*out = image;
	image = (struct image)IMAGE_INIT;
	return 0;
}

double image_psnr(const struct image *a, const struct image *b)
{
	size_t n = image_bytes(a);
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)a->pixels[i] - (double)b->pixels[i];

		sum += d * d;
	}
	return 10 * log10(255.0 * 255.0 * (double)n / sum);
}
