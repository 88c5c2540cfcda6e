#include "config/pixel_options.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

static const char *const bucketings[] = {"kohya",      "kohya_no_upscale", "sdxl",   "square",
					 "fixed",      "novelai",	   "musubi", "onetrainer",
					 "ai_toolkit", "diffusion_pipe",   NULL};
static const char *const exifs[] = {"apply", "ignore", NULL};
static const char *const filters[] = {"lanczos", "bicubic", "bilinear", "box",
				      "hamming", "nearest", "kohya",	NULL};
static const char *const crops[] = {"center", NULL};
static const char *const colors[] = {"srgb", "ignore", NULL};

static bool alpha_valid(const char *text)
{
	return strcmp(text, "drop") == 0 || background_parse(text, (uint8_t[3]){0});
}

enum { RESOLUTION_MIN = 64, RESOLUTION_MAX = 8192, RESOLUTION_MULTIPLE = 8 };

/* The number that *@text begins with, which moves behind it and its comma; false: there is none that is allowed. */
static bool next_resolution(const char **text, size_t *out)
{
	size_t digits = strspn(*text, "0123456789");
	unsigned long n = digits > 0 && digits <= 5 ? strtoul(*text, NULL, 10) : 0;

	if (n < RESOLUTION_MIN || n > RESOLUTION_MAX || n % RESOLUTION_MULTIPLE != 0)
		return false;
	*out = n;
	*text += digits;
	if (**text == ',')
		return *++*text != '\0';
	return **text == '\0';
}

static bool resolutions_valid(const char *text)
{
	size_t n;

	do {
		if (!next_resolution(&text, &n))
			return false;
	} while (*text);
	return true;
}

#define FIELD(f) offsetof(struct pixel_options, f)

static const struct setting placement_rows[] = {
    {"bucketing", SETTING_CHOICE, FIELD(bucketing), .fallback = "kohya", .choices = bucketings,
     .value_name = "RULE", .help = "how the target size is chosen"},
    {"resolution", SETTING_SIDES, FIELD(resolution), .min = RESOLUTION_MIN, .max = RESOLUTION_MAX,
     .multiple = RESOLUTION_MULTIPLE, .example = "512", .value_name = "N",
     .help = "area of a bucket, N x N; fixed needs WxH (the model's; sdxl: 1024)"},
    {"resolutions", SETTING_TEXTS, FIELD(resolutions), .valid = resolutions_valid,
     .expected = "multiples of 8 from 64 to 8192, 512,768,1024", .example = "[512, 768, 1024]",
     .value_name = "N,N,...", .help = "up to 4, decoded once: samples KEY-rN beside the least"},
    {"min-bucket", SETTING_COUNT, FIELD(min_bucket), .max = 16384, .example = "256",
     .value_name = "N", .help = "shortest side of a bucket (the rule's)"},
    {"max-bucket", SETTING_COUNT, FIELD(max_bucket), .max = 16384, .example = "1024",
     .value_name = "N", .help = "longest side of a bucket (the rule's)"},
    {"bucket-step", SETTING_COUNT, FIELD(bucket_step), .max = 1024, .example = "64",
     .value_name = "N", .help = "sides are multiples of it (the rule's)"},
    {"min-side", SETTING_COUNT, FIELD(min_side), .max = 65536, .example = "256", .value_name = "N",
     .help = "skip images with a shorter side"},
    {"max-upscale", SETTING_NUMBER, FIELD(max_upscale), .fallback = "2.0", .max = 65536,
     .value_name = "X", .help = "skip images that would be enlarged more; 0: none"},
    {"max-crop-loss", SETTING_NUMBER, FIELD(max_crop_loss), .max = 1, .example = "0.3",
     .value_name = "X", .help = "skip images that would lose more of their area; 0.3 is 30 %"},
    {"exif", SETTING_CHOICE, FIELD(exif), .fallback = "apply", .choices = exifs,
     .help = "EXIF orientation"},
};

static const struct setting drawing_rows[] = {
    {"filter", SETTING_CHOICE, FIELD(filter), .fallback = "lanczos", .choices = filters,
     .value_name = "NAME", .help = "resampling filter: Pillow's by name; kohya: as sd-scripts"},
    {"crop", SETTING_CHOICE, FIELD(crop), .fallback = "center", .choices = crops,
     .help = "which part of an image its bucket shows"},
    {"color", SETTING_CHOICE, FIELD(color), .fallback = "srgb", .choices = colors,
     .help = "embedded ICC profiles"},
    {"alpha", SETTING_STRING, FIELD(alpha), .fallback = "white", .valid = alpha_valid,
     .expected = "white, black, drop or a colour as #rrggbb", .value_name = "COLOR",
     .help = "under transparent pixels: white, black, #rrggbb; drop: as if opaque"},
    {"jpeg-scaling", SETTING_FLAG, FIELD(jpeg_scaling), .fallback = "false",
     .help = "let the decoder shrink JPEGs first, to twice the size or more"},
};

const struct settings_group placement_settings = {.rows = placement_rows,
						  .n = ARRAY_SIZE(placement_rows)};
const struct settings_group drawing_settings = {.rows = drawing_rows,
						.n = ARRAY_SIZE(drawing_rows)};

bool background_parse(const char *text, uint8_t rgb[3])
{
	static const struct {
		const char *name, *hex;
	} named[] = {{"white", "ffffff"}, {"black", "000000"}};
	const char *hex = *text == '#' ? text + 1 : "";

	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		if (strcmp(text, named[i].name) == 0)
			hex = named[i].hex;
	if (strlen(hex) != 6 || strspn(hex, "0123456789abcdefABCDEF") != 6)
		return false;
	for (size_t i = 0; i < 3; i++) {
		const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

		rgb[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return true;
}

static int by_size(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

size_t pixel_options_resolutions(const struct pixel_options *o, size_t out[PIXEL_RESOLUTIONS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < o->resolutions.n; i++) {
		const char *text = o->resolutions.items[i];
		size_t side;

		while (*text && next_resolution(&text, &side)) {
			size_t at = 0;

			while (at < n && at < PIXEL_RESOLUTIONS_MAX && out[at] != side)
				at++;
			if (at < n && at < PIXEL_RESOLUTIONS_MAX)
				continue;
			if (n < PIXEL_RESOLUTIONS_MAX)
				out[n] = side;
			n++;
		}
	}
	qsort(out, n < PIXEL_RESOLUTIONS_MAX ? n : PIXEL_RESOLUTIONS_MAX, sizeof(*out), by_size);
	return n;
}

static int check_resolutions(const struct pixel_options *o, struct error *err)
{
	size_t sides[PIXEL_RESOLUTIONS_MAX], n = pixel_options_resolutions(o, sides);

	if (n > PIXEL_RESOLUTIONS_MAX)
		return error_set(err, ERR_CONFIG, "resolutions: %zu of them, expected %d at most",
				 n, PIXEL_RESOLUTIONS_MAX);
	if (n > 0 && o->resolution.width != 0)
		return error_set(err, ERR_CONFIG, "resolution or resolutions, not both");
	if (n > 0 && o->bucketing &&
	    (strcmp(o->bucketing, "fixed") == 0 || strcmp(o->bucketing, "sdxl") == 0))
		return error_set(err, ERR_CONFIG,
				 "resolutions: bucketing %s has one size, expected another rule",
				 o->bucketing);
	return 0;
}

int pixel_options_check(const struct pixel_options *o, struct error *err)
{
	if (check_resolutions(o, err) < 0)
		return -1;
	if (o->resolution.width != o->resolution.height && strcmp(o->bucketing, "fixed") != 0)
		return error_set(err, ERR_CONFIG,
				 "resolution %zux%zu: only bucketing fixed takes two sides",
				 o->resolution.width, o->resolution.height);
	if (o->resolution.width == 0 && o->bucketing && strcmp(o->bucketing, "fixed") == 0)
		return error_set(err, ERR_CONFIG,
				 "bucketing fixed: resolution is missing, the size as WxH");
	if (o->max_bucket != 0 && o->min_bucket > o->max_bucket)
		return error_set(err, ERR_CONFIG,
				 "the shortest side of a bucket, %zu, is over the longest, %zu",
				 o->min_bucket, o->max_bucket);
	return 0;
}
