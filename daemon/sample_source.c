#include "daemon/sample_source.h"

#include "daemon/source_pixels.h"
#include "daemon/unpack_process.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "config/pixel_options.h"
#include "source/source.h"
#include "source/source_path.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

struct sample_sources {
	struct source_pixels *reader;
	enum resample_filter filter;
	struct image_policy policy;
	char *folder; /* of the source that is open; "": the one for URLs */
	struct source *source;
	struct source_remote_options remote;
	enum source_links links;
	bool (*stop)(void *arg); /* NULL: never */
	void *stop_arg;
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
	s->links = LINKS_ALL;
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
	source_close(s->source);
	free(s->folder);
	free(s);
}

void sample_sources_fetch(struct sample_sources *s, const struct source_remote_options *remote)
{
	s->remote = *remote;
}

void sample_sources_follow(struct sample_sources *s, enum source_links links)
{
	s->links = links;
}

void sample_sources_stop(struct sample_sources *s, bool (*stop)(void *arg), void *arg)
{
	s->stop = stop;
	s->stop_arg = arg;
	source_pixels_stop(s->reader, stop, arg);
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

int sample_source_geometry(const struct record *record, const struct record_facts *facts,
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
	if (*flip) /* its crop is of the mirrored picture */
		g.left = g.full_width - g.left - g.width;
	*out = g;
	return 0;
}

char *sample_source_about(const struct record *record, const struct record_facts *facts)
{
	struct error ignored = ERROR_INIT;
	struct render_geometry g;
	bool flip = false;

	if (sample_source_geometry(record, facts, &g, &flip, &ignored) < 0)
		return xasprintf("%zux%zu", facts->target_width, facts->target_height);
	return xasprintf("%zux%zu  crop %zu,%zu of %zux%zu%s", g.width, g.height, g.left, g.top,
			 g.full_width, g.full_height, flip ? ", mirrored" : "");
}

static int place(void *arg, const struct image_header *header, struct render_geometry *geometry,
		 struct error *err)
{
	(void)header;
	(void)err;
	*geometry = *(const struct render_geometry *)arg;
	return 0;
}

/* The source that was asked for last stays open: an archive need not be listed for each of its members. */
static int turn_to(struct sample_sources *s, const char *folder, struct error *err)
{
	const struct source_folder_options options = {.recursive = true,
						      .unpack = unpack_process_open,
						      .choice = {.links = s->links},
						      .remote = s->remote,
						      .stop = s->stop,
						      .stop_arg = s->stop_arg};
	struct error why = ERROR_INIT;

	if (s->source && strcmp(s->folder, folder) == 0)
		return 0;
	source_close(s->source);
	s->source = NULL;
	free(s->folder);
	s->folder = xstrdup(folder);
	if ((*folder ? source_open(folder, &options, &s->source, &why)
		     : source_urls_open(NULL, &options, &s->source, &why)) < 0)
		return error_data(err, "gone", "its %s", why.message);
	return 0;
}

static int open_file(struct sample_sources *s, const char *folder, const char *path,
		     struct error *err)
{
	struct error why = ERROR_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	int fd;

	if (turn_to(s, source_path_is_url(path) ? "" : folder, err) < 0)
		return -1;
	fd = source_open_sample(s->source, path, &why);
	if (fd >= 0)
		return fd;
	if (strcmp(why.reason, "gone") == 0)
		return error_data(err, "gone", "its source %s is not there any more",
				  text_quote(path, quoted));
	return error_data(err, why.code == ERR_DATA ? why.reason : "unreadable", "its source: %s",
			  why.message);
}

struct fit {
	size_t side;
	bool turns; /* as EXIF says */
};

static int place_whole(void *arg, const struct image_header *header, struct render_geometry *out,
		       struct error *err)
{
	const struct fit *fit = arg;
	size_t width = header->width, height = header->height, longest;

	(void)err;
	if (fit->turns)
		image_oriented_size(header, &width, &height);
	longest = width > height ? width : height;
	if (longest > fit->side) {
		width = width * fit->side / longest;
		height = height * fit->side / longest;
	}
	width = width > 0 ? width : 1;
	height = height > 0 ? height : 1;
	*out = (struct render_geometry){width, height, 0, 0, width, height, FILTER_BILINEAR};
	return 0;
}

int sample_source_thumbnail(struct sample_sources *sources, const char *folder, const char *path,
			    size_t side, struct image *out, struct error *err)
{
	struct image_policy policy = sources->policy;
	struct fit fit = {side, policy.apply_exif};
	cleanup_close int fd = open_file(sources, folder, path, err);
	char quoted[TEXT_QUOTE_SIZE];

	if (fd < 0)
		return -1;
	policy.jpeg_scaling = true;
	if (source_pixels_read(sources->reader, fd, place_whole, &fit, &policy, out, NULL, err) < 0)
		return error_wrap(err, "its source %s", text_quote(path, quoted));
	return 0;
}

int sample_source_prepare(struct sample_sources *sources, const char *folder, const char *path,
			  const struct record *record, const struct record_facts *facts,
			  struct image *out, struct error *err)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct render_geometry geometry = {.width = 0};
	char quoted[TEXT_QUOTE_SIZE];
	struct hash128 content;
	cleanup_close int fd = -1;
	bool flip = false;

	if (sample_source_geometry(record, facts, &geometry, &flip, err) < 0)
		return -1;
	geometry.filter = sources->filter;
	fd = open_file(sources, folder, path, err);
	if (fd < 0)
		return -1;
	if (source_pixels_read(sources->reader, fd, place, &geometry, &sources->policy, &image,
			       &content, err) < 0)
		return error_wrap(err, "its source %s", text_quote(path, quoted));
	if (!hash128_equal(&content, &facts->content))
		return error_data(err, "changed", "its source %s is another file since",
				  text_quote(path, quoted));
	if (flip)
		image_mirror(&image);
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
