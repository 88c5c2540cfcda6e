#include "algo_cache.h"

#include "gpu_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TITLE "latentd-cuda algorithms 1"

enum { MAX_ENTRIES = 4096, MAX_FILE = 1 << 20, DEVICE_SIZE = 256 };
enum { LOCK_TRIES = 50, LOCK_PAUSE_US = 20000 };

struct entry {
	char key[LATENTD_CUDA_KEY_SIZE];
	struct algo_choice choice;
};

struct algo_cache {
	char device[DEVICE_SIZE];
	struct entry *entries;
	size_t n, room;
	int changed, unsaved; /* since a save was tried; since one succeeded */
};

struct algo_cache *algo_cache_new(const char *device)
{
	struct algo_cache *cache = calloc(1, sizeof(*cache));

	if (cache)
		snprintf(cache->device, sizeof(cache->device), "%s", device);
	return cache;
}

void algo_cache_free(struct algo_cache *cache)
{
	if (cache)
		free(cache->entries);
	free(cache);
}

static struct entry *find(const struct algo_cache *cache, const char *key)
{
	for (size_t i = 0; i < cache->n; i++) {
		if (strcmp(cache->entries[i].key, key) == 0)
			return &cache->entries[i];
	}
	return NULL;
}

int algo_cache_find(const struct algo_cache *cache, const char *key, struct algo_choice *out)
{
	const struct entry *e = find(cache, key);

	if (!e)
		return -1;
	*out = e->choice;
	return 0;
}

static void put(struct algo_cache *cache, const char *key, const struct algo_choice *choice)
{
	struct entry *e = find(cache, key);

	if (!e && cache->n == cache->room) {
		size_t room = cache->room ? 2 * cache->room : 64;
		struct entry *more;

		if (room > MAX_ENTRIES)
			return;
		more = realloc(cache->entries, room * sizeof(*more));
		if (!more)
			return;
		cache->entries = more;
		cache->room = room;
	}
	if (!e)
		e = &cache->entries[cache->n++];
	snprintf(e->key, sizeof(e->key), "%s", key);
	e->choice = *choice;
}

void algo_cache_add(struct algo_cache *cache, const char *key, const struct algo_choice *choice)
{
	if (strlen(key) >= LATENTD_CUDA_KEY_SIZE)
		return;
	put(cache, key, choice);
	cache->changed = cache->unsaved = 1;
}

/* The next line without its end; false where there is none. */
static int next_line(const char **at, const char *end, char *line, size_t size)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));
	size_t length;

	if (!newline)
		return 0;
	length = (size_t)(newline - *at);
	if (length >= size || memchr(*at, 0, length))
		length = 0; /* too long, or not text: an empty line is not understood either */
	memcpy(line, *at, length);
	line[length] = 0;
	*at = newline + 1;
	return 1;
}

static int parse_entry(char *line, struct algo_choice *choice)
{
	char *sign = strstr(line, " = "), rest = 0;

	if (!sign || sign == line || sign - line >= LATENTD_CUDA_KEY_SIZE)
		return -1;
	/* scanf takes more for a number than is ever written */
	if (sign[3 + strspn(sign + 3, "0123456789. ")] != 0 ||
	    sscanf(sign + 3, "%9u %9u %20f%c", &choice->variant, &choice->place,
		   &choice->microseconds, &rest) != 3 ||
	    !(choice->microseconds >= 0 && choice->microseconds < 1e9f))
		return -1;
	*sign = 0;
	return 0;
}

size_t algo_cache_parse(struct algo_cache *cache, const char *text, size_t size)
{
	const char *at = text, *end = text + size;
	char line[LATENTD_CUDA_KEY_SIZE + DEVICE_SIZE];
	struct algo_choice choice = {0, 0, 0};
	size_t understood = 0;

	if (!next_line(&at, end, line, sizeof(line)) || strcmp(line, TITLE) != 0)
		return 0;
	if (!next_line(&at, end, line, sizeof(line)) || strncmp(line, "device ", 7) != 0 ||
	    strcmp(line + 7, cache->device) != 0)
		return 0;
	while (next_line(&at, end, line, sizeof(line))) {
		if (parse_entry(line, &choice) < 0)
			continue;
		put(cache, line, &choice);
		understood++;
	}
	return understood;
}

char *algo_cache_text(const struct algo_cache *cache)
{
	size_t room = sizeof(TITLE) + DEVICE_SIZE + 16 + cache->n * (LATENTD_CUDA_KEY_SIZE + 48),
	       used;
	char *text = malloc(room);

	if (!text)
		return NULL;
	used = (size_t)snprintf(text, room, TITLE "\ndevice %s\n", cache->device);
	for (size_t i = 0; i < cache->n; i++) {
		const struct entry *e = &cache->entries[i];

		used += (size_t)snprintf(text + used, room - used, "%s = %u %u %.3f\n", e->key,
					 e->choice.variant, e->choice.place,
					 (double)e->choice.microseconds);
	}
	return text;
}

void algo_cache_load(struct algo_cache *cache, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text;
	ssize_t got;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    st.st_size <= MAX_FILE && (text = malloc((size_t)st.st_size)) != NULL) {
		got = read(fd, text, (size_t)st.st_size);
		if (got > 0)
			algo_cache_parse(cache, text, (size_t)got);
		free(text);
	}
	close(fd);
}

/* Whoever has it saves a small file: one that takes longer than this has been stopped. */
static int lock(int fd)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return 0; /* a file system without locks: two may save at once */
		gpu_clock_sleep_us(LOCK_PAUSE_US);
	}
	return -1;
}

/* Takes turns with others that save the same file; -1: somebody has it for too long, or it cannot be made. */
static int lock_of(const char *path)
{
	char name[4096];
	int fd;

	if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
		return -1;
	fd = open(name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fd >= 0 && lock(fd) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * Linked into place: what is there now is removed first. So is what a process of our number left that was killed here: in
 * a container they all have the same.
 */
static int replace(const char *path, const char *text)
{
	char temporary[4096];
	size_t size = strlen(text);
	int fd = -1, whole = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid()) <
	    (int)sizeof(temporary)) {
		unlink(temporary);
		fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	}
	if (fd < 0)
		return 0;
	whole = write(fd, text, size) == (ssize_t)size;
	whole = close(fd) == 0 && whole;
	if (whole) {
		unlink(path);
		whole = link(temporary, path) == 0;
	}
	unlink(temporary);
	return whole;
}

/* What others have found since is kept, and known here from now on; of what both have, ours. */
static void add_from(struct algo_cache *cache, const char *path)
{
	struct algo_cache *others = algo_cache_new(cache->device);

	if (!others)
		return;
	algo_cache_load(others, path);
	for (size_t i = 0; i < others->n; i++) {
		if (!find(cache, others->entries[i].key))
			put(cache, others->entries[i].key, &others->entries[i].choice);
	}
	algo_cache_free(others);
}

static void save(struct algo_cache *cache, const char *path)
{
	char *text;
	int lock = lock_of(path);

	if (lock < 0)
		return;
	add_from(cache, path);
	text = algo_cache_text(cache);
	if (text && replace(path, text))
		cache->unsaved = 0;
	free(text);
	close(lock);
}

void algo_cache_save(struct algo_cache *cache, const char *path)
{
	if (cache->changed)
		save(cache, path);
	cache->changed = 0; /* what could not be written goes with the next */
}

void algo_cache_save_rest(struct algo_cache *cache, const char *path)
{
	if (cache->unsaved)
		save(cache, path);
}
