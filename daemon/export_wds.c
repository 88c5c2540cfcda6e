/*
 * Tars for whatever reads webdataset and nothing more: arrays as plain .npy, the members that are asked for.
 */
#include "daemon/export_format.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

/* Its tar has the group's name, WxH. */
static char *path(const struct export_job *job, const struct export_sample *s)
{
	(void)job;
	return xasprintf("%zux%zu/%s", s->target_width, s->target_height, s->key);
}

static int pack(const struct export_job *job, const struct export_sample *s,
		const struct ndarray *latent, struct record *out, struct error *err)
{
	cleanup_free char *json = export_record_text(s);
	cleanup_record struct record record = RECORD_INIT;
	cleanup_buffer struct buffer npy = BUFFER_INIT;
	const char *caption = s->caption ? s->caption : "";
	char group[RECORD_GROUP_SIZE], suffix[RECORD_SUFFIX_SIZE];

	snprintf(group, sizeof(group), "%zux%zu", s->target_width, s->target_height);
	snprintf(suffix, sizeof(suffix), "%s.npy", export_array_name(job));
	npy_write(&npy, latent);
	if (record_init(&record, s->key, group, err) < 0)
		return -1;
	if (job->columns & EXPORT_COLUMN_JSON &&
	    record_add(&record, "json", json, strlen(json), err) < 0)
		return -1;
	if (job->columns & EXPORT_COLUMN_LATENT &&
	    record_add_buffer(&record, suffix, &npy, err) < 0)
		return -1;
	if (job->columns & EXPORT_COLUMN_CAPTION &&
	    record_add(&record, "txt", caption, strlen(caption), err) < 0)
		return -1;
	*out = record;
	record = (struct record)RECORD_INIT;
	return 0;
}

const struct export_format export_wds = {
    .name = "wds",
    .help = "WxH/NNNNNN.tar of KEY.latent.npy, KEY.json and KEY.txt (--columns) for webdataset",
    .dtypes = "stored float32 float16",
    .columns = true,
    .path = path,
    .pack = pack,
};
