/*
 * Who parses archives for a source. Archives are hostile bytes: the daemon has them parsed by a confined process
 * (daemon/unpack_process.h); tests may do it themselves (unpack_local_open()).
 *
 *	unpack_local_open(&limits, &unpack, err)
 *	unpack_list(unpack, UNPACK_FD(fd), on_member, arg, err)       every member, in the order in which they stand
 *	fd = unpack_read(unpack, UNPACK_FD(fd), number, &member, err)
 *	unpack_close(unpack)
 *
 * One thread at a time.
 */
#ifndef LATENTD_SOURCE_UNPACK_H
#define LATENTD_SOURCE_UNPACK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNPACK_END	1
#define UNPACK_STOPPED	2
#define UNPACK_NOWHERE	UINT64_MAX
#define UNPACK_UNKNOWN	UINT64_MAX
#define UNPACK_NAME_MAX 4096

/* Beyond these an archive, or a member, is not read further. */
struct unpack_limits {
	uint64_t member_bytes; /* of one that is read */
	uint64_t text_bytes;   /* of a text that is kept while listing; larger ones are left out */
	uint64_t texts_bytes;  /* of all texts together */
	uint64_t members;
	/* What it may grow to when it is unpacked: so many bytes, and so many times what was read of it. */
	uint64_t grown_bytes, grown_times;
};

#define UNPACK_LIMITS_DEFAULT                                                                      \
	{                                                                                          \
		(uint64_t)512 << 20, (uint64_t)1 << 20, (uint64_t)256 << 20, 10000000,             \
		    (uint64_t)1 << 30, 1000                                                        \
	}

struct unpack_member {
	const char *name; /* as it stands there: any bytes, "../" and all */
	uint64_t size;	  /* UNPACK_UNKNOWN: only its reading tells */
	uint64_t place;	  /* counted from 0 among all members */
	uint64_t offset;  /* where it can be read without what is before it; UNPACK_NOWHERE */
	bool regular;	  /* a file; no link, device or folder */
	bool encrypted;
	/* Of a name with an ending that unpack_wants_text() knows, if it is within the limits. NULL: not read. */
	const void *text;
	size_t text_size;
};

/* What belongs to an image: a caption or metadata. Its bytes come with the list. */
bool unpack_wants_text(const char *name);

/*
 * @m: valid during the call; NULL: nothing new, the list is being made. Not 0: no further.
 */
typedef int (*unpack_member_fn)(void *arg, const struct unpack_member *m);

/* The bytes of an archive: a file, or what @read gives of an object that is elsewhere. */
struct unpack_input {
	int fd; /* -1: none */
	uint64_t size;
	/* All of these, which lie within @size. Its error is that of the list or of the member. */
	int (*read)(void *arg, uint64_t offset, void *out, size_t size, struct error *err);
	void *arg;
};

#define UNPACK_FD(file) (&(const struct unpack_input){.fd = (file)})

struct unpack;

struct unpack_ops {
	const char *name; /* "local", "process" */

	/*
	 * Lists archive @in, which stays the caller's. UNPACK_STOPPED: @on_member said so. ERR_DATA, after what came
	 * before that: `truncated`, `corrupt`, `encrypted` (not even the names are readable), `bomb`, `unsupported`,
	 * `too_large` (too many members), `worker_died`, `timeout`.
	 */
	int (*list)(struct unpack *u, const struct unpack_input *in, unpack_member_fn on_member,
		    void *arg, struct error *err);
	/*
	 * A descriptor, the caller's, of a file with the bytes of @m alone, at position 0. @number is one that no other
	 * archive had: members of the last archive are read on from the last one.
	 * ERR_DATA as list, also `too_large`; ERR_TRANSIENT: no descriptor, no memory, stopped.
	 */
	int (*read)(struct unpack *u, const struct unpack_input *in, uint64_t number,
		    const struct unpack_member *m, struct error *err);
	void (*close)(struct unpack *u);
};

struct unpack {
	const struct unpack_ops *ops;
	/* Asked before a member is read, and now and then meanwhile; true: the read ends with ERR_TRANSIENT. NULL: it is never stopped. */
	bool (*stop)(void *arg);
	void *stop_arg;
};

int unpack_list(struct unpack *u, const struct unpack_input *in, unpack_member_fn on_member,
		void *arg, struct error *err);
int unpack_read(struct unpack *u, const struct unpack_input *in, uint64_t number,
		const struct unpack_member *m, struct error *err);
/* NULL is fine. */
void unpack_close(struct unpack *u);

/*
 * For those who implement it: a file in memory of @size zeros. ERR_TRANSIENT.
 */
int unpack_file_new(size_t size, struct error *err);

/* In this process. */
int unpack_local_open(const struct unpack_limits *limits, struct unpack **out, struct error *err);

#endif
