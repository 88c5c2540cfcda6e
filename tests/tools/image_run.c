/*
 * One image through src/image, to compare with other programs:
 *
 *	image_run FILE OUT.ppm|OUT.png [--size WxH] [--filter F] [--box l,t,r,b] [--color ignore|srgb]
 *	          [--alpha white] [--exif apply|ignore]
 *
 * Writes a binary PPM, or a PNG by png_encode(). Without --size the size as decoded, also with --box, as in Pillow.
 * Exit status: 0 done, 1 the image or the disk failed, 2 wrong arguments.
 */
#include "base/checked.h"
#include "base/files.h"
#include "image/decode.h"
#include "image/png_encode.h"
#include "image/resample.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define EXIT_USAGE 2

struct request {
	const char *file, *out;
	size_t width, height; /* 0: as decoded */
	bool has_box;
	double box[4];
	enum resample_filter filter;
	struct image_policy policy;
};

static int usage(const char *problem)
{
	fprintf(stderr,
		"image_run: %s\n"
		"usage: image_run FILE OUT.ppm [--size WxH] [--filter F] [--box l,t,r,b]\n"
		"                 [--color ignore|srgb] [--alpha white] [--exif apply|ignore]\n",
		problem);
	return EXIT_USAGE;
}

static bool parse_size(const char *text, struct request *r)
{
	char rest;

	return sscanf(text, "%zux%zu%c", &r->width, &r->height, &rest) == 2 && r->width > 0 &&
	       r->height > 0 && r->width < 1u << 24 && r->height < 1u << 24;
}

static bool parse_box(const char *text, struct request *r)
{
	char rest;

	r->has_box = true;
	return sscanf(text, "%lf,%lf,%lf,%lf%c", &r->box[0], &r->box[1], &r->box[2], &r->box[3],
		      &rest) == 4;
}

/* Index of @text among the two words, -1 if it is neither. */
static int parse_word(const char *text, const char *first, const char *second)
{
	if (strcmp(text, first) == 0)
		return 0;
	return strcmp(text, second) == 0 ? 1 : -1;
}

static bool parse_option(int option, const char *text, struct request *r)
{
	int value;

	switch (option) {
	case 's':
		return parse_size(text, r);
	case 'b':
		return parse_box(text, r);
	case 'f':
		value = resample_filter_parse(text);
		r->filter = value < 0 ? r->filter : (enum resample_filter)value;
		return value >= 0;
	case 'c':
		value = parse_word(text, "ignore", "srgb");
		r->policy.color = value == 1 ? COLOR_SRGB : COLOR_IGNORE;
		return value >= 0;
	case 'e':
		value = parse_word(text, "ignore", "apply");
		r->policy.apply_exif = value == 1;
		return value >= 0;
	case 'a':
		return strcmp(text, "white") == 0;
	default:
		return false;
	}
}

static int parse(int argc, char **argv, struct request *r)
{
	static const struct option options[] = {
	    {"size", required_argument, NULL, 's'},
	    {"filter", required_argument, NULL, 'f'},
	    {"box", required_argument, NULL, 'b'},
	    {"color", required_argument, NULL, 'c'},
	    {"alpha", required_argument, NULL, 'a'},
	    {"exif", required_argument, NULL, 'e'},
	    {NULL, 0, NULL, 0},
	};
	int option, index = 0;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		char problem[128];

		if (option == '?')
			return usage("an unknown option, or one without its value");
		if (parse_option(option, optarg, r))
			continue;
		snprintf(problem, sizeof(problem), "--%s cannot be '%.60s'", options[index].name,
			 optarg);
		return usage(problem);
	}
	if (argc - optind != 2)
		return usage("one input and one output are needed");
	r->file = argv[optind];
	r->out = argv[optind + 1];
	return 0;
}

static int write_ppm(const char *path, const struct image *image, struct error *err)
{
	cleanup_buffer struct buffer header = BUFFER_INIT;
	cleanup_close int fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, err);

	if (fd < 0)
		return -1;
	buffer_appendf(&header, "P6\n%zu %zu\n255\n", image->width, image->height);
	if (fd_write_all(fd, header.data, header.size, err) < 0 ||
	    fd_write_all(fd, image->pixels, image_bytes(image), err) < 0)
		return error_wrap(err, "%s", path);
	return 0;
}

static int write_png(const char *path, const struct image *image, struct error *err)
{
	struct png_encoder *encoder = png_encoder_new();
	cleanup_buffer struct buffer file = BUFFER_INIT;
	cleanup_close int fd = file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, err);
	int r = fd < 0
		    ? -1
		    : png_encode(encoder, image->pixels, image->width, image->height, &file, err);

	if (r == 0)
		r = fd_write_all(fd, file.data, file.size, err);
	png_encoder_free(encoder);
	return r < 0 ? error_wrap(err, "%s", path) : 0;
}

static bool is_png(const char *path)
{
	size_t n = strlen(path);

	return n > 4 && strcmp(path + n - 4, ".png") == 0;
}

/* Size and box as asked for; the box is checked here because it comes from a person. */
static int resize(const struct request *r, struct image *image, struct error *err)
{
	struct resample_plan plan =
	    resample_whole(image, r->width ? r->width : image->width,
			   r->height ? r->height : image->height, r->filter);
	cleanup_image struct image out = IMAGE_INIT;

	if (r->has_box)
		memcpy(plan.box, r->box, sizeof(plan.box));
	if (!(plan.box[0] >= 0 && plan.box[1] >= 0 && plan.box[2] <= (double)image->width &&
	      plan.box[3] <= (double)image->height && plan.box[0] < plan.box[2] &&
	      plan.box[1] < plan.box[3]))
		return error_set(err, ERR_CONFIG, "the box leaves the image of %zu x %zu",
				 image->width, image->height);
	if (image_alloc(&out, plan.width, plan.height, err) < 0 ||
	    resample(image, &plan, out.pixels, err) < 0)
		return -1;
	image_release(image);
	*image = out;
	out = (struct image)IMAGE_INIT;
	return 0;
}

static int run(const struct request *r, struct error *err)
{
	static const struct image_limits limits = IMAGE_LIMITS_DEFAULT;
	cleanup_image struct image image = IMAGE_INIT;
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	if (file_read_all(r->file, limits.max_file_bytes, &bytes, err) < 0)
		return -1;
	if (image_decode(bytes.data, bytes.size, &limits, &r->policy, &image, err) < 0)
		return error_wrap(err, "%s", r->file);
	if ((r->width > 0 || r->has_box) && resize(r, &image, err) < 0)
		return error_wrap(err, "%s", r->file);
	return is_png(r->out) ? write_png(r->out, &image, err) : write_ppm(r->out, &image, err);
}

int main(int argc, char **argv)
{
	struct request request = {.filter = FILTER_LANCZOS, .policy = IMAGE_POLICY_DEFAULT};
	struct error err = ERROR_INIT;
	int problem = parse(argc, argv, &request);

	if (problem != 0)
		return problem;
	if (run(&request, &err) == 0)
		return EXIT_SUCCESS;
	fprintf(stderr, "image_run: %s%s%s%s\n", err.message, err.reason[0] ? " [" : "", err.reason,
		err.reason[0] ? "]" : "");
	return EXIT_FAILURE;
}
