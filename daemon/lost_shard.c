#include "daemon/lost_shard.h"

#include "base/clock.h"
#include "base/note.h"

struct search {
	int64_t id;
	bool found;
};

static int on_row(void *arg, const struct shard_row *row)
{
	struct search *s = arg;

	s->found = row->id == s->id;
	return s->found;
}

/* 1, 0 or -1. */
static int is_replaced(const struct lost_shard_options *o, int64_t id, struct error *err)
{
	struct search search = {.id = id};

	if (!o->shared)
		return 0;
	if (queue_shards(o->queue, o->dataset, on_row, &search, err) < 0)
		return -1;
	return !search.found;
}

int lost_shard_drop(const struct lost_shard_options *o, const struct shard_row *row,
		    struct error *err)
{
	struct error why = ERROR_INIT;
	uint64_t bytes = 0;
	size_t requeued = 0;
	bool there = store_size(o->store, row->path, &bytes, &why) == 0;
	int replaced;

	if (there && bytes == row->bytes)
		return 0;
	if (!there && why.code != ERR_DATA) {
		*err = why;
		return -1;
	}
	replaced = is_replaced(o, row->id, err);
	if (replaced != 0)
		return replaced < 0 ? -1 : 0;
	if (o->dry_run) {
		note_tell(o->note, o->arg, "%s %s: its images would be encoded again", row->path,
			  there ? "has another size than when it was sealed" : "is not there");
		return 0;
	}
	if (there && store_quarantine(o->store, row->path, err) < 0)
		return -1;
	if (queue_drop_shard(o->queue, row->id, clock_wall_ms(), &requeued, err) < 0)
		return -1;
	note_tell(o->note, o->arg, "%s %s: its %zu images are encoded again", row->path,
		  there ? "has another size than when it was sealed (moved to .latentd/quarantine)"
			: "is no longer there",
		  requeued);
	return 0;
}
