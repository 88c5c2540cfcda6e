#include "daemon/skip_policy.h"

#include "base/atomic_file.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/files.h"

#include <jansson.h>
#include <string.h>

#define LIMITS_FILE_MAX 4096

static char *limits_text(const struct bucket_options *limits, bool drop_duplicates)
{
	json_t *root = json_object();
	char *text;

	json_object_set_new(root, "min_side", json_integer((json_int_t)limits->min_side));
	json_object_set_new(root, "max_upscale", json_real(limits->max_upscale));
	json_object_set_new(root, "max_crop_loss", json_real(limits->max_crop_loss));
	if (drop_duplicates)
		json_object_set_new(root, "duplicates", json_string("drop"));
	text = json_dumps(root, JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
	json_decref(root);
	if (!text)
		abort();
	return text;
}

/* A note that cannot be read is another one: images are looked at once more, no more than that. */
static bool is_noted(const char *file, const char *text)
{
	cleanup_buffer struct buffer noted = BUFFER_INIT;
	struct error ignored = ERROR_INIT;

	return file_read_all(file, LIMITS_FILE_MAX, &noted, &ignored) == 0 &&
	       noted.size == strlen(text) && memcmp(noted.data, text, noted.size) == 0;
}

/* What the limits decide. Other images are skipped because somebody said so (`deleted`): that stays. */
static const char *const reasons[] = {"no_bucket", "too_small", "aspect",
				      "upscale",   "crop_loss", "duplicate"};

static int look_again(struct queue *queue, int64_t dataset, size_t *again, struct error *err)
{
	struct job_filter which = {.dataset = dataset, .state = JOB_SKIPPED};
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		which.reason = reasons[i];
		if (queue_retry(queue, &which, clock_wall_ms(), &n, err) < 0)
			return -1;
		*again += n;
	}
	return 0;
}

int skip_policy_apply(const char *state, const char *name, const struct bucket_options *limits,
		      bool drop_duplicates, struct queue *queue, int64_t dataset, size_t *again,
		      struct error *err)
{
	cleanup_free char *file = xasprintf("%s/%s.limits.json", state, name);
	cleanup_free char *text = limits_text(limits, drop_duplicates);

	*again = 0;
	if (is_noted(file, text))
		return 0;
	if (look_again(queue, dataset, again, err) < 0)
		return -1;
	return atomic_file_write(file, text, strlen(text), err);
}
