#include "daemon/remote_shard.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/http_fetch.h"
#include "storage/shard.h"

#include <stdlib.h>
#include <string.h>

/* The last part of the address's path, to be freed. */
static char *name_of(const char *url)
{
	size_t end = strcspn(url, "?#"), start = end;

	while (start > 0 && url[start - 1] != '/')
		start--;
	return xasprintf("%.*s", (int)(end - start), url + start);
}

static int put(struct store *store, const char *name, const struct buffer *bytes, struct error *err)
{
	struct store_writer *w = NULL;
	int r = store_begin(store, &w, err);

	if (r == 0)
		r = sink_write(store_writer_sink(w), bytes->data, bytes->size, err);
	if (r == 0)
		r = store_publish(w, name, err);
	store_discard(w);
	return r;
}

int remote_shard_open(const char *url, size_t most, struct remote_shard *out, struct error *err)
{
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	cleanup_remote_shard struct remote_shard s = REMOTE_SHARD_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	s.name = name_of(url);
	if (!shard_format_of_file(s.name))
		return error_set(err, ERR_CONFIG,
				 "%s is not a shard: its name should end in .tar or .mds.zstd",
				 text_quote(url, quoted));
	if (http_fetch_begin(url, most, &bytes, &s.whole, err) < 0 ||
	    store_memory_open(&s.store, err) < 0 || put(s.store, s.name, &bytes, err) < 0)
		return -1;
	*out = s;
	s = (struct remote_shard)REMOTE_SHARD_INIT;
	return 0;
}

void remote_shard_close(struct remote_shard *s)
{
	store_close(s->store);
	free(s->name);
	*s = (struct remote_shard)REMOTE_SHARD_INIT;
}
