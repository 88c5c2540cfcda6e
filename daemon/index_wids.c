/*
 * wids.json, version 1 of the index that the wids package reads (webdataset 0.2.107 and older). Its URLs are relative
 * to the index itself. nsamples must be what the tar holds, so superseded samples count.
 */
#include "daemon/index.h"

#include <inttypes.h>

int index_wids_write(const struct index_pass *pass, struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;

	buffer_append_string(&text,
			     "{\"__kind__\":\"wids-shard-index-v1\",\"wids_version\":1,\"name\":");
	index_put_string(&text, pass->name);
	buffer_append_string(&text, ",\"shardlist\":[");
	for (size_t i = 0; i < pass->n_shards; i++) {
		const struct shard_row *row = &pass->shards[i].row;

		buffer_appendf(&text,
			       "%s\n{\"url\":\"../%s\",\"nsamples\":%" PRIu64
			       ",\"filesize\":%" PRIu64 "}",
			       i > 0 ? "," : "", row->path, row->samples, row->bytes);
	}
	buffer_append_string(&text, "]}\n");
	return index_put(pass, ".latentd/wids.json", &text, err);
}
