#include "daemon/shard_form.h"

#include "daemon/record_copy.h"
#include "storage/mds_columns.h"
#include "storage/seal.h"

int shard_form_read(struct store *store, const char *name, const struct shard_span *span,
		    struct dataset_form *out, struct error *err)
{
	struct dataset_form form = {.format = shard_format_of_file(name)};
	cleanup_record struct record record = RECORD_INIT;

	if (shard_stored_columns(store, name, form.columns, err) < 0 ||
	    shard_read_record(store, name, span, &record, err) < 0)
		return -1;
	form.codec = record_codec(&record);
	*out = form;
	return 0;
}
