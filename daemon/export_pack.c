/*
 * Where a size comes again after its tar was finished it goes on with its own numbers.
 */
#include "daemon/export_pack.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

void export_pack_begin(struct export_pack *pack, struct export_target *target)
{
	*pack = (struct export_pack){.target = target};
}

static size_t group_of(struct export_pack *p, const char *name)
{
	for (size_t i = 0; i < p->n_groups; i++) {
		if (strcmp(p->groups[i].name, name) == 0)
			return i;
	}
	ARRAY_GROW(p->groups, p->n_groups, p->groups_capacity);
	p->groups[p->n_groups] = (struct export_pack_group){.next = 0};
	snprintf(p->groups[p->n_groups].name, RECORD_GROUP_SIZE, "%s", name);
	return p->n_groups++;
}

static int flush(struct export_pack *p, struct export_pack_tar *tar, struct error *err)
{
	struct export_pack_group *group = &p->groups[tar->group];
	cleanup_free char *path = NULL;
	int r;

	if (!tar->writer)
		return 0;
	if (shard_format("wds")->finish(tar->writer, err) < 0)
		return -1;
	shard_format("wds")->writer_free(tar->writer);
	tar->writer = NULL;
	path = xasprintf("%s/%06u.tar", group->name, group->next++);
	r = export_target_put(p->target, path, tar->bytes.data, tar->bytes.size, err);
	if (r < 0)
		return -1;
	p->written += r != EXPORT_TARGET_KEPT;
	p->kept += r == EXPORT_TARGET_KEPT;
	buffer_reset(&tar->bytes);
	tar->samples = 0;
	return 0;
}

/* The one that is being filled with @group, or the one whose turn it is to be: an empty one first. */
static struct export_pack_tar *tar_of(struct export_pack *p, size_t group)
{
	struct export_pack_tar *best = &p->tars[0];

	for (size_t i = 0; i < ARRAY_SIZE(p->tars); i++) {
		struct export_pack_tar *tar = &p->tars[i];

		if (tar->writer && tar->group == group)
			return tar;
		if (best->writer && (!tar->writer || tar->used < best->used))
			best = tar;
	}
	return best;
}

static bool is_full(const struct export_pack_tar *tar)
{
	return tar->samples >= EXPORT_PACK_SAMPLES || tar->bytes.size >= EXPORT_PACK_BYTES;
}

int export_pack_add(struct export_pack *p, const struct record *record, struct error *err)
{
	size_t group = group_of(p, record->group);
	struct export_pack_tar *tar = tar_of(p, group);

	if ((tar->group != group || is_full(tar)) && flush(p, tar, err) < 0)
		return -1;
	if (!tar->writer) {
		tar->group = group;
		sink_buffer_init(&tar->sink, &tar->bytes);
		tar->writer = shard_format("wds")->writer_new(&tar->sink.base, NULL);
	}
	if (shard_format("wds")->add(tar->writer, record, &p->span, err) < 0)
		return -1;
	tar->samples++;
	tar->used = ++p->samples;
	return 0;
}

int export_pack_end(struct export_pack *p, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->tars); i++) {
		if (flush(p, &p->tars[i], err) < 0)
			return -1;
	}
	return 0;
}

void export_pack_release(struct export_pack *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->tars); i++) {
		if (p->tars[i].writer)
			shard_format("wds")->writer_free(p->tars[i].writer);
		buffer_release(&p->tars[i].bytes);
	}
	free(p->groups);
	*p = (struct export_pack){.target = NULL};
}
