#include "source/archive_file.h"

#include "base/checked.h"
#include "base/hash.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* -- listing -------------------------------------------------------------------------------------- */

void archive_reading_release(struct archive_reading *reading)
{
	unpack_close(reading->unpack);
	archive_lists_close(reading->lists);
}

static int need_unpack(struct archive_reading *reading, struct error *err)
{
	if (reading->unpack)
		return 0;
	if (reading->options->unpack(&reading->unpack, err) < 0)
		return -1;
	reading->unpack->stop = reading->options->stop;
	reading->unpack->stop_arg = reading->options->stop_arg;
	return 0;
}

struct listing {
	struct archive_index *index;
	const struct source_folder_options *options;
	struct buffer list; /* to be kept */
	bool kept;	    /* the last member is in it */
};

static int on_member(void *arg, const struct unpack_member *m)
{
	struct listing *l = arg;

	if (m) {
		bool wanted = archive_index_wants(m);

		archive_index_add(l->index, m);
		if (wanted || l->kept)
			archive_list_put(&l->list, m);
		l->kept = wanted;
	}
	return l->options->stop && l->options->stop(l->options->stop_arg);
}

static void on_kept_member(void *arg, const struct unpack_member *m)
{
	archive_index_add(arg, m);
}

static void note(const struct archive_file *a, const struct source_folder_options *options,
		 const char *what)
{
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *line = xasprintf("%s %s", text_quote(a->path, quoted), what);

	if (options->note)
		options->note(options->note_arg, line);
}

static void note_passed_over(const struct archive_file *a,
			     const struct source_folder_options *options)
{
	const char *last = NULL;
	size_t n = archive_index_passed_over(a->index, &last);
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_free char *what = NULL;

	if (n == 0)
		return;
	what = xasprintf("has %zu image%s that %s, as %s: not read", n, n > 1 ? "s" : "",
			 n > 1 ? "are links or lead out of it" : "is a link or leads out of it",
			 text_quote(last, quoted));
	note(a, options, what);
}

/* What was found before it is used. */
static void take_damage(struct archive_file *a, const struct error *why)
{
	const char *last = archive_index_last(a->index);
	char name[TEXT_QUOTE_SIZE], quoted[TEXT_QUOTE_SIZE];

	text_quote(a->path, name);
	if (*last)
		error_data(&a->damage, why->reason, "%s: %s, behind %s; %zu images are used", name,
			   why->message, text_quote(last, quoted), archive_index_count(a->index));
	else
		error_data(&a->damage, why->reason, "%s: %s", name, why->message);
}

static struct archive_stamp stamp_of(const struct archive_file *a)
{
	return (struct archive_stamp){a->size, a->inode, a->mtime_ns};
}

/* The list that is kept of it, if there is one. */
static bool take_list(struct archive_file *a, struct archive_lists *lists)
{
	const struct archive_stamp stamp = stamp_of(a);
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	if (!lists || !archive_lists_load(lists, a->path, &bytes) ||
	    !archive_list_read(bytes.data, bytes.size, &stamp, on_kept_member, a->index,
			       &a->damage))
		return false;
	archive_index_end(a->index);
	return true;
}

/* What may be the fault of a moment is looked at again the next time. */
static bool is_lasting(const struct error *damage)
{
	static const char *const passing[] = {"worker_died", "timeout",	  "unreadable",
					      "not_found",   "forbidden", "bad_status",
					      "no_ranges",   "bad_range"};

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		if (strcmp(damage->reason, passing[i]) == 0)
			return false;
	}
	return true;
}

static int make_list(struct archive_file *a, struct listing *l, struct archive_reading *reading,
		     struct error *err)
{
	const struct archive_stamp stamp = stamp_of(a);
	struct error why = ERROR_INIT;
	bool no_memory;
	int r;

	archive_list_begin(&l->list, &stamp);
	r = unpack_list(reading->unpack, &a->in, on_member, l, &why);
	if (r == UNPACK_STOPPED)
		return error_set(err, ERR_TRANSIENT, "stopped while reading an archive");
	/* An archive may ask for any amount: that must not keep the others from being read. */
	no_memory = r < 0 && why.code == ERR_NOMEM;
	if (no_memory) {
		error_clear(&why);
		error_data(&why, "too_large", "it takes too much memory to unpack");
	}
	if (r < 0 && (why.code != ERR_DATA || strcmp(why.reason, "changed") == 0)) {
		*err = why;
		return error_wrap(err, "%s", a->path);
	}
	archive_index_end(a->index);
	if (r < 0)
		take_damage(a, &why);
	archive_list_end(&l->list, &a->damage);
	if (reading->lists && !no_memory && is_lasting(&a->damage))
		archive_lists_save(reading->lists, a->path, &l->list);
	return 0;
}

static int list(struct archive_file *a, struct archive_reading *reading, struct error *err)
{
	struct listing l = {.index = a->index, .options = reading->options};
	int r = 0;

	if (!take_list(a, reading->lists)) {
		r = need_unpack(reading, err);
		if (r == 0)
			r = make_list(a, &l, reading, err);
	}
	buffer_release(&l.list);
	if (r == 0)
		note_passed_over(a, reading->options);
	return r;
}

/* -- open and close ------------------------------------------------------------------------------- */

static uint64_t next_number(void)
{
	static atomic_uint_fast64_t numbers;

	return atomic_fetch_add(&numbers, 1);
}

static struct archive_file *archive_file_new(const char *path, const struct archive_stamp *stamp)
{
	struct archive_file *a = xcalloc(1, sizeof(*a));

	a->users = 1;
	a->in.fd = -1;
	a->path = xstrdup(path);
	a->number = next_number();
	a->size = stamp->size;
	a->inode = stamp->inode;
	a->mtime_ns = stamp->mtime_ns;
	a->index = archive_index_new();
	return a;
}

/* @damage: it has no bytes; NULL: it has. */
static int begin(struct archive_file *a, const struct error *damage,
		 struct archive_reading *reading, struct archive_file **out, struct error *err)
{
	if (damage) {
		a->damage = *damage;
		archive_index_end(a->index);
	} else if (list(a, reading, err) < 0) {
		archive_file_close(a);
		return -1;
	}
	*out = a;
	return 0;
}

int archive_file_open(int fd, const char *path, const struct stat *st, const struct error *damage,
		      struct archive_reading *reading, struct archive_file **out, struct error *err)
{
	struct source_entry entry;
	struct archive_file *a;

	archive_file_describe(st, &entry);
	a = archive_file_new(path,
			     &(struct archive_stamp){entry.size, entry.inode, entry.mtime_ns});
	a->device = st->st_dev;
	a->in.fd = fd;
	return begin(a, fd < 0 ? damage : NULL, reading, out, err);
}

int archive_file_open_remote(struct remote_ranges *ranges, const char *path,
			     const struct archive_stamp *stamp, const struct error *damage,
			     struct archive_reading *reading, struct archive_file **out,
			     struct error *err)
{
	struct archive_file *a = archive_file_new(path, stamp);

	a->ranges = ranges;
	a->in = (struct unpack_input){-1, stamp->size, remote_ranges_read, ranges};
	return begin(a, ranges ? NULL : damage, reading, out, err);
}

void archive_file_close(struct archive_file *a)
{
	if (!a || --a->users > 0)
		return;
	if (a->in.fd >= 0)
		close(a->in.fd);
	remote_ranges_free(a->ranges);
	archive_index_free(a->index);
	free(a->path);
	free(a);
}

void archive_file_describe(const struct stat *st, struct source_entry *entry)
{
	*entry = (struct source_entry){.size = (uint64_t)st->st_size,
				       .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
						   st->st_mtim.tv_nsec,
				       .inode = st->st_ino};
}

bool archive_file_is(const struct archive_file *a, const struct stat *st)
{
	struct source_entry entry;

	archive_file_describe(st, &entry);
	return a->size == entry.size && a->mtime_ns == entry.mtime_ns && a->inode == entry.inode &&
	       a->device == st->st_dev;
}

void archive_file_count_unread(const struct archive_file *a,
			       const struct source_folder_options *options)
{
	if (options->unread && a->damage.code != ERR_NONE &&
	    strcmp(a->damage.reason, "unsupported") != 0)
		++*options->unread;
}

/* -- entries -------------------------------------------------------------------------------------- */

static uint64_t meta_stamp(const char *meta)
{
	return (hash64_of(meta, strlen(meta), 0) >> 16) | 1;
}

/* Of a member the inode stands for the archive's inode and size: with another archive all its members are others. */
static void describe(const struct archive_file *a, const struct archive_item *item,
		     struct source_entry *entry)
{
	const uint64_t known[] = {a->inode, a->size};

	*entry =
	    (struct source_entry){.path = item->path,
				  .key = item->key,
				  .size = item->size != UNPACK_UNKNOWN ? item->size : 0,
				  .mtime_ns = a->mtime_ns,
				  .inode = (hash64_of(known, sizeof(known), 0) >> 1) | 1,
				  .caption = item->caption_stamp,
				  .meta = item->meta ? meta_stamp(item->meta) : 0,
				  .place = archive_index_is_random(a->index) ? 0 : item->place + 1};
}

bool archive_file_entry(const struct archive_file *a, size_t i, struct source_entry *entry)
{
	size_t n = archive_index_count(a->index);

	if (i < n)
		describe(a, archive_index_item(a->index, i), entry);
	return i < n || (i == n && archive_file_examine(a, NULL, entry) == 0);
}

int archive_file_examine(const struct archive_file *a, const char *inside,
			 struct source_entry *entry)
{
	const struct archive_item *item = inside ? archive_index_find(a->index, inside) : NULL;

	if (item)
		describe(a, item, entry);
	else if (!inside && a->damage.code != ERR_NONE)
		*entry = (struct source_entry){
		    .size = a->size, .mtime_ns = a->mtime_ns, .inode = a->inode};
	else
		return SOURCE_GONE;
	return 0;
}

/* -- bytes ---------------------------------------------------------------------------------------- */

static int gone(const struct archive_file *a, const char *inside, struct error *err)
{
	char name[TEXT_QUOTE_SIZE], quoted[TEXT_QUOTE_SIZE];

	if (!inside)
		return error_data(err, "gone", "%s is not there", text_quote(a->path, name));
	return error_data(err, "gone", "%s is not in %s", text_quote(inside, quoted),
			  text_quote(a->path, name));
}

/* The member to be read. */
static int find_member(const struct archive_file *a, const char *inside, struct unpack_member *m,
		       struct error *err)
{
	const struct archive_item *item = inside ? archive_index_find(a->index, inside) : NULL;
	char name[TEXT_QUOTE_SIZE], quoted[TEXT_QUOTE_SIZE];

	if (!inside && a->damage.code != ERR_NONE) {
		*err = a->damage;
		return -1;
	}
	if (!item)
		return gone(a, inside, err);
	if (item->encrypted)
		return error_data(err, "encrypted", "%s in %s is encrypted",
				  text_quote(inside, quoted), text_quote(a->path, name));
	*m = (struct unpack_member){.name = item->name,
				    .size = item->size,
				    .place = item->place,
				    .offset = item->offset,
				    .regular = true};
	return 0;
}

static int read_member(const struct archive_file *a, const struct unpack_input *in, uint64_t number,
		       const struct unpack_member *m, struct archive_reading *reading,
		       struct error *err)
{
	char name[TEXT_QUOTE_SIZE], quoted[TEXT_QUOTE_SIZE];
	int fd;

	if (need_unpack(reading, err) < 0)
		return -1;
	fd = unpack_read(reading->unpack, in, number, m, err);
	if (fd < 0)
		return error_wrap(err, "%s in %s", text_quote(m->name, quoted),
				  text_quote(a->path, name));
	return fd;
}

int archive_file_read(struct archive_file *a, const char *inside, struct archive_reading *reading,
		      struct error *err)
{
	struct unpack_member m;

	if (find_member(a, inside, &m, err) < 0)
		return -1;
	return read_member(a, &a->in, a->number, &m, reading, err);
}

bool archive_file_span(const struct archive_file *a, const char *inside, uint64_t *offset,
		       uint64_t *size)
{
	const struct archive_item *item = inside ? archive_index_find(a->index, inside) : NULL;
	uint64_t end;

	if (!item || item->encrypted || item->offset == UNPACK_NOWHERE)
		return false;
	end = item->end < a->size ? item->end : a->size;
	if (item->offset >= end)
		return false;
	*offset = item->offset;
	*size = end - item->offset;
	return true;
}

int archive_file_read_piece(struct archive_file *a, const char *inside, int piece,
			    struct archive_reading *reading, struct error *err)
{
	struct unpack_member m;

	if (find_member(a, inside, &m, err) < 0)
		return -1;
	m.offset = 0;
	return read_member(a, UNPACK_FD(piece), next_number(), &m, reading, err);
}

int archive_file_caption(const struct archive_file *a, const char *inside, struct buffer *out,
			 struct error *err)
{
	const struct archive_item *item = inside ? archive_index_find(a->index, inside) : NULL;
	char quoted[TEXT_QUOTE_SIZE];

	if (item && item->encrypted)
		return SOURCE_NO_CAPTION; /* its reading says what is wrong */
	if (item && item->caption_unread)
		return error_data(err, "too_large",
				  "the caption of %s cannot be read, or is over %zu bytes",
				  text_quote(inside, quoted), SOURCE_CAPTION_MAX);
	if (!item || !item->caption)
		return SOURCE_NO_CAPTION;
	buffer_append(out, item->caption, item->caption_size);
	return 0;
}

int archive_file_meta(const struct archive_file *a, const char *inside, struct buffer *out)
{
	const struct archive_item *item = inside ? archive_index_find(a->index, inside) : NULL;

	if (!item || !item->meta)
		return SOURCE_NO_META;
	buffer_append_string(out, item->meta);
	return 0;
}
