/*
 * Private to src/source: what servers said of files when they were fetched, and whether they have changed since.
 *
 *	remote_known_open(folder)                    NULL: it cannot be kept there
 *	remote_known_find(k, url, &fact)             false: nothing is known
 *	remote_known_put(k, url, &fact)
 *	remote_known_close(k)
 *
 * A table in a file of that folder, 128 bytes for a URL, in no memory. Several may have it open. What cannot be written, or was
 * torn or damaged since, is not known: a file of which nothing is known counts as it was first met. Any thread.
 */
#ifndef LATENTD_SOURCE_REMOTE_KNOWN_H
#define LATENTD_SOURCE_REMOTE_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#define REMOTE_ETAG_SIZE     56
#define REMOTE_MODIFIED_SIZE 32
#define REMOTE_VERSION_FIRST 1

struct remote_fact {
	uint64_t version;   /* REMOTE_VERSION_FIRST; another with each change that was seen */
	int64_t checked_at; /* when its server was last heard of it; wall-clock ms */
	/* What it is asked by; "": nothing. */
	char etag[REMOTE_ETAG_SIZE], modified[REMOTE_MODIFIED_SIZE];
};

struct remote_known;

struct remote_known *remote_known_open(const char *folder);
/* NULL is fine, for all of them. */
void remote_known_close(struct remote_known *k);
bool remote_known_find(struct remote_known *k, const char *url, struct remote_fact *out);
void remote_known_put(struct remote_known *k, const char *url, const struct remote_fact *fact);

#endif
