#include "tests/archive_samples.h"

#include "base/checked.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>

struct archive_samples {
	struct archive *archive;
};

static void check(struct archive_samples *s, int r)
{
	if (r == ARCHIVE_OK)
		return;
	fprintf(stderr, "archive: %s\n", archive_error_string(s->archive));
	abort();
}

static int ends_with(const char *path, const char *ending)
{
	size_t n = strlen(path), m = strlen(ending);

	return n > m && strcmp(path + n - m, ending) == 0;
}

static void set_kind(struct archive_samples *s, const char *path)
{
	struct archive *a = s->archive;

	if (ends_with(path, ".zip"))
		check(s, archive_write_set_format_zip(a));
	else if (ends_with(path, ".7z"))
		check(s, archive_write_set_format_7zip(a));
	else
		check(s, archive_write_set_format_gnutar(a));
	if (ends_with(path, "gz"))
		check(s, archive_write_add_filter_gzip(a));
	else if (ends_with(path, "zst"))
		check(s, archive_write_add_filter_zstd(a));
	else if (ends_with(path, "xz"))
		check(s, archive_write_add_filter_xz(a));
	else if (ends_with(path, "bz2"))
		check(s, archive_write_add_filter_bzip2(a));
}

struct archive_samples *archive_samples_begin(const char *path, const char *password)
{
	struct archive_samples *s = xcalloc(1, sizeof(*s));

	s->archive = archive_write_new();
	set_kind(s, path);
	if (password) {
		check(s, archive_write_set_options(s->archive, "zip:encryption=aes256"));
		check(s, archive_write_set_passphrase(s->archive, password));
	}
	check(s, archive_write_open_filename(s->archive, path));
	return s;
}

static void write_entry(struct archive_samples *s, struct archive_entry *entry, const void *bytes,
			size_t size)
{
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_mtime(entry, 1700000000, 0);
	check(s, archive_write_header(s->archive, entry));
	if (size > 0 && archive_write_data(s->archive, bytes, size) != (la_ssize_t)size)
		check(s, ARCHIVE_FATAL);
	archive_entry_free(entry);
}

void archive_samples_add(struct archive_samples *s, const char *name, const void *bytes,
			 size_t size)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_size(entry, (la_int64_t)size);
	write_entry(s, entry, bytes, size);
}

void archive_samples_add_link(struct archive_samples *s, const char *name, const char *target,
			      int hard)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, !target ? AE_IFCHR : hard ? AE_IFREG : AE_IFLNK);
	if (target && hard)
		archive_entry_set_hardlink(entry, target);
	else if (target)
		archive_entry_set_symlink(entry, target);
	archive_entry_set_size(entry, 0);
	write_entry(s, entry, NULL, 0);
}

void archive_samples_end(struct archive_samples *s)
{
	check(s, archive_write_close(s->archive));
	archive_write_free(s->archive);
	free(s);
}
