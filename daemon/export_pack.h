/*
 * Samples of an export in tars, as webdataset reads them: DIR/WxH/000000.tar, each of one size. The same samples in the same
 * order give the same tars, so an export that goes on finds those that are whole.
 *
 * Resolutions of an image come one behind another: as many tars are filled side by side, and the one that has got nothing for
 * longest is finished where a further size comes.
 *
 *	export_pack_begin(&pack, target)
 *	export_pack_add(&pack, &record, err)
 *	export_pack_end(&pack, err)                           pack.written, pack.kept
 *	export_pack_release(&pack)
 */
#ifndef LATENTD_DAEMON_EXPORT_PACK_H
#define LATENTD_DAEMON_EXPORT_PACK_H

#include "daemon/export_target.h"
#include "daemon/resolutions.h"
#include "storage/shard.h"

/* Of a full one; it is held in memory. */
#define EXPORT_PACK_SAMPLES 1000
#define EXPORT_PACK_BYTES   ((size_t)256 << 20)

struct export_pack_group {
	char name[RECORD_GROUP_SIZE];
	unsigned next; /* number of its next tar */
};

/* One that is being filled; writer NULL: none is. */
struct export_pack_tar {
	size_t group;
	struct buffer bytes;
	struct sink_buffer sink;
	struct shard_writer *writer;
	size_t samples;
	uint64_t used; /* when it got its last sample: that one's number */
};

struct export_pack {
	struct export_target *target;
	struct export_pack_group *groups;
	size_t n_groups, groups_capacity;
	struct export_pack_tar tars[RESOLUTIONS_MAX];
	struct shard_span span; /* of the last sample, which nobody asks for */
	uint64_t samples;
	size_t written, kept; /* tars */
};

void export_pack_begin(struct export_pack *pack, struct export_target *target);
/* ERR_DATA: the record cannot be in a tar; ERR_CONFIG: another file is in the place of a tar. */
int export_pack_add(struct export_pack *pack, const struct record *record, struct error *err);
int export_pack_end(struct export_pack *pack, struct error *err);
void export_pack_release(struct export_pack *pack);

#endif
