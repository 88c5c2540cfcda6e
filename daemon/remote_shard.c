#include "daemon/remote_shard.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"
#include "net/http_fetch.h"
#include "storage/shard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The last part of the address's path, to be freed. */
static char *name_of(const char *url)
{
	size_t end = strcspn(url, "?#"), start = end;

	while (start > 0 && url[start - 1] != '/')
		start--;
	return xasprintf("%.*s", (int)(end - start), url + start);
}

static int write_file(struct remote_shard *s, const struct buffer *bytes, struct error *err)
{
	cleanup_close int fd = file_open(s->path, O_WRONLY | O_CREAT | O_EXCL, 0600, err);

	return fd < 0 ? -1 : fd_write_all(fd, bytes->data, bytes->size, err);
}

int remote_shard_open(const char *url, size_t most, struct remote_shard *out, struct error *err)
{
	const char *tmp = getenv("TMPDIR");
	cleanup_buffer struct buffer bytes = BUFFER_INIT;
	cleanup_free char *name = name_of(url);
	struct remote_shard s = REMOTE_SHARD_INIT;
	char quoted[TEXT_QUOTE_SIZE];

	if (!shard_format_of_file(name))
		return error_set(err, ERR_CONFIG,
				 "%s is not a shard: its name should end in .tar or .mds.zstd",
				 text_quote(url, quoted));
	if (http_fetch_begin(url, most, &bytes, &s.whole, err) < 0)
		return -1;
	s.folder = xasprintf("%s/latentd-shard-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(s.folder)) {
		error_sys(err, "%s", s.folder);
		free(s.folder);
		return -1;
	}
	s.path = xasprintf("%s/%s", s.folder, name);
	if (write_file(&s, &bytes, err) < 0) {
		remote_shard_close(&s);
		return -1;
	}
	*out = s;
	return 0;
}

void remote_shard_close(struct remote_shard *s)
{
	if (s->path)
		unlink(s->path);
	if (s->folder)
		rmdir(s->folder);
	free(s->path);
	free(s->folder);
	*s = (struct remote_shard)REMOTE_SHARD_INIT;
}
