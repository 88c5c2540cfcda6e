#include "daemon/commands.h"
#include "daemon/record_facts.h"
#include "daemon/shard_path.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct inspect {
	const char *path;
	bool json;
	size_t n, damaged;
};

static void print_row(const struct record *record, const struct record_facts *f)
{
	char shape[64], size[24], caption[TEXT_QUOTE_SIZE];
	size_t dims[3] = {f->channels, f->height, f->width};

	ndarray_shape_text(3, dims, shape, sizeof(shape));
	text_quote(f->caption, caption);
	printf("%-32s %-9s %-16s %-8s %9s  %s\n", record->key, f->moments ? "moments" : "latent",
	       shape, dtype_name(f->dtype), text_bytes(record_bytes(record), size), caption);
}

static int on_record(void *arg, const struct record *record, const struct shard_span *span,
		     struct error *err)
{
	const struct record_member *json = record_member(record, "json");
	struct inspect *inspect = arg;
	struct record_facts facts;
	struct error why = ERROR_INIT;

	(void)span;
	inspect->n++;
	if (record_facts_read(record, &facts, &why) < 0) {
		if (why.code != ERR_DATA) {
			*err = why;
			return -1;
		}
		shard_failed("inspect", inspect->path, &why);
		inspect->damaged++;
	} else if (inspect->json) {
		printf("%.*s\n", (int)json->data.size, (const char *)json->data.data);
	} else {
		print_row(record, &facts);
	}
	return 0;
}

int cmd_inspect(int argc, char **argv, struct error *err)
{
	static const struct read_command command = {"json", 1, "inspect SHARD [--json]"};
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	struct read_options options = {.out = NULL};
	struct inspect inspect = {.n = 0};
	int r = read_options_parse(argc, argv, &command, &options);

	if (r != 0)
		return read_options_exit(r);
	inspect.path = options.words[0];
	inspect.json = options.json;
	if (shard_path_open(inspect.path, &shard, err) < 0)
		return -1;
	if (shard_read_stored(shard.store, shard.name, on_record, &inspect, err) < 0)
		return shard_failed("inspect", inspect.path, err);
	if (!options.json)
		printf("%zu sample%s\n", inspect.n, plural(inspect.n));
	return inspect.damaged > 0 ? EXIT_DAMAGED : EXIT_OK;
}
