#include "source/remote_s3.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/s3.h"

#include <pthread.h>
#include <string.h>

enum { BUCKETS_MAX = 64 };

struct remote_bucket {
	char *name;
	struct s3 *s3;
	pthread_mutex_t lock; /* of the client: it belongs to one thread at a time */
};

struct remote_s3 {
	pthread_mutex_t lock;
	struct remote_bucket *buckets[BUCKETS_MAX];
	size_t n;
};

struct remote_s3 *remote_s3_new(void)
{
	struct remote_s3 *s = xcalloc(1, sizeof(*s));

	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void bucket_free(struct remote_bucket *b)
{
	s3_close(b->s3);
	pthread_mutex_destroy(&b->lock);
	free(b->name);
	free(b);
}

void remote_s3_free(struct remote_s3 *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++)
		bucket_free(s->buckets[i]);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int add_bucket(struct remote_s3 *s, const char *name, struct remote_bucket **out,
		      struct error *err)
{
	const struct s3_options options = {.place = {.bucket = name}};
	struct remote_bucket *b;
	struct s3 *s3 = NULL;

	if (s->n == BUCKETS_MAX)
		return error_data(err, "bad_url", "more than %d buckets in one source",
				  BUCKETS_MAX);
	if (s3_open(&options, &s3, err) < 0)
		return -1;
	b = xcalloc(1, sizeof(*b));
	b->name = xstrdup(name);
	b->s3 = s3;
	pthread_mutex_init(&b->lock, NULL);
	s->buckets[s->n++] = b;
	*out = b;
	return 0;
}

static int find_bucket(struct remote_s3 *s, const char *name, struct remote_bucket **out,
		       struct error *err)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	*out = NULL;
	for (size_t i = 0; i < s->n && !*out; i++) {
		if (strcmp(s->buckets[i]->name, name) == 0)
			*out = s->buckets[i];
	}
	if (!*out)
		r = add_bucket(s, name, out, err);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int remote_s3_init(struct remote_s3 *s, const char *url, struct remote_object *out,
		   struct error *err)
{
	cleanup_free char *bucket = NULL;
	cleanup_free char *key = NULL;
	struct remote_object object = REMOTE_OBJECT_INIT;

	if (s3_url_parse(url, &bucket, &key, err) < 0)
		return -1;
	if (!*key)
		return error_data(err, "bad_url", "it names a bucket, and no object in it");
	if (find_bucket(s, bucket, &object.bucket, err) < 0)
		return -1;
	object.key = TAKE(key);
	*out = object;
	return 0;
}

void remote_s3_release(struct remote_object *object)
{
	free(TAKE(object->key));
}

int remote_s3_sign(struct download *d, char **url, struct buffer *lines, struct error *err)
{
	const struct remote_object *object = d->arg;
	const struct s3_what what = {.method = "GET", .key = object->key};
	cleanup_s3_request struct s3_request request = {.url = NULL};
	int r;

	pthread_mutex_lock(&object->bucket->lock);
	r = s3_sign(object->bucket->s3, &what, &request, err);
	pthread_mutex_unlock(&object->bucket->lock);
	if (r < 0)
		return -1;
	for (size_t i = 0; request.lines[i]; i++)
		buffer_appendf(lines, "%s\n", request.lines[i]);
	*url = TAKE(request.url);
	return 0;
}

enum download_next remote_s3_judge(struct download *d, const struct http_exchange *x,
				   struct error *err)
{
	const struct remote_object *object = d->arg;
	char quoted[TEXT_QUOTE_SIZE];
	struct s3_outcome outcome;
	enum s3_next next;

	pthread_mutex_lock(&object->bucket->lock);
	next = s3_judge(object->bucket->s3, x, &outcome);
	pthread_mutex_unlock(&object->bucket->lock);
	if (next != S3_DONE)
		return next == S3_AGAIN ? DOWNLOAD_AGAIN : DOWNLOAD_LATER;
	if (outcome.cause == S3_NO_KEY)
		error_data(err, "not_found", "there is no such object");
	else if (outcome.cause == S3_NO_BUCKET)
		error_data(err, "not_found", "there is no such bucket");
	else if (outcome.cause == S3_DENIED)
		error_data(err, "forbidden", "these keys do not allow it");
	else
		s3_outcome_error(&outcome, x, text_quote(d->url, quoted), err);
	return DOWNLOAD_OVER;
}
