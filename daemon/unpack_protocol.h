/*
 * What the daemon and a `latentd-unpack` process say to each other:
 *
 *	daemon                                      worker
 *	START limits                            ->
 *	                                        <-  READY how it is confined
 *	OPEN size (+ descriptor of the archive) ->                   the only one from now on
 *	LIST                                    ->
 *	                                        <-  MEMBER, and TEXT as often as its text takes; ...; END
 *	READ place, offset, name, size (+ memfd) ->
 *	                                        <-  DONE bytes       they lie in the memfd
 *
 * Of an archive without a descriptor, which has so many bytes, the worker asks for what it needs:
 *
 *	                                        <-  WANT offset, size
 *	BYTES those                             ->
 *
 * One question is open at a time. Instead of END or DONE comes FAILED with an error, and while nothing else comes, TICK
 * about ten times a second. Messages are single packets (packet.h); what the worker says is checked once, by
 * unpack_message_parse() and, where it is about what came before, by unpack_process.
 */
#ifndef LATENTD_DAEMON_UNPACK_PROTOCOL_H
#define LATENTD_DAEMON_UNPACK_PROTOCOL_H

#include "base/buffer.h"
#include "daemon/confine.h"
#include "source/unpack.h"

#define UNPACK_PROTOCOL_VERSION 2
#define UNPACK_TEXT_MAX		((size_t)32 << 10) /* of one TEXT, one WANT */
#define UNPACK_MESSAGE_MAX	((size_t)40 << 10)

enum unpack_message_type {
	UNPACK_SAYS_START = 1,
	UNPACK_SAYS_OPEN,
	UNPACK_SAYS_LIST,
	UNPACK_SAYS_READ,
	UNPACK_SAYS_BYTES,
	UNPACK_SAYS_READY = 64,
	UNPACK_SAYS_TICK,
	UNPACK_SAYS_MEMBER,
	UNPACK_SAYS_TEXT,
	UNPACK_SAYS_END,
	UNPACK_SAYS_DONE,
	UNPACK_SAYS_FAILED,
	UNPACK_SAYS_WANT,
};

/* A message, in the memory of its packet: strings and bytes point into it. */
struct unpack_message {
	enum unpack_message_type type;
	union {
		struct unpack_limits limits; /* of START */
		uint64_t size;		     /* of OPEN; 0: the descriptor tells */
		struct confinement ready;
		/* Of MEMBER, and as far as it counts of READ. Its text comes later: text is NULL, text_size its size. */
		struct {
			struct unpack_member member;
			bool has_text;
		};
		struct {
			const uint8_t *bytes;
			size_t size;
		} text; /* of TEXT and BYTES */
		struct {
			uint64_t offset;
			size_t size;
		} want;
		uint64_t done; /* bytes */
		struct error failed;
	};
};

void unpack_message_format(const struct unpack_message *m, struct buffer *out);
int unpack_message_send(int socket, const struct unpack_message *m, int fd, struct error *err);
/* ERR_DATA `protocol`. @bytes end with a NUL that @size does not count. */
int unpack_message_parse(const uint8_t *bytes, size_t size, struct unpack_message *m,
			 struct error *err);
/*
 * Receives one into @packet, of UNPACK_MESSAGE_MAX + 1 bytes. PACKET_CLOSED, ERR_TRANSIENT as packet_receive().
 */
int unpack_message_receive(int socket, uint8_t *packet, struct unpack_message *m, int *fd,
			   struct error *err);

#endif
