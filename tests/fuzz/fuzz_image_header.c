/*
 * Any bytes as an image file: the header, from memory and from a descriptor, and the pixels when there are few
 * enough for a fast run, whole and rendered. How is decided by a hash of the first bytes, so that the corpus
 * holds plain image files.
 */
#include "base/cleanup.h"
#include "base/files.h"
#include "image/decode.h"
#include "image/header_fd.h"
#include "image/render.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const struct image_limits limits = {1u << 20, 1u << 16, 4096};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* FNV-1a of the beginning. */
static uint32_t choice_of(const uint8_t *data, size_t size)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < size && i < 64; i++)
		h = (h ^ data[i]) * 16777619u;
	return h;
}

static struct image_policy policy_of(uint32_t choice)
{
	struct image_policy policy = IMAGE_POLICY_DEFAULT;

	policy.apply_exif = choice & 1;
	policy.color = choice & 2 ? COLOR_IGNORE : COLOR_SRGB;
	policy.alpha = choice & 4 ? ALPHA_DROP : ALPHA_OVER;
	policy.jpeg_scaling = choice & 8;
	return policy;
}

/*
 * The file in @out, that of a PNG or WebP with a long chunk behind the first, so that what follows lies beyond
 * what is read at once.
 */
static void lengthen(struct buffer *out, const uint8_t *data, size_t size, size_t at, bool png)
{
	enum { FILLER = 70000 };
	const uint8_t length[4] = {0, FILLER >> 16, FILLER >> 8 & 255, FILLER & 255};

	buffer_append(out, data, at);
	if (png)
		buffer_append(out, length, 4);
	buffer_append(out, "prIv", 4);
	if (!png)
		buffer_put_u32(out, FILLER);
	buffer_append_zeros(out, FILLER + (png ? 4 : 0));
	buffer_append(out, data + at, size - at);
	if (!png) {
		uint32_t riff = get_u32le(data + 4) + FILLER + 8;

		for (size_t i = 0; i < 4; i++)
			out->data[4 + i] = (uint8_t)(riff >> (8 * i));
	}
}

static void check_descriptor(const uint8_t *data, size_t size, const struct image_header *want,
			     bool found)
{
	cleanup_buffer struct buffer scratch = BUFFER_INIT;
	cleanup_close int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct image_header got;
	struct error err = ERROR_INIT;

	if (fd < 0 || fd_write_all(fd, data, size, &err) < 0)
		abort();
	if (image_read_header_fd(fd, &limits, &scratch, &got, &err) < 0) {
		if (found && want->format != IMAGE_WEBP)
			abort();
	} else if (found && (got.width != want->width || got.height != want->height ||
			     got.orientation != want->orientation)) {
		abort();
	}
}

static void check_descriptors(const uint8_t *data, size_t size, const struct image_header *want,
			      bool found)
{
	cleanup_buffer struct buffer longer = BUFFER_INIT;

	check_descriptor(data, size, want, found);
	if (!found || size < 33 || (want->format != IMAGE_PNG && want->format != IMAGE_WEBP) ||
	    (want->format == IMAGE_WEBP && memcmp(data + 12, "VP8X\x0a\0\0\0", 8) != 0))
		return;
	lengthen(&longer, data, size, want->format == IMAGE_PNG ? 33 : 30,
		 want->format == IMAGE_PNG);
	check_descriptor(longer.data, longer.size, want, true);
}

static void check_whole(const uint8_t *data, size_t size, const struct image_header *header,
			const struct image_policy *policy)
{
	cleanup_image struct image image = IMAGE_INIT;
	struct error err = ERROR_INIT;
	size_t width = header->width, height = header->height;

	if (policy->apply_exif)
		image_oriented_size(header, &width, &height);
	if (image_decode(data, size, &limits, policy, &image, &err) == 0 &&
	    (image.width != width || image.height != height))
		abort();
}

static void check_rendered(const uint8_t *data, size_t size, const struct image_header *header,
			   const struct image_policy *policy, uint32_t choice)
{
	static uint8_t out[256 * 256 * 3];
	struct render_geometry g = {
	    .full_width = 1 + (choice >> 8 & 127),
	    .full_height = 1 + (choice >> 15 & 127),
	    .filter = (enum resample_filter)((choice >> 22) % (FILTER_KOHYA + 1)),
	};
	struct error err = ERROR_INIT;

	g.left = choice & 16 ? g.full_width / 3 : 0;
	g.top = choice & 32 ? g.full_height / 4 : 0;
	g.width = g.full_width - g.left;
	g.height = g.full_height - g.top;
	if (image_render_bytes(header, policy, &g, 1) == SIZE_MAX)
		abort();
	if (image_render(data, size, &limits, policy, &g, out, &err) < 0 && err.code == ERR_BUG)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t choice = choice_of(data, size);
	struct image_policy policy = policy_of(choice);
	struct image_header header;
	struct error err = ERROR_INIT;
	bool found = image_read_header(data, size, &limits, &header, &err) == 0;

	check_descriptors(data, size, &header, found);
	if (!found)
		return 0;
	if (header.decode_bytes > image_decode_bytes_max(header.width, header.height))
		abort();
	check_whole(data, size, &header, &policy);
	check_rendered(data, size, &header, &policy, choice);
	return 0;
}
