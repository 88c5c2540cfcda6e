/*
 * Which records wait in the spool for a shard, by group.
 */
#ifndef LATENTD_DAEMON_SPOOL_INDEX_H
#define LATENTD_DAEMON_SPOOL_INDEX_H

#include "daemon/packer.h"

struct spool_index {
	struct spool_group {
		char name[RECORD_GROUP_SIZE];
		struct spooled *entries;
		size_t n, capacity;
		uint64_t bytes;
		int64_t since;	     /* the oldest entry's */
		unsigned next_shard; /* above the number of every shard seen */
	} * groups;
	size_t n, capacity;
};

#define SPOOL_INDEX_INIT                                                                           \
	{                                                                                          \
		NULL, 0, 0                                                                         \
	}

void spool_index_release(struct spool_index *index);
void spool_index_add(struct spool_index *index, const struct spooled *entry);
/* Takes the entry of @job at @place out; false: it is not there (any more). */
bool spool_index_remove(struct spool_index *index, int64_t job, const struct spool_place *place);
/*
 * Takes the entries of a group that has @samples records or @bytes, at most @samples of them, in rising rank;
 * the caller frees them. With @any, of any group that has one. NULL: none.
 */
struct spooled *spool_index_take(struct spool_index *index, size_t samples, uint64_t bytes,
				 bool any, size_t *n);
/*
 * The same from the group that has the oldest record: it keeps a segment, and perhaps much else in it, on
 * disk. NULL: the index is empty.
 */
struct spooled *spool_index_take_oldest(struct spool_index *index, size_t samples, uint64_t bytes,
					size_t *n);
/* The same from a group that has an entry from before @since. NULL: there is none. */
struct spooled *spool_index_take_aged(struct spool_index *index, int64_t since, size_t samples,
				      uint64_t bytes, size_t *n);
/*
 * Shard "SPLIT/GROUP/NUMBER.EXT" exists or existed: its number is not given again, because a shard's name never
 * stands for other contents. Other names are ignored.
 */
void spool_index_note_shard(struct spool_index *index, const char *name);
/* The number that the next shard of the group tries first; it is not given again either. */
unsigned spool_index_take_number(struct spool_index *index, const char *group);
/* Shards of so many records or bytes that could be made of what is there, about. */
size_t spool_index_full(const struct spool_index *index, size_t samples, uint64_t bytes);
/* Bytes of all entries. */
uint64_t spool_index_bytes(const struct spool_index *index);
size_t spool_index_count(const struct spool_index *index);

#endif
