#include "source/folder_ahead.h"

#include "base/bounded_queue.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/files.h"
#include "base/thread.h"
#include "source/folder_files.h"
#include "source/source_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

enum {
	THREADS = 16,	  /* they wait, they do not compute */
	ASKED = 64,	  /* calls of the walk, of which half have to be slow */
	SLOW_NS = 50000,  /* no answer from memory takes so long */
	NAMES = 32,	  /* files of one piece of work */
	WAITING = 64,	  /* pieces of work */
	IN_FOLDER = 1024, /* files looked at in a folder before the walk is there */
};

/* Names of one folder: files, or one folder. */
struct piece {
	int dir;
	bool folder;
	struct buffer names; /* each with its NUL */
};

struct folder_ahead {
	enum source_links links;
	size_t asked, slow;
	struct bounded_queue *pieces; /* NULL: it is off */
	struct thread threads[THREADS];
	atomic_bool closing;
};

struct folder_ahead *folder_ahead_new(enum source_links links)
{
	struct folder_ahead *a = xcalloc(1, sizeof(*a));

	a->links = links;
	atomic_init(&a->closing, false);
	return a;
}

/* -- in its threads ---------------------------------------------------------------------------- */

static void piece_free(struct piece *p)
{
	close(p->dir);
	buffer_release(&p->names);
	free(p);
}

static void look_at_files(const struct folder_ahead *a, const struct piece *p)
{
	const char *name = (const char *)p->names.data, *end = name + p->names.size;
	struct stat st;

	for (; name < end && !atomic_load(&a->closing); name += strlen(name) + 1)
		folder_stat(p->dir, a->links, name, &st);
}

/* All its names are read, so that the walk finds them; of files, as many as will still be remembered when it comes. */
static void look_in_folder(const struct folder_ahead *a, const struct piece *p)
{
	int fd = folder_open_at(p->dir, (const char *)p->names.data,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	size_t files = 0;
	struct stat st;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (!atomic_load(&a->closing) && (entry = readdir(list))) {
		if (source_path_is_image(entry->d_name) && files++ < IN_FOLDER)
			folder_stat(fd, a->links, entry->d_name, &st);
	}
	closedir(list);
}

static void *look(void *arg)
{
	struct folder_ahead *a = arg;
	struct piece *p;

	while ((p = bounded_queue_pop(a->pieces))) {
		if (p->folder)
			look_in_folder(a, p);
		else
			look_at_files(a, p);
		piece_free(p);
	}
	return NULL;
}

/* -- in the walk's ------------------------------------------------------------------------------ */

/* The listing goes on without those that do not start. */
static void start(struct folder_ahead *a)
{
	struct error err = ERROR_INIT;

	a->pieces = bounded_queue_new(WAITING, SIZE_MAX);
	for (size_t i = 0; i < THREADS; i++) {
		if (thread_start(&a->threads[i], "list-ahead", look, a, &err) < 0)
			return;
	}
}

void folder_ahead_took(struct folder_ahead *a, int64_t ns)
{
	a->slow += ns > SLOW_NS;
	if (++a->asked < ASKED || a->pieces)
		return;
	if (2 * a->slow >= ASKED)
		start(a);
	a->asked = a->slow = 0;
}

bool folder_ahead_is_on(const struct folder_ahead *a)
{
	return a->pieces;
}

static bool is_folder(const char *name)
{
	return name[strlen(name) - 1] == '/';
}

static struct piece *piece_of(int dir, const char *const *names, size_t n)
{
	struct piece *p = xcalloc(1, sizeof(*p));

	p->dir = dir;
	p->folder = is_folder(names[0]);
	for (size_t i = 0; i < n; i++) {
		buffer_append(&p->names, names[i], strlen(names[i]) - p->folder);
		buffer_put_u8(&p->names, '\0');
	}
	return p;
}

/* So many of names[0 .. n) are one piece. */
static size_t piece_size(const char *const *names, size_t n)
{
	size_t i = 1;

	while (i < n && i < NAMES && !is_folder(names[0]) && !is_folder(names[i]))
		i++;
	return i;
}

size_t folder_ahead_post(struct folder_ahead *a, int dir, const char *const *names, size_t from,
			 size_t end)
{
	bool folder = from < end && is_folder(names[from]);

	while (from < end && is_folder(names[from]) == folder &&
	       bounded_queue_items(a->pieces) < WAITING) {
		size_t n = piece_size(names + from, end - from);
		int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);

		if (copy < 0)
			break;
		bounded_queue_push(a->pieces, piece_of(copy, names + from, n), 0);
		from += n;
	}
	return from;
}

void folder_ahead_close(struct folder_ahead *a)
{
	struct piece *p;

	atomic_store(&a->closing, true);
	if (a->pieces)
		bounded_queue_close(a->pieces);
	for (size_t i = 0; i < THREADS; i++)
		thread_join(&a->threads[i]);
	while (a->pieces && (p = bounded_queue_try_pop(a->pieces)))
		piece_free(p);
	bounded_queue_free(a->pieces);
	free(a);
}
