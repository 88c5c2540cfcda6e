/*
 * SLOW_ROOT=FOLDER SLOW_US=300 slow_folder -o max_threads=64 MOUNTPOINT: FOLDER read-only through FUSE, each answer of which takes
 * so long as one over a network would. The kernel remembers answers for a minute. Unmount and mount it before each measurement.
 */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include "base/checked.h"
#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;
static useconds_t answer_us;

static char *below_root(const char *path)
{
	usleep(answer_us);
	return xasprintf("%s%s", root, path);
}

static int slow_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	cleanup_free char *real = below_root(path);

	(void)info;
	return lstat(real, st) < 0 ? -errno : 0;
}

static int slow_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
			struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
	cleanup_free char *real = below_root(path);
	DIR *list = opendir(real);
	const struct dirent *entry;

	(void)offset;
	(void)info;
	(void)flags;
	if (!list)
		return -errno;
	while ((entry = readdir(list))) {
		struct stat st = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};

		if (fill(buffer, entry->d_name, &st, 0, (enum fuse_fill_dir_flags)0) != 0)
			break;
	}
	closedir(list);
	return 0;
}

static int slow_open(const char *path, struct fuse_file_info *info)
{
	cleanup_free char *real = below_root(path);
	int fd = open(real, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	info->fh = (uint64_t)fd;
	return 0;
}

static int slow_read(const char *path, char *data, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	ssize_t n;

	(void)path;
	usleep(answer_us);
	n = pread((int)info->fh, data, size, offset);
	return n < 0 ? -errno : (int)n;
}

static int slow_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	return close((int)info->fh);
}

static void *slow_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	(void)connection;
	config->attr_timeout = config->entry_timeout = 60;
	config->use_ino = 1;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct fuse_operations operations = {
	    .getattr = slow_getattr,
	    .readdir = slow_readdir,
	    .open = slow_open,
	    .read = slow_read,
	    .release = slow_release,
	    .init = slow_init,
	};
	const char *us = getenv("SLOW_US");

	root = getenv("SLOW_ROOT");
	if (!root || !us) {
		fprintf(
		    stderr,
		    "usage: SLOW_ROOT=FOLDER SLOW_US=N slow_folder [FUSE OPTION...] MOUNTPOINT\n");
		return 2;
	}
	answer_us = (useconds_t)strtoul(us, NULL, 10);
	return fuse_main(argc, argv, &operations, NULL);
}
