/*
 * What the daemon and a `latentd-decode` process say to each other:
 *
 *	daemon                                    worker
 *	START mode, limits, slot (+ memfd)    ->
 *	                                      <-  READY how it is confined
 *	OPEN berth (+ descriptor of the file) ->
 *	                                      <-  HASHED content, bytes
 *	                                      <-  HEADER format, size, orientation, memory needed
 *	GEOMETRY berth, pictures, policy      ->
 *	                                      <-  DONE how long it resized: the pixels lie in the berth's slot
 *	or SKIP berth                         ->                        the image is forgotten
 *
 * A worker has DECODE_BERTHS berths, each with room for an image that was opened and for its pixels, so that the next
 * images are read, hashed and answered before the last one is drawn: while it draws one, the OPEN of another and
 * the GEOMETRY of a third may stand in its socket. It does what it was asked strictly in order, each OPEN and
 * GEOMETRY to its end, so its answers need not say what they are about, and it is known what it is at.
 *
 * In the modes that only look at images, HEADER (DECODE_MODE_HEADERS: alone, and no more of the file is read than its
 * header takes) is an image's end. There is no slot then.
 *
 * Instead of any answer the worker may say FAILED with an error; the berth is free then, as after DONE. HASHED and HEADER
 * come before any decoding, so that duplicates cost none, and memory is reserved before the first pixel.
 *
 * Messages are single packets of a SOCK_SEQPACKET pair, explicit little-endian. The daemon believes
 * nothing: decode_message_parse() checks lengths, ranges and enums once, at the door; what belongs
 * together (a DONE without GEOMETRY) is checked by decode_pool.
 */
#ifndef LATENTD_DAEMON_DECODE_PROTOCOL_H
#define LATENTD_DAEMON_DECODE_PROTOCOL_H

#include "base/buffer.h"
#include "base/hash.h"
#include "daemon/confine.h"
#include "image/decode.h"
#include "image/render.h"

#define DECODE_PROTOCOL_VERSION 6
#define DECODE_MESSAGE_MAX	1024
#define DECODE_BERTHS		3

enum decode_message_type {
	DECODE_START = 1,
	DECODE_OPEN,
	DECODE_SKIP,
	DECODE_GEOMETRY,
	DECODE_READY = 64,
	DECODE_HASHED,
	DECODE_HEADER,
	DECODE_DONE,
	DECODE_FAILED,
};

enum decode_mode { DECODE_MODE_PIXELS, DECODE_MODE_HEADERS, DECODE_MODE_HASHES };

struct decode_message {
	enum decode_message_type type;
	unsigned berth; /* of OPEN, GEOMETRY and SKIP */
	union {
		struct {
			enum decode_mode mode;
			struct image_limits limits;
			uint64_t slot_bytes; /* of each berth */
		} start;
		struct confinement ready;
		struct {
			struct render_geometry geometries[RENDERS_MAX];
			size_t n; /* 1 at least; they lie one behind the other in the slot */
			struct image_policy policy;
		} draw;
		struct {
			struct hash128 content;
			uint64_t bytes;
		} hashed;
		struct image_header header;
		struct {
			uint64_t resize_ns; /* of the time since GEOMETRY */
		} done;
		struct error failed;
	};
};

void decode_message_format(const struct decode_message *m, struct buffer *out);
/* ERR_DATA `protocol`: not a message of this version, wrong length, a value out of its range. */
int decode_message_parse(const uint8_t *bytes, size_t size, struct decode_message *m,
			 struct error *err);

#define CONFINEMENT_TEXT_SIZE 64
/* "seccomp, landlock 7, rlimits"; "no" in front of what was not achieved. */
void confinement_text(const struct confinement *c, char out[CONFINEMENT_TEXT_SIZE]);

/* Sends @m, with @fd (-1: none) as a copy. ERR_IO. */
int decode_message_send(int socket, const struct decode_message *m, int fd, struct error *err);

#define DECODE_CLOSED 1

/*
 * Receives one message and the descriptor that came with it (-1: none). DECODE_CLOSED: the other side is gone.
 * Does not wait on a non-blocking socket: ERR_TRANSIENT then.
 */
int decode_message_receive(int socket, struct decode_message *m, int *fd, struct error *err);

#endif
