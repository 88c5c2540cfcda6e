/*
 * Groups come one behind another, as the shards that they are read from; where one comes again it goes on with its own numbers.
 */
#include "daemon/export_pack.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

void export_pack_begin(struct export_pack *pack, struct export_target *target)
{
	*pack = (struct export_pack){.target = target, .bytes = BUFFER_INIT};
}

static void choose_group(struct export_pack *p, const char *name)
{
	for (p->group = 0; p->group < p->n_groups; p->group++) {
		if (strcmp(p->groups[p->group].name, name) == 0)
			return;
	}
	ARRAY_GROW(p->groups, p->n_groups, p->groups_capacity);
	p->groups[p->n_groups] = (struct export_pack_group){.next = 0};
	snprintf(p->groups[p->n_groups++].name, RECORD_GROUP_SIZE, "%s", name);
}

static int flush(struct export_pack *p, struct error *err)
{
	struct export_pack_group *group = &p->groups[p->group];
	cleanup_free char *path = NULL;
	int r;

	if (!p->writer)
		return 0;
	if (shard_format("wds")->finish(p->writer, err) < 0)
		return -1;
	shard_format("wds")->writer_free(p->writer);
	p->writer = NULL;
	path = xasprintf("%s/%06u.tar", group->name, group->next++);
	r = export_target_put(p->target, path, p->bytes.data, p->bytes.size, err);
	if (r < 0)
		return -1;
	p->written += r != EXPORT_TARGET_KEPT;
	p->kept += r == EXPORT_TARGET_KEPT;
	buffer_reset(&p->bytes);
	p->samples = 0;
	return 0;
}

int export_pack_add(struct export_pack *p, const struct record *record, struct error *err)
{
	if (p->writer &&
	    (strcmp(p->groups[p->group].name, record->group) != 0 ||
	     p->samples >= EXPORT_PACK_SAMPLES || p->bytes.size >= EXPORT_PACK_BYTES) &&
	    flush(p, err) < 0)
		return -1;
	if (!p->writer) {
		choose_group(p, record->group);
		sink_buffer_init(&p->sink, &p->bytes);
		p->writer = shard_format("wds")->writer_new(&p->sink.base, NULL);
	}
	if (shard_format("wds")->add(p->writer, record, &p->span, err) < 0)
		return -1;
	p->samples++;
	return 0;
}

int export_pack_end(struct export_pack *p, struct error *err)
{
	return flush(p, err);
}

void export_pack_release(struct export_pack *p)
{
	if (p->writer)
		shard_format("wds")->writer_free(p->writer);
	buffer_release(&p->bytes);
	free(p->groups);
	*p = (struct export_pack){.target = NULL};
}
