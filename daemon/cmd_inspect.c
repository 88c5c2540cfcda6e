#include "config/read_options.h"
#include "daemon/commands.h"
#include "daemon/record_build.h"
#include "daemon/shard_path.h"

#include "storage/seal.h"

#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

struct inspect {
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
	(void)err;
	inspect->n++;
	if (record_facts_read(record, &facts, &why) < 0) {
		inspect->damaged++;
		fprintf(stderr, "latentctl inspect: %s\n", why.message);
	} else if (inspect->json) {
		printf("%.*s\n", (int)json->data.size, (const char *)json->data.data);
	} else {
		print_row(record, &facts);
	}
	return 0;
}

int cmd_inspect(int argc, char **argv, struct error *err)
{
	static const char usage[] = "inspect SHARD [--json]";
	cleanup_shard_path struct shard_path shard = SHARD_PATH_INIT;
	cleanup_free const char **words = xcalloc((size_t)argc, sizeof(*words));
	struct read_options options = {.out = NULL};
	struct inspect inspect = {.n = 0};
	size_t n = 0;
	int code;

	if (read_options_parse(argc, argv, "json", usage, &options, words, &n, &code))
		return code;
	if (n != 1) {
		fprintf(stderr, "usage: latentctl %s\n", usage);
		return EXIT_USAGE;
	}
	inspect.json = options.json;
	if (shard_path_open(words[0], &shard, err) < 0 ||
	    shard_read_stored(shard.store, shard.name, on_record, &inspect, err) < 0)
		return -1;
	if (!options.json)
		printf("%zu samples\n", inspect.n);
	return inspect.damaged > 0 ? EXIT_DAMAGED : EXIT_OK;
}
