/*
 * libarchive reads through the callbacks here. After a jump they read little, and more from block to block: a list of
 * a plain tar jumps from header to header, a pass through everything wants long reads.
 *
 * How far an archive has grown is asked each time more of it is read: passing over a member is one call of libarchive
 * that may unpack terabytes. What grows much is read in small blocks.
 */
#include "source/unpacker.h"

#include "base/checked.h"
#include "base/clock.h"
#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { BLOCK_FIRST = 4 << 10, BLOCK_MOST = 256 << 10, TICK_MS = 100, DENSE = 50 };

/* One pass of libarchive over the file. */
struct pass {
	struct unpacker *unpacker;
	struct archive *archive; /* NULL: none */
	int64_t at, end;	 /* in the file: what is read next, its size */
	uint64_t next;		 /* the place of the member whose header comes next */
	uint64_t grown;		 /* bytes of all members so far, as they say */
	size_t block;
	uint8_t *bytes; /* BLOCK_MOST */
};

struct unpacker {
	struct unpack_input in;
	struct error unread; /* why @in gave no more */
	struct unpack_limits limits;
	struct pass list, reading;
	uint64_t texts; /* bytes so far */
	uint8_t *text;
	bool bomb, ended;
	void (*tick)(void *arg);
	void *tick_arg;
	int64_t ticked;
};

/* -- libarchive's side ---------------------------------------------------------------------------- */

static void tick(struct unpacker *u)
{
	int64_t now;

	if (!u->tick)
		return;
	now = clock_mono_ms();
	if (now - u->ticked < TICK_MS)
		return;
	u->ticked = now;
	u->tick(u->tick_arg);
}

static bool is_7zip(struct archive *a)
{
	return (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_7ZIP;
}

/* In a 7-Zip archive members are compressed together: what is before one is unpacked to read it. */
static bool has_grown_too_far(const struct pass *p)
{
	const struct unpack_limits *limits = &p->unpacker->limits;
	bool together = is_7zip(p->archive);
	int64_t unpacked = archive_filter_bytes(p->archive, 0);
	uint64_t out = together ? p->grown : unpacked > 0 ? (uint64_t)unpacked : 0;
	uint64_t in = (uint64_t)(together ? p->end : p->at);

	return (together || archive_filter_count(p->archive) > 1) && in > 0 &&
	       out > limits->grown_bytes && out / limits->grown_times > in;
}

/* Sets the error as well. */
static bool is_bomb(struct pass *p)
{
	if (!has_grown_too_far(p))
		return false;
	p->unpacker->bomb = true;
	archive_set_error(p->archive, EFBIG, "it grows to more than %d times its size",
			  (int)p->unpacker->limits.grown_times);
	return true;
}

/* -1 with errno, or with u->unread. */
static ssize_t read_in(struct unpacker *u, uint64_t offset, void *out, size_t size)
{
	ssize_t n;

	if (u->in.read)
		return size > 0 && u->in.read(u->in.arg, offset, out, size, &u->unread) < 0
			   ? -1
			   : (ssize_t)size;
	do
		n = pread(u->in.fd, out, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **block)
{
	struct pass *p = arg;
	int64_t left = p->end - p->at;
	size_t want = left < (int64_t)p->block ? (size_t)left : p->block;
	ssize_t n;

	tick(p->unpacker);
	if (is_bomb(p))
		return ARCHIVE_FATAL;
	n = read_in(p->unpacker, (uint64_t)p->at, p->bytes, want);
	if (n < 0) {
		archive_set_error(a, errno, "read");
		return ARCHIVE_FATAL;
	}
	p->at += n;
	if (archive_filter_bytes(p->archive, 0) / DENSE > p->at)
		p->block = BLOCK_FIRST;
	else if (p->block < BLOCK_MOST)
		p->block *= 2;
	*block = p->bytes;
	return n;
}

/* Never beyond the end: libarchive finds out by reading that something is missing. */
static la_int64_t on_skip(struct archive *a, void *arg, la_int64_t request)
{
	struct pass *p = arg;
	int64_t left = p->end - p->at, skipped = request < left ? request : left;

	(void)a;
	p->at += skipped;
	p->block = BLOCK_FIRST;
	return skipped;
}

static la_int64_t on_seek(struct archive *a, void *arg, la_int64_t offset, int whence)
{
	struct pass *p = arg;
	int64_t from = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? p->at : p->end, to;

	(void)a;
	if (__builtin_add_overflow(from, offset, &to) || to < 0 || to > p->end)
		return ARCHIVE_FATAL;
	p->at = to;
	p->block = BLOCK_FIRST;
	return to;
}

/* -- errors --------------------------------------------------------------------------------------- */

static bool says(const char *message, const char *word)
{
	return strcasestr(message, word) != NULL;
}

static const char *reason_of(const struct unpacker *u, const char *message)
{
	if (u->bomb)
		return "bomb";
	if (says(message, "passphrase") || says(message, "encrypt"))
		return "encrypted";
	if (says(message, "unsupported") || says(message, "not supported") ||
	    says(message, "unrecognized archive"))
		return "unsupported";
	if (says(message, "truncated") || says(message, "unexpected end"))
		return "truncated";
	return "corrupt";
}

/* Where a file ends early, what is missing reads as damage of many kinds. */
static int failed(struct pass *p, struct error *err)
{
	const char *message = archive_error_string(p->archive);
	char quoted[TEXT_QUOTE_SIZE];

	if (p->unpacker->unread.code != ERR_NONE) {
		*err = p->unpacker->unread;
		error_clear(&p->unpacker->unread);
		return -1;
	}
	text_quote(message ? message : "it cannot be read", quoted);
	if (archive_errno(p->archive) == EIO)
		return error_data(err, "unreadable", "the disk cannot read it: %s", quoted);
	if (archive_errno(p->archive) == ENOMEM)
		return error_set(err, ERR_NOMEM, "no memory to unpack it");
	return error_data(err, reason_of(p->unpacker, quoted), "%.*s", (int)strlen(quoted) - 2,
			  quoted + 1);
}

/* -- a pass --------------------------------------------------------------------------------------- */

static void pass_end(struct pass *p)
{
	if (p->archive)
		archive_read_free(p->archive);
	p->archive = NULL;
}

static void support(struct archive *a, bool anything)
{
	archive_read_support_format_tar(a);
	if (!anything)
		return;
	archive_read_support_format_zip(a);
	archive_read_support_format_7zip(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
}

/* From byte @offset on, where a header of a plain tar is; 0: from the beginning, whatever it is. */
static int pass_begin(struct pass *p, uint64_t offset, struct error *err)
{
	pass_end(p);
	p->archive = archive_read_new();
	if (!p->archive)
		return error_set(err, ERR_NOMEM, "no memory to unpack it");
	support(p->archive, offset == 0);
	archive_read_set_read_callback(p->archive, on_read);
	archive_read_set_skip_callback(p->archive, on_skip);
	if (offset == 0)
		archive_read_set_seek_callback(p->archive, on_seek);
	archive_read_set_callback_data(p->archive, p);
	p->at = (int64_t)offset;
	p->next = 0;
	p->grown = 0;
	p->block = BLOCK_FIRST;
	if (archive_read_open1(p->archive) != ARCHIVE_OK)
		return failed(p, err);
	return 0;
}

/* UNPACK_END; a header that is only odd is fine. */
static int pass_next(struct pass *p, struct archive_entry **entry, struct error *err)
{
	int r = archive_read_next_header(p->archive, entry);

	if (r == ARCHIVE_EOF)
		return UNPACK_END;
	if (r >= ARCHIVE_WARN &&
	    __builtin_add_overflow(p->grown, (uint64_t)archive_entry_size(*entry), &p->grown))
		p->grown = UINT64_MAX;
	if (r < ARCHIVE_WARN || is_bomb(p))
		return failed(p, err);
	p->next++;
	return 0;
}

static bool is_plain_tar(struct archive *a)
{
	return archive_filter_count(a) == 1 &&
	       (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
}

/*
 * The first bytes of a member. Where what was passed over in a 7-Zip archive is a multiple of 64 KiB, libarchive 3.6
 * says once that it is truncated, and has the bytes when it is asked again; their checksum is looked at in any case.
 */
static la_ssize_t read_first(struct archive *a, void *out, size_t size)
{
	la_ssize_t n = archive_read_data(a, out, size);

	return n < 0 && is_7zip(a) ? archive_read_data(a, out, size) : n;
}

/* -- the list ------------------------------------------------------------------------------------- */

/* Without it the member is told of as well. */
static void read_text(struct unpacker *u, struct unpack_member *m)
{
	size_t most = u->limits.text_bytes, got = 0;
	la_ssize_t n;

	if (!m->regular || m->encrypted || (m->size != UNPACK_UNKNOWN && m->size > most) ||
	    u->texts + most > u->limits.texts_bytes)
		return;
	n = read_first(u->list.archive, u->text, most + 1);
	while (n > 0) {
		got += (size_t)n;
		n = got <= most ? archive_read_data(u->list.archive, u->text + got, most + 1 - got)
				: 0;
	}
	if (n < 0 || got > most)
		return;
	u->texts += got;
	m->text = u->text;
	m->text_size = got;
}

static const char *name_of(struct archive_entry *entry)
{
	const char *name = archive_entry_pathname(entry);

	return name ? name : archive_entry_pathname_utf8(entry);
}

static void describe(struct unpacker *u, struct archive_entry *entry, struct unpack_member *m)
{
	const char *name = name_of(entry);

	*m = (struct unpack_member){
	    .name = name ? name : "",
	    .size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry)
						     : UNPACK_UNKNOWN,
	    .place = u->list.next - 1,
	    .offset = UNPACK_NOWHERE,
	    .regular = archive_entry_filetype(entry) == AE_IFREG &&
		       !archive_entry_hardlink(entry) && name && strlen(name) < UNPACK_NAME_MAX,
	    .encrypted = archive_entry_is_encrypted(entry) != 0};
	if (is_plain_tar(u->list.archive))
		m->offset = (uint64_t)archive_read_header_position(u->list.archive);
	if (unpack_wants_text(m->name))
		read_text(u, m);
}

int unpacker_next(struct unpacker *u, struct unpack_member *m, struct error *err)
{
	struct archive_entry *entry = NULL;
	int r;

	if (u->ended)
		return UNPACK_END;
	if (u->list.next >= u->limits.members)
		return error_data(err, "too_large", "more than %llu members",
				  (unsigned long long)u->limits.members);
	r = u->list.archive ? 0 : pass_begin(&u->list, 0, err);
	if (r == 0)
		r = pass_next(&u->list, &entry, err);
	if (r == 0)
		describe(u, entry, m);
	else
		u->ended = true;
	if (u->ended)
		pass_end(&u->list);
	return r;
}

/* -- one member ----------------------------------------------------------------------------------- */

static int go_to(struct unpacker *u, const struct unpack_member *m, struct archive_entry **entry,
		 struct error *err)
{
	struct pass *p = &u->reading;
	int r = 0;

	if (m->offset != UNPACK_NOWHERE)
		r = pass_begin(p, m->offset, err);
	else if (!p->archive || p->next > m->place)
		r = pass_begin(p, 0, err);
	do {
		if (r == 0)
			r = pass_next(p, entry, err);
	} while (r == 0 && m->offset == UNPACK_NOWHERE && p->next <= m->place);
	if (r == UNPACK_END)
		return error_data(err, "truncated", "it ends before this member");
	return r;
}

static ssize_t read_data(struct pass *p, uint8_t *out, size_t size, struct error *err)
{
	size_t got = 0;
	uint8_t more;
	la_ssize_t n =
	    size > 0 ? read_first(p->archive, out, size) : read_first(p->archive, &more, 1);

	while (n > 0) {
		if (got == size)
			return error_data(err, "too_large", "it has more than %zu bytes", size);
		got += (size_t)n;
		n = got < size ? archive_read_data(p->archive, out + got, size - got)
			       : archive_read_data(p->archive, &more, 1);
	}
	return n < 0 ? failed(p, err) : (ssize_t)got;
}

ssize_t unpacker_read(struct unpacker *u, const struct unpack_member *m, uint8_t *out, size_t size,
		      struct error *err)
{
	struct archive_entry *entry = NULL;
	const char *name;
	ssize_t n = -1;
	int r = go_to(u, m, &entry, err);

	name = r == 0 ? name_of(entry) : NULL;
	if (r == 0 && (!name || strcmp(name, m->name) != 0))
		r = error_data(err, "changed", "another member stands there now");
	if (r == 0 && archive_entry_is_encrypted(entry))
		r = error_data(err, "encrypted", "it is encrypted");
	if (r == 0)
		n = read_data(&u->reading, out, size, err);
	if (n < 0 || m->offset != UNPACK_NOWHERE)
		pass_end(&u->reading); /* behind an error nothing is certain */
	return n;
}

/* -- begin and end -------------------------------------------------------------------------------- */

int unpacker_open(const struct unpack_input *in, const struct unpack_limits *limits,
		  struct unpacker **out, struct error *err)
{
	int64_t end = in->read ? (int64_t)in->size : lseek(in->fd, 0, SEEK_END);
	struct unpacker *u;

	if (end < 0)
		return error_sys(err, "find its end");
	if (end == 0)
		return error_data(err, "truncated", "it is empty");
	u = xcalloc(1, sizeof(*u));
	u->in = *in;
	u->limits = *limits;
	u->text = xmalloc(limits->text_bytes + 1);
	u->list = u->reading = (struct pass){.unpacker = u, .end = end};
	u->list.bytes = xmalloc(BLOCK_MOST);
	u->reading.bytes = xmalloc(BLOCK_MOST);
	*out = u;
	return 0;
}

void unpacker_on_tick(struct unpacker *u, void (*fn)(void *arg), void *arg)
{
	u->tick = fn;
	u->tick_arg = arg;
}

void unpacker_close(struct unpacker *u)
{
	if (!u)
		return;
	pass_end(&u->list);
	pass_end(&u->reading);
	free(u->list.bytes);
	free(u->reading.bytes);
	free(u->text);
	free(u);
}
