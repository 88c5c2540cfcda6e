#include "daemon/record_mask.h"

#include "daemon/record_copy.h"
#include "daemon/sample_source.h"

#include "base/checked.h"
#include "base/compress.h"
#include "base/files.h"
#include "image/sniff.h"

#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIXELS_USUAL = 1 << 20, ALL_COUNTS = 255, SIGNATURE_SIZE = 16 };

/* More than the header of any .npy of ours. */
#define HEADER_MAX ((size_t)4096)

static const char packed_name[] = "mask.npy.zst", plain_name[] = "mask.npy";

void mask_reader_init(struct mask_reader *reader, const struct recipe *recipe)
{
	*reader =
	    (struct mask_reader){.filter = recipe->filter, .apply_exif = recipe->policy.apply_exif};
}

void mask_reader_release(struct mask_reader *reader)
{
	source_pixels_close(reader->pixels);
	*reader = (struct mask_reader)MASK_READER_INIT;
}

/* -- drawing -------------------------------------------------------------------------------------- */

struct wanted {
	struct render_geometry geometry;
	bool flip, apply_exif;
	size_t width, height; /* of the image */
	struct hash128 content;
};

static int read_wanted(const struct mask_reader *reader, const struct record *record,
		       struct wanted *out, struct error *err)
{
	struct record_facts facts;

	if (record_facts_read(record, &facts, err) < 0 ||
	    sample_source_geometry(record, &facts, &out->geometry, &out->flip, err) < 0)
		return -1;
	out->geometry.filter = reader->filter;
	out->apply_exif = reader->apply_exif;
	out->width = facts.original_width;
	out->height = facts.original_height;
	out->content = facts.content;
	return 0;
}

static int place(void *arg, const struct image_header *header, struct render_geometry *geometry,
		 struct error *err)
{
	const struct wanted *wanted = arg;
	size_t width = header->width, height = header->height;

	if (wanted->apply_exif)
		image_oriented_size(header, &width, &height);
	if (width != wanted->width || height != wanted->height)
		return error_data(err, "mask_size",
				  "its mask has %zux%zu pixels, where the image has %zux%zu", width,
				  height, wanted->width, wanted->height);
	*geometry = wanted->geometry;
	return 0;
}

static int file_of(const struct buffer *bytes, struct error *err)
{
	cleanup_close int fd = memfd_create("mask", MFD_CLOEXEC);

	if (fd < 0)
		return error_sys(err, "hold a mask");
	if (fd_write_all(fd, bytes->data, bytes->size, err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_sys(err, "hold a mask");
	return TAKE_FD(fd);
}

static int start(struct mask_reader *reader, size_t pixels, struct error *err)
{
	if (reader->pixels && reader->most >= pixels)
		return 0;
	source_pixels_close(reader->pixels);
	reader->pixels = NULL;
	reader->most = pixels > PIXELS_USUAL ? pixels : PIXELS_USUAL;
	return source_pixels_open(reader->most, &reader->pixels, err);
}

/* What is to become a mask. */
struct drawn {
	struct image picture; /* mirrored where its record is; without pixels: there is none */
	struct ndarray mask;  /* uint8 [height][width] of what was encoded */
	bool given;
};

#define DRAWN_INIT                                                                                 \
	{                                                                                          \
		IMAGE_INIT, NDARRAY_INIT, false                                                    \
	}

static void drawn_release(struct drawn *d)
{
	image_release(&d->picture);
	ndarray_release(&d->mask);
}

#define cleanup_drawn cleanup_with(drawn_release)

static int read_picture(struct mask_reader *reader, int fd, enum image_alpha alpha,
			struct wanted *wanted, struct image *out, struct hash128 *content,
			struct error *err)
{
	const struct image_policy policy = {
	    .apply_exif = reader->apply_exif, .color = COLOR_IGNORE, .alpha = alpha};

	if (start(reader, wanted->geometry.width * wanted->geometry.height, err) < 0 ||
	    source_pixels_read(reader->pixels, fd, place, wanted, &policy, out, content, err) < 0)
		return -1;
	if (wanted->flip)
		image_mirror(out);
	return 0;
}

static int read_file(struct mask_reader *reader, const struct buffer *file, struct wanted *wanted,
		     struct image *out, struct error *err)
{
	cleanup_close int fd = file_of(file, err);
	struct error why = ERROR_INIT;

	if (fd < 0)
		return -1;
	if (read_picture(reader, fd, ALPHA_DROP, wanted, out, NULL, &why) == 0)
		return 0;
	if ((why.code == ERR_DATA && strcmp(why.reason, "mask_size") != 0) || why.code == ERR_NOMEM)
		return error_data(err, "mask", "its mask: %s", why.message);
	*err = why;
	return -1;
}

/* As Pillow's convert("L") has it; of a grey pixel it is that grey. */
static uint8_t luma(const uint8_t *rgb)
{
	return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

static int alloc_mask(const struct wanted *wanted, struct ndarray *out, struct error *err)
{
	const size_t shape[] = {wanted->geometry.height, wanted->geometry.width};

	if (ndarray_alloc(out, DTYPE_U8, 2, shape, err) < 0)
		return -1;
	memset(out->data, ALL_COUNTS, out->bytes);
	return 0;
}

static int draw_file(struct mask_reader *reader, const struct buffer *file,
		     const struct record *record, struct drawn *out, struct error *err)
{
	struct wanted wanted = {.flip = false};

	out->given = file->size > 0;
	if (read_wanted(reader, record, &wanted, err) < 0 ||
	    (out->given && read_file(reader, file, &wanted, &out->picture, err) < 0) ||
	    alloc_mask(&wanted, &out->mask, err) < 0)
		return -1;
	for (size_t i = 0; out->given && i < out->mask.bytes; i++)
		((uint8_t *)out->mask.data)[i] = luma(out->picture.pixels + 3 * i);
	return 0;
}

/* Most files of most datasets: they need not be decoded once more. */
static bool is_jpeg(int fd)
{
	uint8_t bytes[SIGNATURE_SIZE];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	struct error ignored = ERROR_INIT;
	enum image_format format;

	return n > 0 && sniff_format(bytes, (size_t)n, &format, &ignored) == 0 &&
	       format == IMAGE_JPEG;
}

static int read_alpha(struct mask_reader *reader, int fd, struct wanted *wanted, struct image *out,
		      struct error *err)
{
	struct hash128 content;
	struct error why = ERROR_INIT;

	if (read_picture(reader, fd, ALPHA_ALONE, wanted, out, &content, &why) < 0) {
		if (why.code == ERR_DATA || why.code == ERR_NOMEM)
			return error_data(err, "mask", "its alpha: %s", why.message);
		*err = why;
		return -1;
	}
	if (!hash128_equal(&content, &wanted->content))
		return error_data(err, "mask", "its alpha: the file changed while it was encoded");
	return 0;
}

static int draw_alpha(struct mask_reader *reader, int fd, const struct record *record,
		      struct drawn *out, struct error *err)
{
	struct wanted wanted = {.flip = false};
	bool may_have = fd >= 0 && !is_jpeg(fd);

	if (read_wanted(reader, record, &wanted, err) < 0 ||
	    (may_have && read_alpha(reader, fd, &wanted, &out->picture, err) < 0) ||
	    alloc_mask(&wanted, &out->mask, err) < 0)
		return -1;
	out->given = may_have && out->picture.pixels[1] > 127; /* a filter may round */
	for (size_t i = 0; out->given && i < out->mask.bytes; i++)
		((uint8_t *)out->mask.data)[i] = out->picture.pixels[3 * i];
	return 0;
}

/* -- in a record ---------------------------------------------------------------------------------- */

static int put_json(struct record *record, const struct ndarray *mask, bool given,
		    struct error *err)
{
	const struct record_member *json = record_member(record, "json");
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	struct hash128 hash = hash128_of(mask->data, mask->bytes);
	char hex[HASH128_HEX_SIZE];
	json_t *root = json_loadb((const char *)json->data.data, json->data.size, 0, NULL);
	char *text;

	hash128_hex(&hash, hex);
	json_object_set_new(root, "mask",
			    json_pack("{s:[I,I], s:s, s:b, s:s}", "shape",
				      (json_int_t)mask->shape[0], (json_int_t)mask->shape[1],
				      "dtype", "uint8", "given", given, "xxh3_128", hex));
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(root);
	if (!text)
		abort();
	buffer_append_string(&bytes, text);
	free(text);
	return record_put_buffer(record, "json", &bytes, err);
}

static int put(struct record *record, const struct drawn *drawn, struct error *err)
{
	bool packed = record_codec(record) != OUTPUT_CODEC_NONE;
	cleanup_buffer struct buffer npy = BUFFER_INIT, frame = BUFFER_INIT;

	if (put_json(record, &drawn->mask, drawn->given, err) < 0)
		return -1;
	npy_write(&npy, &drawn->mask);
	if (packed && compress_frame(&frame, npy.data, npy.size, COMPRESS_LEVEL_FLOATS, err) < 0)
		return -1;
	return packed ? record_put_buffer(record, packed_name, &frame, err)
		      : record_put_buffer(record, plain_name, &npy, err);
}

int mask_put(struct mask_reader *reader, const struct buffer *file, struct record *record,
	     struct error *err)
{
	cleanup_drawn struct drawn drawn = DRAWN_INIT;

	return draw_file(reader, file, record, &drawn, err) < 0 ? -1 : put(record, &drawn, err);
}

int mask_put_alpha(struct mask_reader *reader, int image, struct record *record, struct error *err)
{
	cleanup_drawn struct drawn drawn = DRAWN_INIT;

	return draw_alpha(reader, image, record, &drawn, err) < 0 ? -1 : put(record, &drawn, err);
}

int mask_compare(struct mask_reader *reader, const struct buffer *file, const struct record *record,
		 bool *same, struct error *err)
{
	cleanup_drawn struct drawn drawn = DRAWN_INIT;
	struct record_facts facts;
	struct hash128 hash;

	if (record_facts_read(record, &facts, err) < 0 ||
	    draw_file(reader, file, record, &drawn, err) < 0)
		return -1;
	hash = hash128_of(drawn.mask.data, drawn.mask.bytes);
	*same =
	    facts.has_mask && facts.mask_given == drawn.given && hash128_equal(&hash, &facts.mask);
	return 0;
}

static int open_mask(const struct record *record, size_t limit, struct ndarray *out,
		     struct error *err)
{
	const struct record_member *plain = record_member(record, plain_name);
	const struct record_member *packed = record_member(record, packed_name);
	cleanup_buffer struct buffer npy = BUFFER_INIT;

	if (!plain && !packed)
		return error_data(err, "record", "%s: has no mask", record->key);
	if (plain)
		return npy_read(plain->data.data, plain->data.size, out, err);
	if (decompress_frame(&npy, packed->data.data, packed->data.size, limit, err) < 0)
		return -1;
	return npy_read(npy.data, npy.size, out, err);
}

int record_mask_read(const struct record *record, const struct record_facts *facts,
		     struct ndarray *out, struct error *err)
{
	cleanup_ndarray struct ndarray mask = NDARRAY_INIT;
	struct hash128 hash;
	size_t pixels;

	if (!size_mul(facts->target_width, facts->target_height, &pixels) ||
	    pixels > SIZE_MAX - HEADER_MAX ||
	    open_mask(record, pixels + HEADER_MAX, &mask, err) < 0)
		return err->code != ERR_NONE
			   ? -1
			   : error_data(err, "record", "%s: too large a mask", record->key);
	hash = hash128_of(mask.data, mask.bytes);
	if (mask.dtype != DTYPE_U8 || mask.ndim != 2 || mask.shape[0] != facts->target_height ||
	    mask.shape[1] != facts->target_width || !hash128_equal(&hash, &facts->mask))
		return error_data(err, "record", "%s: the mask is not the one that its .json says",
				  record->key);
	if (out) {
		*out = mask;
		mask = (struct ndarray)NDARRAY_INIT;
	}
	return 0;
}
