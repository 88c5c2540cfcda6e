#include "source/folder_names.h"

#include "base/checked.h"
#include "base/text.h"
#include "source/folder_files.h"
#include "source/folder_links.h"
#include "source/source_path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { STOP_EVERY = 1024 }; /* names of one folder */

void folder_note(const struct source_folder_options *options, const struct buffer *path,
		 const char *what)
{
	char quoted[TEXT_QUOTE_SIZE], line[TEXT_QUOTE_SIZE + 128];

	if (!options->note)
		return;
	snprintf(line, sizeof(line), "%s %s", text_quote((const char *)path->data, quoted), what);
	options->note(options->note_arg, line);
}

void folder_note_unread(const struct source_folder_options *options, const struct buffer *path,
			const char *what)
{
	folder_note(options, path, what);
	if (options->unread)
		++*options->unread;
}

void folder_names_release(struct folder_names *names)
{
	buffer_release(&names->arena);
	free(names->names);
	*names = (struct folder_names){.n = 0};
}

/* -- one name ---------------------------------------------------------------------------------- */

/* What a name is, as far as it is known without opening it. */
struct kind {
	unsigned char type;
	bool image, archive, caption;
};

static unsigned char type_of(int dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return (unsigned char)IFTODT(st.st_mode);
}

/* A link that is followed to a folder is that folder. */
static struct kind kind_of(const struct folder_reading *r, int dir, const struct dirent *entry)
{
	struct kind kind = {.type = type_of(dir, entry),
			    .image = source_path_is_image(entry->d_name)};

	if (kind.type == DT_LNK &&
	    folder_links_lead_to_folder(r->options->choice.links, dir, entry->d_name))
		kind.type = DT_DIR;
	kind.archive = r->archives && (kind.type == DT_REG || kind.type == DT_LNK) &&
		       source_path_is_archive(entry->d_name);
	kind.caption = kind.type != DT_DIR && r->options->captions && !kind.image &&
		       source_path_is_caption(entry->d_name);
	return kind;
}

static bool is_chosen(const struct folder_reading *r, const struct kind *kind)
{
	const struct source_choice *choice = &r->options->choice;
	const char *path = (const char *)r->path->data;

	if (kind->type == DT_DIR || (!kind->image && !kind->caption))
		return source_choice_enters(choice, path);
	return !kind->image || source_choice_takes(choice, path);
}

/* A link that is no image, archive or companion: perhaps a folder is behind it. */
static void note_link(struct folder_names *names, const struct folder_reading *r, int dir,
		      const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, 0) == 0) {
		if (S_ISDIR(st.st_mode))
			folder_note(r->options, r->path, "is a link to a folder: not followed");
	} else if (r->options->choice.links == LINKS_ALL) {
		/* Where its disk is not there, what was in it has not been deleted. */
		folder_note_unread(r->options, r->path, "is a link that leads nowhere");
		names->unread = true;
	}
}

/* Whether the walk comes back to what the path ends with; what is odd about it is noted. */
static bool is_kept(struct folder_names *names, const struct folder_reading *r, int dir,
		    const char *name, const struct kind *kind)
{
	if (!is_chosen(r, kind))
		return false;
	if (kind->type == DT_DIR && kind->image)
		folder_note(r->options, r->path, "is a folder with the name of an image");
	if (kind->type == DT_DIR)
		return r->options->recursive;
	if (kind->type == DT_LNK && r->options->choice.links == LINKS_NONE)
		return false;
	if (kind->image || kind->caption || kind->archive)
		return true;
	if (kind->type == DT_LNK && r->options->recursive)
		note_link(names, r, dir, name);
	return false;
}

static int add(struct folder_names *names, int dir, const struct folder_reading *r,
	       const struct dirent *entry, struct error *err)
{
	size_t folder = r->path->size, length = strlen(entry->d_name);
	struct kind kind = kind_of(r, dir, entry);
	bool kept;

	buffer_append(r->path, entry->d_name, length);
	kept = is_kept(names, r, dir, entry->d_name, &kind);
	r->path->size = folder;
	r->path->data[folder] = '\0';
	if (!kept)
		return 0;
	if (buffer_reserve(&names->arena, length + 2, err) < 0)
		return -1;
	names->captions = names->captions || kind.caption;
	buffer_append(&names->arena, entry->d_name, length);
	if (kind.type == DT_DIR || kind.archive)
		buffer_put_u8(&names->arena, '/');
	buffer_put_u8(&names->arena, '\0');
	names->n++;
	return 0;
}

/* -- all of them ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int sort(struct folder_names *names, struct error *err)
{
	const char *at = (const char *)names->arena.data;

	names->names = calloc(names->n + 1, sizeof(*names->names));
	if (!names->names)
		return error_set(err, ERR_NOMEM, "no memory for %zu names", names->n);
	for (size_t i = 0; i < names->n; i++) {
		names->names[i] = at;
		at += strlen(at) + 1;
	}
	qsort(names->names, names->n, sizeof(*names->names), compare_names);
	return 0;
}

static int read_all(struct folder_names *names, DIR *dir, const struct folder_reading *reading,
		    struct error *err)
{
	const struct source_folder_options *options = reading->options;
	struct dirent *entry;
	size_t seen = 0;
	int r = 0;

	for (errno = 0; r == 0 && (entry = readdir(dir)); errno = 0) {
		if (source_choice_sees(&options->choice, entry->d_name))
			r = add(names, dirfd(dir), reading, entry, err);
		if (r == 0 && options->stop && ++seen % STOP_EVERY == 0 &&
		    options->stop(options->stop_arg))
			r = error_set(err, ERR_TRANSIENT, "stopped while reading a folder");
	}
	if (r == 0 && errno != 0)
		r = folder_error(err, "read folder", (const char *)reading->path->data);
	return r;
}

int folder_names_read(struct folder_names *names, int fd, const struct folder_reading *reading,
		      struct error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);

	if (!dir) {
		folder_error(err, "read folder", (const char *)reading->path->data);
		if (copy >= 0)
			close(copy);
		return -1;
	}
	r = read_all(names, dir, reading, err);
	closedir(dir);
	if (r == 0)
		r = sort(names, err);
	if (r < 0)
		folder_names_release(names);
	return r;
}

bool folder_names_have(const struct folder_names *names, const char *name)
{
	return bsearch(&name, names->names, names->n, sizeof(*names->names), compare_names);
}
