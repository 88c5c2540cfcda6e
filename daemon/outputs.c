#include "daemon/outputs.h"

#include "base/checked.h"
#include "base/files.h"

#include <string.h>

/* NULL: it is not attached, or not there. */
static struct output *find(const struct outputs *outputs, const char *path)
{
	cleanup_free char *full = realpath(path, NULL);

	for (size_t i = 0; full && i < outputs->n; i++) {
		if (strcmp(outputs->items[i]->root, full) == 0)
			return outputs->items[i];
	}
	return NULL;
}

int outputs_get(struct outputs *outputs, const char *path, const struct state_folder *state,
		struct output **out, char **owner, struct error *err)
{
	struct output attached = OUTPUT_INIT, *o = find(outputs, path);
	int r;

	if (o) {
		*out = o;
		return 0;
	}
	r = output_attach(path, state, &attached, err);
	if (r == OUTPUT_BUSY) {
		*owner = TAKE(attached.owner);
		output_close(&attached);
	}
	if (r != 0)
		return r;
	o = xmalloc(sizeof(*o));
	*o = attached;
	ARRAY_GROW(outputs->items, outputs->n, outputs->capacity);
	outputs->items[outputs->n++] = o;
	*out = o;
	return 0;
}

void outputs_close(struct outputs *outputs)
{
	for (size_t i = 0; i < outputs->n; i++) {
		output_close(outputs->items[i]);
		free(outputs->items[i]);
	}
	free(outputs->items);
	*outputs = (struct outputs)OUTPUTS_INIT;
}
