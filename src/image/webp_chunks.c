/*
 * "RIFF", size, "WEBP", then chunks: a name of four bytes, the size of what follows, that, and a byte
 * more if the size is odd. A simple file is one VP8 or VP8L chunk; an extended one starts with VP8X,
 * whose flags say what else counts (as for libwebpdemux, EXIF without its flag does not).
 */
#include "image/webp_chunks.h"

#include "base/buffer.h"

#include <string.h>

#define RIFF_HEADER_SIZE  12
#define CHUNK_HEADER_SIZE 8
#define VP8X_SIZE	  10
#define ANMF_HEADER_SIZE  16 /* left, top, width, height (3 each), duration (3), flags */

#define FLAG_ANIMATION 0x02
#define FLAG_EXIF      0x08
#define FLAG_ALPHA     0x10
#define FLAG_PROFILE   0x20

struct chunk {
	const uint8_t *start; /* the header */
	const uint8_t *data;
	size_t size; /* of data */
};

static size_t get_u24le(const uint8_t *p)
{
	return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16;
}

static bool is(const struct chunk *c, const char *name)
{
	return memcmp(c->start, name, 4) == 0;
}

/* The chunks of a file of which the first @end bytes are here. */
struct walk {
	const uint8_t *bytes;
	size_t at, end;
	bool cut; /* there are more that are not */
};

/* 0; -1; 1: no more. Of a cut file the last chunk may be shorter than it says; w->at is then at the end. */
static int next_chunk(struct walk *w, struct chunk *out, struct error *err)
{
	size_t left = w->end - w->at, size;

	if (left < CHUNK_HEADER_SIZE)
		return 1;
	left -= CHUNK_HEADER_SIZE;
	size = get_u32le(w->bytes + w->at + 4);
	if (size > left && !w->cut)
		return error_data(err, "corrupt", "WebP: the chunk at byte %zu is too long", w->at);
	if (size > left)
		size = left;
	*out = (struct chunk){w->bytes + w->at, w->bytes + w->at + CHUNK_HEADER_SIZE, size};
	w->at += CHUNK_HEADER_SIZE + size + (size < left ? size % 2 : 0);
	return 0;
}

static int take_canvas(struct webp_chunks *out, const struct chunk *c, struct error *err)
{
	if (c->size < VP8X_SIZE)
		return error_data(err, "corrupt", "WebP: its VP8X chunk has %zu bytes", c->size);
	out->extended = true;
	out->animated = c->data[0] & FLAG_ANIMATION;
	out->alpha = c->data[0] & FLAG_ALPHA;
	out->width = get_u24le(c->data + 4) + 1;
	out->height = get_u24le(c->data + 7) + 1;
	return 0;
}

static int take_animation_frame(struct webp_chunks *out, const struct chunk *c, struct error *err)
{
	if (c->size < ANMF_HEADER_SIZE)
		return error_data(err, "corrupt", "WebP: a frame of %zu bytes", c->size);
	out->left = 2 * get_u24le(c->data);
	out->top = 2 * get_u24le(c->data + 3);
	out->frame_width = get_u24le(c->data + 6) + 1;
	out->frame_height = get_u24le(c->data + 9) + 1;
	if (out->left + out->frame_width > out->width || out->top + out->frame_height > out->height)
		return error_data(err, "corrupt", "WebP: the first frame leaves the canvas");
	out->frame = (struct webp_span){c->data + ANMF_HEADER_SIZE, c->size - ANMF_HEADER_SIZE};
	return 0;
}

/* The frame of a still picture: VP8L, VP8, or ALPH (which comes to lie in front) and VP8. */
static void take_picture(struct webp_chunks *out, const struct chunk *alpha, const struct chunk *c)
{
	const uint8_t *start = alpha->start ? alpha->start : c->start;

	out->frame = (struct webp_span){start, (size_t)(c->data - start) + c->size};
}

static void take_metadata(struct webp_chunks *out, const struct chunk *c, unsigned flags)
{
	struct webp_span span = {c->data, c->size};

	if (is(c, "EXIF") && (flags & FLAG_EXIF) && !out->exif.data)
		out->exif = span;
	else if (is(c, "ICCP") && (flags & FLAG_PROFILE) && !out->profile.data)
		out->profile = span;
}

static int scan_extended(struct walk *w, unsigned flags, struct webp_chunks *out, struct error *err)
{
	struct chunk c = {NULL, NULL, 0}, alpha = {NULL, NULL, 0};
	int more = 0;

	while ((more = next_chunk(w, &c, err)) == 0) {
		bool first = !out->frame.data;
		bool whole = !w->cut || w->at < w->end;

		if (!whole && is(&c, "ANMF") && c.size < ANMF_HEADER_SIZE)
			return 0;
		if (out->animated && first && is(&c, "ANMF")) {
			if (take_animation_frame(out, &c, err) < 0)
				return -1;
		} else if (!out->animated && first && is(&c, "ALPH")) {
			alpha = c;
		} else if (!out->animated && first && (is(&c, "VP8 ") || is(&c, "VP8L"))) {
			take_picture(out, &alpha, &c);
		} else if (whole) {
			take_metadata(out, &c, flags);
		}
	}
	return more < 0 ? -1 : 0;
}

static int ends_early(size_t size, struct error *err)
{
	return error_data(err, "truncated", "WebP ends at byte %zu, in its header", size);
}

int webp_chunks_scan(const uint8_t *bytes, size_t size, struct webp_chunks *out, struct error *err)
{
	struct webp_chunks found = {.cut = false};
	struct chunk c = {NULL, NULL, 0}, no_alpha = {NULL, NULL, 0};
	struct walk w = {bytes, RIFF_HEADER_SIZE, size, true};
	unsigned flags = 0;

	if (size < RIFF_HEADER_SIZE + CHUNK_HEADER_SIZE)
		return ends_early(size, err);
	if (get_u32le(bytes + 4) <= size - CHUNK_HEADER_SIZE) {
		w.end = get_u32le(bytes + 4) + (size_t)CHUNK_HEADER_SIZE;
		w.cut = false;
	}
	if (w.end < RIFF_HEADER_SIZE + CHUNK_HEADER_SIZE)
		return error_data(err, "corrupt", "WebP of %zu bytes", w.end);
	if (next_chunk(&w, &c, err) < 0)
		return -1;
	if (is(&c, "VP8X")) {
		if (w.cut && c.size < VP8X_SIZE)
			return ends_early(size, err);
		if (take_canvas(&found, &c, err) < 0)
			return -1;
		flags = c.data[0];
		if (scan_extended(&w, flags, &found, err) < 0)
			return -1;
	} else {
		take_picture(&found, &no_alpha, &c);
	}
	if (w.cut && (!found.frame.data || (flags & FLAG_EXIF && !found.exif.data)))
		return ends_early(size, err);
	if (!found.frame.data)
		return error_data(err, "corrupt", "WebP: there is no picture in it");
	found.cut = w.cut;
	*out = found;
	return 0;
}
