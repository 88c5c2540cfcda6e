#include "source/source.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/text.h"
#include "source/source_path.h"

#include <string.h>
#include <sys/mman.h>

struct source_memory {
	struct source base;
	struct source_memory_file *files; /* sorted by path */
	size_t n, at;
};

static int file_compare(const void *a, const void *b)
{
	const struct source_memory_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static const struct source_memory_file *file_find(const struct source_memory *m, const char *path)
{
	struct source_memory_file wanted = {.path = path};

	return bsearch(&wanted, m->files, m->n, sizeof(wanted), file_compare);
}

static uint64_t caption_stamp(const char *caption)
{
	return caption ? (hash64_of(caption, strlen(caption), 0) >> 16) | 1 : 0;
}

static void describe(const struct source_memory *m, const struct source_memory_file *file,
		     struct source_entry *entry)
{
	*entry = (struct source_entry){
	    .path = file->path,
	    .size = file->size,
	    .inode = (uint64_t)(file - m->files) + 1,
	    .caption = caption_stamp(file->caption),
	};
}

static int source_memory_next(struct source *s, struct source_entry *entry, struct error *err)
{
	struct source_memory *m = (struct source_memory *)s;

	(void)err;
	if (m->at == m->n)
		return SOURCE_END;
	describe(m, &m->files[m->at++], entry);
	return 0;
}

static int source_memory_examine(struct source *s, const char *path, struct source_entry *entry,
				 struct error *err)
{
	const struct source_memory *m = (struct source_memory *)s;
	const struct source_memory_file *file = file_find(m, path);

	(void)err;
	if (!file)
		return SOURCE_GONE;
	describe(m, file, entry);
	return 0;
}

static int source_memory_open_sample(struct source *s, const char *path, struct error *err)
{
	const struct source_memory_file *file = file_find((struct source_memory *)s, path);
	char quoted[TEXT_QUOTE_SIZE];
	cleanup_close int fd = -1;

	if (!file || !file->data)
		return error_data(err, "gone", "%s is not there", text_quote(path, quoted));
	fd = memfd_create("latentd-sample", MFD_CLOEXEC);
	if (fd < 0)
		return error_sys(err, "memfd_create");
	if (fd_write_all(fd, file->data, file->size, err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_sys(err, "lseek");
	return TAKE_FD(fd);
}

static int source_memory_caption(struct source *s, const char *path, struct buffer *out,
				 struct error *err)
{
	const struct source_memory_file *file = file_find((struct source_memory *)s, path);

	if (!file || !file->caption)
		return SOURCE_NO_CAPTION;
	if (strlen(file->caption) > SOURCE_CAPTION_MAX)
		return error_data(err, "too_large", "a caption of %zu bytes is over the limit",
				  strlen(file->caption));
	buffer_append_string(out, file->caption);
	return 0;
}

static void source_memory_close(struct source *s)
{
	struct source_memory *m = (struct source_memory *)s;

	free(m->files);
	free(m);
}

static const struct source_ops source_memory_ops = {
    .name = "memory",
    .next = source_memory_next,
    .examine = source_memory_examine,
    .open_sample = source_memory_open_sample,
    .caption = source_memory_caption,
    .close = source_memory_close,
};

int source_memory_open(const struct source_memory_file *files, size_t n, struct source **out,
		       struct error *err)
{
	struct source_memory *m = xcalloc(1, sizeof(*m));

	m->base.ops = &source_memory_ops;
	m->files = xcalloc(n, sizeof(*m->files));
	m->n = n;
	if (n > 0)
		memcpy(m->files, files, n * sizeof(*files));
	qsort(m->files, n, sizeof(*m->files), file_compare);
	for (size_t i = 0; i < n; i++) {
		const char *path = m->files[i].path;

		if (!source_path_is_inside(path) ||
		    (i > 0 && strcmp(path, m->files[i - 1].path) == 0)) {
			source_memory_close(&m->base);
			return error_set(err, ERR_BUG, "a memory source with a bad path");
		}
	}
	*out = &m->base;
	return 0;
}
