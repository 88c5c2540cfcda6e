#include "daemon/disk_reserve.h"
#include "daemon/doctor.h"

#include "daemon/sources.h"
#include "daemon/state_queue.h"
#include "daemon/unpack_process.h"

#include "base/buffer.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file_system.h"
#include "base/files.h"
#include "base/text.h"
#include "queue/queue.h"
#include "source/source.h"
#include "source/source_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

/* Below that a service that begins now will soon stand still. */
#define ROOM_WANTED ((uint64_t)10 << 30)

/* A source is looked through no further than that: a doctor does not take an hour. */
#define ENTRIES_MAX 2000000

enum { BUCKET_MS = 10000 };

/* -- any folder ------------------------------------------------------------------------------------ */

static bool may(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

static const char *network_of(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 ? network_file_system((uint32_t)fs.f_type) : NULL;
}

static void look_at_room(struct doctor *d, const char *what, const char *path)
{
	struct statvfs fs;
	uint64_t room;
	char text[24], quoted[TEXT_QUOTE_SIZE];

	if (statvfs(path, &fs) < 0)
		return;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	text_quote(path, quoted);
	text_bytes(room, text);
	if (fs.f_blocks == 0) /* some of FUSE do not say how large they are */
		doctor_say(d, DOCTOR_GOOD, what, NULL, "%s may be written to", quoted);
	else if (room <= disk_reserve((uint64_t)fs.f_blocks * fs.f_frsize))
		doctor_say(d, DOCTOR_BAD, what, "make room, or use a larger disk",
			   "the disk of %s is full, %s left: nothing new is begun", quoted, text);
	else if (room < ROOM_WANTED)
		doctor_say(d, DOCTOR_WARNING, what, "make room, or use a larger disk",
			   "%s has %s left", quoted, text);
	else
		doctor_say(d, DOCTOR_GOOD, what, NULL, "%s may be written to, %s left", quoted,
			   text);
}

/* The nearest folder above @path that is there, or itself. To be freed. */
static char *nearest(const char *path)
{
	char *at = xstrdup(path);

	while (strcmp(at, "/") != 0 && !file_exists(at)) {
		char *up = dir_of(at);

		free(at);
		at = up;
	}
	return at;
}

/* Of a folder that is written to, and made where it is not there. */
static void look_at_target(struct doctor *d, const char *what, const char *path)
{
	cleanup_free char *at = nearest(path);
	char quoted[TEXT_QUOTE_SIZE];

	if (!may(at, W_OK | X_OK))
		doctor_say(d, DOCTOR_BAD, what,
			   errno == EROFS ? "mount it for writing"
					  : "give it to the user of the service: chown",
			   "%s cannot be written to: %s", text_quote(at, quoted), strerror(errno));
	else
		look_at_room(d, what, at);
}

/* -- state ----------------------------------------------------------------------------------------- */

static void look_at_database(struct doctor *d, const char *state)
{
	struct error err = ERROR_INIT;
	struct queue *queue = NULL;

	if (!state_queue_exists(state))
		return;
	if (state_queue_open_readonly(state, &queue, &err) < 0)
		doctor_say(d, DOCTOR_BAD, "queue",
			   "docs/operations.md, \"What to do when\", has the cases", "%s",
			   err.message);
	else
		doctor_say(d, DOCTOR_GOOD, "queue", NULL, "can be read");
	queue_close(queue);
}

static void look_at_state(struct doctor *d, const char *path)
{
	cleanup_free char *at = nearest(path);
	const char *network = network_of(at);
	char quoted[TEXT_QUOTE_SIZE];

	if (network)
		doctor_say(d, DOCTOR_BAD, "state", "set state_dir to a folder on a local disk",
			   "%s lies on %s, where a database can be damaged", text_quote(at, quoted),
			   network);
	look_at_target(d, "state", path);
	look_at_database(d, path);
}

/* -- sources --------------------------------------------------------------------------------------- */

struct walk {
	bool recursive;
	struct source_choice choice;
	size_t root; /* bytes of a path before what is below the source */
	size_t folders, images, entries;
	size_t closed;	    /* folders and images that may not be read */
	char *first_closed; /* path of the first */
};

static void may_not(struct walk *w, const char *path)
{
	if (w->closed++ == 0)
		w->first_closed = xstrdup(path);
}

/* d_type, asked of the file where the file system does not tell. */
static bool is_folder(DIR *dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

static void walk_folder(struct walk *w, const char *path, size_t depth);

static void walk_entry(struct walk *w, DIR *dir, const char *folder, const struct dirent *entry,
		       bool *tried, size_t depth)
{
	cleanup_free char *path = NULL;
	bool is_dir;

	if (!source_choice_sees(&w->choice, entry->d_name))
		return;
	w->entries++;
	is_dir = is_folder(dir, entry);
	if (is_dir ? !w->recursive : !source_path_is_image(entry->d_name))
		return;
	path = xasprintf("%s/%s", folder, entry->d_name);
	if (is_dir && source_choice_enters(&w->choice, path + w->root)) {
		walk_folder(w, path, depth + 1);
	} else if (!is_dir && source_choice_takes(&w->choice, path + w->root)) {
		w->images++;
		if (*tried) /* one speaks for its folder */
			return;
		*tried = true;
		if (!may(path, R_OK))
			may_not(w, path);
	}
}

static void walk_folder(struct walk *w, const char *path, size_t depth)
{
	DIR *dir = depth > SOURCE_FOLDER_DEPTH ? NULL : opendir(path);
	struct dirent *entry;
	bool tried = false;

	w->folders++;
	if (!dir) {
		may_not(w, path);
		return;
	}
	while (w->entries < ENTRIES_MAX && (entry = readdir(dir)))
		walk_entry(w, dir, path, entry, &tried, depth);
	closedir(dir);
}

static void say_source(struct doctor *d, const char *quoted, const struct walk *w)
{
	const char *more = w->entries >= ENTRIES_MAX ? "at least " : "";
	char images[28], folders[28], closed[TEXT_QUOTE_SIZE];

	text_count(w->images, images);
	text_count(w->folders, folders);
	if (w->closed > 0)
		doctor_say(
		    d, DOCTOR_BAD, "source",
		    "let the user of the service read it: chmod, or setfacl -R -m u:latentd:rX",
		    "%s: may not be read in %zu places, the first is %s", quoted, w->closed,
		    text_quote(w->first_closed, closed));
	else if (w->images == 0)
		doctor_say(
		    d, DOCTOR_WARNING, "source",
		    "look at path, recursive, include and exclude; a disk may not be mounted",
		    "%s has no image in it", quoted);
	else
		doctor_say(d, DOCTOR_GOOD, "source", NULL, "%s: %s%s images in %s folders", quoted,
			   more, images, folders);
}

/* An archive, whose members are another matter. */
static void look_at_file(struct doctor *d, const char *path, const char *quoted, uint64_t size)
{
	char bytes[24];

	if (may(path, R_OK))
		doctor_say(d, DOCTOR_GOOD, "source", NULL, "%s: an archive of %s", quoted,
			   text_bytes(size, bytes));
	else
		doctor_say(d, DOCTOR_BAD, "source", "let the user of the service read it: chmod",
			   "%s cannot be read: %s", quoted, strerror(errno));
}

struct bucket_look {
	struct doctor *doctor;
	int64_t until; /* monotonic ms */
	bool over;
	bool archive;	 /* one was met: images are looked for no further */
	char waits[512]; /* what for, and why */
};

/* Not before it was said what is waited for. */
static bool is_over(void *arg)
{
	struct bucket_look *look = arg;

	if (look->archive)
		return true;
	look->over = look->over || (look->waits[0] && clock_mono_ms() >= look->until);
	return look->over;
}

static void on_note(void *arg, const char *line)
{
	struct bucket_look *look = arg;

	snprintf(look->waits, sizeof(look->waits), "%s", line);
	if (look->doctor->waits)
		look->doctor->waits(look->doctor->arg, line);
}

/* What is in it is not read. */
static bool on_archive(void *arg, const struct source_entry *entry)
{
	(void)entry;
	((struct bucket_look *)arg)->archive = true;
	return true;
}

static void say_bucket(struct bucket_look *look, int r, const char *quoted, const char *why)
{
	static const char remedy[] = "mend the keys, the region or the endpoint";
	struct doctor *d = look->doctor;

	if (look->archive)
		doctor_say(d, DOCTOR_GOOD, "source", NULL, "%s can be listed", quoted);
	else if (r < 0 && look->over)
		doctor_say(d, DOCTOR_BAD, "source", remedy, "no answer within %d s: %s",
			   BUCKET_MS / 1000, look->waits);
	else if (r < 0)
		doctor_say(d, DOCTOR_BAD, "source", remedy, "%s", why);
	else if (r == SOURCE_END)
		doctor_say(d, DOCTOR_WARNING, "source", "look at its prefix", "%s has no image",
			   quoted);
	else
		doctor_say(d, DOCTOR_GOOD, "source", NULL, "%s can be listed", quoted);
}

/* The first page of its list says whether it is there and may be read. */
static void look_at_bucket(struct doctor *d, const struct source_config *config, const char *quoted)
{
	struct bucket_look look = {.doctor = d, .until = clock_mono_ms() + BUCKET_MS};
	const struct source_folder_options options = {.recursive = config->recursive,
						      .choice = sources_choice(&config->options),
						      .unpack = unpack_process_open,
						      .archive_waits = on_archive,
						      .archive_arg = &look,
						      .note = on_note,
						      .note_arg = &look,
						      .stop = is_over,
						      .stop_arg = &look};
	struct error err = ERROR_INIT;
	struct source *source = NULL;
	struct source_entry entry;
	int r = source_open(config->path, &options, &source, &err);

	if (r == 0)
		r = source_next(source, &entry, &err);
	say_bucket(&look, r, quoted, err.message);
	source_close(source);
}

/* The folders of it that are to be watched. */
static size_t look_at_source(struct doctor *d, const struct source_config *source)
{
	const char *network = network_of(source->path);
	struct walk w = {.recursive = source->recursive,
			 .choice = sources_choice(&source->options),
			 .root = strlen(source->path) + 1};
	struct stat st;
	char quoted[TEXT_QUOTE_SIZE];
	bool watched = source->watch != SOURCE_WATCH_OFF && source->watch != SOURCE_WATCH_POLL;

	text_quote(source->path, quoted);
	if (source_path_is_url(source->path)) {
		look_at_bucket(d, source, quoted);
		return 0;
	}
	if (stat(source->path, &st) < 0) {
		doctor_say(d, DOCTOR_BAD, "source", "mount the disk, or mend the path", "%s: %s",
			   quoted, strerror(errno));
		return 0;
	}
	if (!S_ISDIR(st.st_mode)) {
		look_at_file(d, source->path, quoted, (uint64_t)st.st_size);
		return 0;
	}
	walk_folder(&w, source->path, 0);
	say_source(d, quoted, &w);
	free(w.first_closed);
	if (network && watched)
		doctor_say(d, DOCTOR_WARNING, "source",
			   "set watch: poll and a rescan that suits you",
			   "%s lies on %s: changes that other machines make raise no events",
			   quoted, network);
	return watched && !(network && source->watch == SOURCE_WATCH_AUTO) ? w.folders : 0;
}

static void look_at_watches(struct doctor *d, size_t folders)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	char wanted[28];
	unsigned long long limit;

	if (folders == 0 ||
	    file_read_all("/proc/sys/fs/inotify/max_user_watches", 64, &text, &ignored) < 0)
		return;
	limit = strtoull((const char *)text.data, NULL, 10);
	text_count(folders, wanted);
	if (folders > limit / 10 * 9)
		doctor_say(d, DOCTOR_WARNING, "watches",
			   "echo fs.inotify.max_user_watches=1048576 > "
			   "/etc/sysctl.d/50-latentd.conf; sysctl --system",
			   "%s folders want a watch each, the user may have %llu: the rest is "
			   "looked through from time to time",
			   wanted, limit);
	else
		doctor_say(d, DOCTOR_GOOD, "watches", NULL,
			   "%s wanted, of %llu that the user may have", wanted, limit);
}

void doctor_folders(struct doctor *d, const struct daemon_config *config)
{
	size_t folders = 0;

	look_at_state(d, config->state_dir);
	for (size_t i = 0; i < config->n_datasets; i++) {
		const struct dataset_config *dataset = &config->datasets[i];

		for (size_t k = 0; k < dataset->n_sources; k++)
			folders += look_at_source(d, &dataset->sources[k]);
		look_at_target(d, "output", dataset->output.path);
	}
	look_at_watches(d, folders);
}
