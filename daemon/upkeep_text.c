/* What has come of gc and compact, for people. */
#include "daemon/upkeep.h"

#include "daemon/commands.h"
#include "daemon/status_text.h"
#include "daemon/status_text_parts.h"

#include "base/clock.h"
#include "base/text.h"

#include <jansson.h>
#include <string.h>

static void compact_text(struct buffer *out, const char *dataset, const json_t *o)
{
	uint64_t retired = status_count_of(o, "retired"), samples = status_count_of(o, "samples");
	uint64_t captions = status_count_of(o, "captions");
	char size[24];

	if (captions > 0)
		buffer_appendf(out, "%s: %llu caption%s brought into the shards\n", dataset,
			       (unsigned long long)captions, plural(captions));
	buffer_appendf(out, "%s: %llu small shard%s %s into %llu (%llu sample%s, %s)\n", dataset,
		       (unsigned long long)retired, plural(retired),
		       json_is_true(json_object_get(o, "dry_run")) ? "would be merged" : "merged",
		       (unsigned long long)status_count_of(o, "shards"),
		       (unsigned long long)samples, plural(samples),
		       text_bytes(status_count_of(o, "bytes"), size));
}

static void rewritten_text(struct buffer *out, const char *dataset, const json_t *o, bool dry_run)
{
	uint64_t retired = status_count_of(o, "retired"), dead = status_count_of(o, "dead");
	uint64_t shards = status_count_of(o, "shards");
	char was[24], is[24];

	if (retired == 0)
		return;
	buffer_appendf(out,
		       "%s: %llu dead sample%s in %llu shard%s (%s) %s out; %llu new shard%s "
		       "(%s)\n",
		       dataset, (unsigned long long)dead, plural(dead), (unsigned long long)retired,
		       plural(retired), text_bytes(status_count_of(o, "retired_bytes"), was),
		       dry_run ? "would be taken" : "taken", (unsigned long long)shards,
		       plural(shards), text_bytes(status_count_of(o, "bytes"), is));
}

static void swept_text(struct buffer *out, const char *dataset, const json_t *o, bool dry_run)
{
	uint64_t removed = status_count_of(o, "removed");
	char freed[24], kept[24];

	buffer_appendf(out,
		       "%s: %llu replaced shard%s %s, %s %s; %llu kept until %llu hours old "
		       "(%s)\n",
		       dataset, (unsigned long long)removed, plural(removed),
		       dry_run ? "would be removed" : "removed",
		       text_bytes(status_count_of(o, "removed_bytes"), freed),
		       dry_run ? "to free" : "freed",
		       (unsigned long long)status_count_of(o, "kept"),
		       (unsigned long long)status_count_of(o, "grace_hours"),
		       text_bytes(status_count_of(o, "kept_bytes"), kept));
}

static void stranger_text(struct buffer *out, const char *dataset, const json_t *o)
{
	char size[24];

	buffer_appendf(out, "%s: ", dataset);
	status_append_path(out, o, "path");
	buffer_appendf(out,
		       " (%s) is in the store and not in the catalog: the next encode adopts it, "
		       "or puts it aside\n",
		       text_bytes(status_count_of(o, "bytes"), size));
}

static void upload_text(struct buffer *out, const char *dataset, const json_t *o, bool dry_run)
{
	int64_t begun = json_integer_value(json_object_get(o, "begun_at")), now = clock_wall_ms();
	char age[32];

	buffer_appendf(out, "%s: an upload of ", dataset);
	status_append_path(out, o, "path");
	buffer_appendf(out, ", begun %s ago and never ended, %s\n",
		       text_duration(now > begun ? (uint64_t)(now - begun) / 1000 : 0, age),
		       dry_run ? "would be forgotten" : "was forgotten");
}

void upkeep_text(struct buffer *out, const char *dataset, const json_t *result)
{
	bool dry_run = json_is_true(json_object_get(result, "dry_run"));
	const json_t *item;
	size_t i;

	if (strcmp(status_text_of(result, "command"), upkeep_name(UPKEEP_COMPACT)) == 0) {
		compact_text(out, dataset, result);
		return;
	}
	rewritten_text(out, dataset, result, dry_run);
	swept_text(out, dataset, result, dry_run);
	json_array_foreach(json_object_get(result, "strangers"), i, item)
	    stranger_text(out, dataset, item);
	json_array_foreach(json_object_get(result, "uploads"), i, item)
	    upload_text(out, dataset, item, dry_run);
}
