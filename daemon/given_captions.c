#include "daemon/given_captions.h"

#include "daemon/caption_list.h"

#include "base/checked.h"
#include "base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <unistd.h>

/* The queue knows that their samples have an earlier caption, and readers are told. */
static int tell(const struct recaption_options *o, const json_t *list, struct error *err)
{
	cleanup_free const char **keys = xcalloc(json_object_size(list) + 1, sizeof(*keys));
	const char *key;
	json_t *unused;
	size_t n = 0;

	json_object_foreach((json_t *)list, key, unused) keys[n++] = key;
	if (queue_recaption(o->rewrite.queue, o->rewrite.dataset, keys, n, err) < 0)
		return -1;
	return captions_list_write(o, err);
}

/* Adds them to those that were given before. */
static int keep(const struct recaption_options *o, const json_t *list, struct error *err)
{
	cleanup_free char *path = given_captions_path(o->folder);
	json_t *given = json_object();
	int r = caption_list_read(path, given, err);

	if (r == 0) {
		json_object_update(given, (json_t *)list);
		r = caption_list_write(path, given, err);
	}
	json_decref(given);
	return r;
}

int given_captions_set(const struct recaption_options *o, json_t *list, bool dry_run,
		       struct foreign_keys *foreign, struct error *err)
{
	if (foreign_keys_leave(o->rewrite.queue, o->rewrite.dataset, list, foreign, err) < 0)
		return -1;
	if (dry_run || json_object_size(list) == 0)
		return 0;
	return keep(o, list, err) < 0 ? -1 : tell(o, list, err);
}

int given_captions_reset(const struct recaption_options *o, size_t *n, struct error *err)
{
	cleanup_free char *path = given_captions_path(o->folder);
	json_t *given = json_object();
	int r = caption_list_read(path, given, err);

	if (r == 0)
		r = tell(o, given, err);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = error_sys(err, "remove %s", path);
	if (r == 0)
		*n = json_object_size(given);
	json_decref(given);
	return r;
}
