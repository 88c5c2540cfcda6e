/*
 * Packets between the daemon and a worker process that it does not trust: one message each over a SOCK_SEQPACKET pair,
 * perhaps with a descriptor, and the numbers and strings in them, checked as they are taken out.
 */
#ifndef LATENTD_DAEMON_PACKET_H
#define LATENTD_DAEMON_PACKET_H

#include "base/buffer.h"

#include <stdbool.h>

#define PACKET_CLOSED 1

/* Sends @fd (-1: none) along, as a copy. ERR_IO. */
int packet_send(int socket, const void *bytes, size_t size, int fd, struct error *err);
/*
 * The next packet, of at most @capacity bytes (ERR_DATA `protocol`: it is longer), and the descriptor that came with it
 * (-1: none). PACKET_CLOSED: the other side is gone. ERR_TRANSIENT: none is there, on a socket that does not wait.
 */
int packet_receive(int socket, void *bytes, size_t capacity, size_t *size, int *fd,
		   struct error *err);

/* u16 length and bytes; at most 65,535. */
void packet_put_string(struct buffer *out, const char *s);

/* What is left of a packet, and whether everything that was taken was there and in its range. */
struct packet_cursor {
	const uint8_t *at;
	size_t left;
	bool ok;
};

/* The next @n bytes; where there are fewer, sixteen zeros, which is enough for every number. */
const uint8_t *packet_take(struct packet_cursor *c, size_t n);
uint64_t packet_u64(struct packet_cursor *c);
/* A size or a count of which nothing can be made when it is zero. */
uint64_t packet_positive(struct packet_cursor *c);
/* A byte below @limit. */
unsigned packet_below(struct packet_cursor *c, unsigned limit);
/* Text of at most @size - 1 bytes; made printable, because it comes from an untrusted process. */
void packet_string(struct packet_cursor *c, char *out, size_t size);

#endif
