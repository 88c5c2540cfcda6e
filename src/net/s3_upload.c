#include "net/s3_upload.h"

#include "base/checked.h"
#include "base/clock.h"
#include "net/s3_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_MAX = 4, UPLOAD_ID_SIZE = 2048, NUMBER_SIZE = 24 };

struct part {
	struct s3_call call;
	struct s3_request request;
	struct sigv4_pair query[2], header;
	char number[NUMBER_SIZE], md5[MD5_BASE64_SIZE], etag[S3_ETAG_SIZE];
	uint8_t *data;
	int64_t due; /* monotonic: not before */
	bool flying, done;
};

struct transfer {
	struct s3 *s3;
	const struct s3_upload *upload;
	char id[UPLOAD_ID_SIZE];
	struct part *parts;
	size_t n, done, flying, part_bytes;
	size_t window, went_well; /* parts at a time; since it last changed */
	int64_t progress;	  /* monotonic: when a part last went well */
};

static size_t size_of_part(const struct transfer *t, size_t i)
{
	return i + 1 < t->n ? t->part_bytes
			    : (size_t)(t->upload->size - i * (uint64_t)t->part_bytes);
}

/* -- beginning, or going on -------------------------------------------------------------------------- */

static int create(struct transfer *t, struct error *err)
{
	const struct sigv4_pair query = {"uploads", ""};
	const struct sigv4_pair headers[] = {{"content-type", "application/octet-stream"},
					     {"x-amz-meta-sha256", t->upload->sha256}};
	cleanup_s3_call struct s3_call c = {.what = {.method = "POST",
						     .key = t->upload->key,
						     .query = &query,
						     .n_query = 1,
						     .headers = headers,
						     .n_headers = 2}};

	if (s3_perform(t->s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause != S3_FINE)
		return s3_call_failed(t->s3, &c, err);
	if (!s3_value_parse(c.x.reply.data, c.x.reply.size, "UploadId", t->id, sizeof(t->id)))
		return error_data(err, "protocol", "the store begins no upload of %s",
				  t->upload->key);
	return t->upload->on_begun ? t->upload->on_begun(t->upload->arg, t->id, err) : 0;
}

/* A part that is there, of the size that it should have: its bytes are those of the file that the upload was begun for. */
static void note_part(struct transfer *t, const struct s3_item *item)
{
	size_t i = (size_t)item->number - 1;

	if (item->number == 0 || item->number > t->n || item->size != size_of_part(t, i) ||
	    !item->etag[0] || t->parts[i].done)
		return;
	memcpy(t->parts[i].etag, item->etag, sizeof(item->etag));
	t->parts[i].done = true;
	t->done++;
}

/* 0, or S3_NOT_THERE: nobody knows that upload any more. */
static int list_parts(struct transfer *t, struct error *err)
{
	uint64_t after = 0, next = 0;
	bool more = true;

	while (more) {
		cleanup_free char *marker = xasprintf("%" PRIu64, after);
		const struct sigv4_pair query[] = {{"uploadId", t->id},
						   {"part-number-marker", marker}};
		cleanup_s3_call struct s3_call c = {
		    .what = {.method = "GET", .key = t->upload->key, .query = query, .n_query = 2}};
		cleanup_s3_page struct s3_page page = {.n = 0};

		if (s3_perform(t->s3, &c, err) < 0)
			return -1;
		if (c.outcome.cause == S3_NO_UPLOAD || c.outcome.cause == S3_NO_KEY)
			return S3_NOT_THERE;
		if (c.outcome.cause != S3_FINE)
			return s3_call_failed(t->s3, &c, err);
		if (s3_page_parse(c.x.reply.data, c.x.reply.size, &page, err) < 0)
			return -1;
		for (size_t i = 0; i < page.n; i++)
			note_part(t, &page.items[i]);
		next = page.next ? strtoull(page.next, NULL, 10) : 0;
		more = page.truncated && next > after;
		after = next;
	}
	return 0;
}

static int begin(struct transfer *t, struct error *err)
{
	int r = S3_NOT_THERE;

	if (t->upload->upload_id) {
		snprintf(t->id, sizeof(t->id), "%s", t->upload->upload_id);
		r = list_parts(t, err);
	}
	return r == S3_NOT_THERE ? create(t, err) : r;
}

/* -- the parts ---------------------------------------------------------------------------------------- */

static int start_part(struct transfer *t, size_t i, struct error *err)
{
	struct part *p = &t->parts[i];
	size_t size = size_of_part(t, i);
	struct md5 md5;

	if (!p->data) {
		p->data = xmalloc(size);
		if (t->upload->read(t->upload->arg, p->data, size, i * (uint64_t)t->part_bytes,
				    err) < 0)
			return -1;
		md5 = md5_of(p->data, size);
		md5_base64(&md5, p->md5);
		snprintf(p->number, sizeof(p->number), "%zu", i + 1);
		p->query[0] = (struct sigv4_pair){"partNumber", p->number};
		p->query[1] = (struct sigv4_pair){"uploadId", t->id};
		p->header = (struct sigv4_pair){"content-md5", p->md5};
		p->call.what = (struct s3_what){.method = "PUT",
						.key = t->upload->key,
						.query = p->query,
						.n_query = 2,
						.headers = &p->header,
						.n_headers = 1,
						.body = p->data,
						.body_size = size};
	}
	s3_request_release(&p->request);
	if (s3_call_start(t->s3, &p->call, &p->request, err) < 0)
		return -1;
	p->flying = true;
	t->flying++;
	return 0;
}

static int start_parts(struct transfer *t, struct error *err)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < t->n && t->flying < t->window; i++) {
		struct part *p = &t->parts[i];

		if (!p->done && !p->flying && p->due <= now && start_part(t, i, err) < 0)
			return -1;
	}
	return 0;
}

static void part_is_done(struct transfer *t, struct part *p)
{
	p->done = true;
	t->done++;
	t->progress = clock_mono_ms();
	free(TAKE(p->data));
	if (++t->went_well >= t->window && t->window < WINDOW_MAX) {
		t->window++;
		t->went_well = 0;
	}
}

static int part_finished(struct transfer *t, struct part *p, struct error *err)
{
	struct s3_call *c = &p->call;
	enum s3_next next = s3_call_judge(t->s3, c);
	int64_t now = clock_mono_ms(), pause;

	p->flying = false;
	t->flying--;
	if (c->outcome.cause == S3_FINE) {
		if (!http_exchange_header(&c->x, "etag", p->etag, sizeof(p->etag)))
			return error_data(err, "protocol", "the store names no ETag of a part");
		part_is_done(t, p);
		return 0;
	}
	if (next == S3_AGAIN)
		return 0;
	if (next == S3_DONE || s3_stops(t->s3) || now - t->progress > t->s3->options.patience_ms)
		return s3_call_failed(t->s3, c, err);
	if (c->outcome.cause == S3_THROTTLED) {
		t->window = t->window > 1 ? t->window / 2 : 1;
		t->went_well = 0;
	}
	pause = retry_pause_ms(c->tries, &t->s3->random);
	p->due = now + (pause > c->x.retry_after_ms ? pause : c->x.retry_after_ms);
	return 0;
}

static int send_parts(struct transfer *t, struct error *err)
{
	t->progress = clock_mono_ms();
	while (t->done < t->n) {
		struct http_exchange *x;

		if (start_parts(t, err) < 0)
			return -1;
		http_multi_wait(t->s3->multi, S3_LOOK_MS);
		s3_tick(t->s3);
		while ((x = http_multi_finished(t->s3->multi))) {
			/* the call is the part's first member */
			if (part_finished(t, (struct part *)x->owner, err) < 0)
				return -1;
		}
	}
	return 0;
}

/* -- the end ------------------------------------------------------------------------------------------ */

static void append_escaped(struct buffer *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '&' || *s == '<' || *s == '"')
			buffer_appendf(out, "&#%d;", *s);
		else
			buffer_append(out, s, 1);
	}
}

static void list_document(const struct transfer *t, struct buffer *out)
{
	buffer_append_string(out, "<CompleteMultipartUpload "
				  "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (size_t i = 0; i < t->n; i++) {
		buffer_appendf(out, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
		append_escaped(out, t->parts[i].etag);
		buffer_append_string(out, "</ETag></Part>");
	}
	buffer_append_string(out, "</CompleteMultipartUpload>");
}

/* 0, or S3_IN_THE_WAY: then the upload is forgotten. */
static int complete(struct transfer *t, struct error *err)
{
	const struct s3_upload *u = t->upload;
	cleanup_buffer struct buffer document = BUFFER_INIT;
	const struct sigv4_pair query = {"uploadId", t->id};
	const struct sigv4_pair headers[] = {{"content-type", "application/xml"},
					     {"if-none-match", "*"}};
	cleanup_s3_call struct s3_call c = {.what = {.method = "POST",
						     .key = u->key,
						     .query = &query,
						     .n_query = 1,
						     .headers = headers,
						     .n_headers = 1}};
	int r;

	list_document(t, &document);
	c.what.body = document.data;
	c.what.body_size = document.size;
	if (s3_perform_new(t->s3, &c, u->mode, err) < 0)
		return -1;
	if (c.outcome.cause == S3_FINE)
		return 0;
	if (c.outcome.cause != S3_TAKEN && c.outcome.cause != S3_NO_UPLOAD)
		return s3_call_failed(t->s3, &c, err);
	/* Perhaps by an earlier try, whose reply did not arrive. */
	r = s3_look_before(t->s3, u->key, u->sha256, u->size, err);
	if (r == S3_IN_THE_WAY && s3_abort(t->s3, u->key, t->id, err) < 0)
		return -1;
	return r == S3_SAME ? 0 : r == 0 ? s3_call_failed(t->s3, &c, err) : r;
}

static void transfer_release(struct transfer *t)
{
	for (size_t i = 0; i < t->n; i++) {
		struct part *p = &t->parts[i];

		if (p->flying)
			http_multi_cancel(t->s3->multi, &p->call.x);
		s3_call_release(&p->call);
		s3_request_release(&p->request);
		free(p->data);
	}
	free(t->parts);
}

static int upload_parts(struct s3 *s3, const struct s3_upload *u, size_t part_bytes,
			struct error *err)
{
	struct transfer t = {.s3 = s3, .upload = u, .window = WINDOW_MAX, .part_bytes = part_bytes};
	int r = u->mode == S3_NEW ? s3_look_before(s3, u->key, u->sha256, u->size, err) : 0;

	if (r != 0)
		return r == S3_SAME ? 0 : r;
	t.n = (size_t)((u->size + part_bytes - 1) / part_bytes);
	t.parts = xcalloc(t.n, sizeof(*t.parts));
	r = begin(&t, err);
	if (r == 0)
		r = send_parts(&t, err);
	if (r == 0)
		r = complete(&t, err);
	transfer_release(&t);
	return r;
}

static int upload_whole(struct s3 *s3, const struct s3_upload *u, struct error *err)
{
	size_t size = (size_t)u->size;
	cleanup_free void *data = xmalloc(size + 1);

	if (u->read(u->arg, data, size, 0, err) < 0)
		return -1;
	return s3_put(s3, u->key, data, size, u->mode, err);
}

static int check_stored(struct s3 *s3, const struct s3_upload *u, struct error *err)
{
	cleanup_free char *name = s3_name(s3, u->key);
	struct s3_object there;
	int r = s3_head(s3, u->key, &there, err);

	if (r < 0)
		return r;
	if (r == S3_NOT_THERE)
		return error_set(err, ERR_IO, "%s is not there after it was uploaded", name);
	if (there.size != u->size || (there.sha256[0] && strcmp(there.sha256, u->sha256) != 0))
		return error_data(err, "verify",
				  "%s is not what was uploaded: %" PRIu64
				  " bytes instead of %" PRIu64 ", or somebody else's",
				  name, there.size, u->size);
	return 0;
}

int s3_upload(struct s3 *s3, const struct s3_upload *u, struct error *err)
{
	uint64_t part = u->part_bytes > 0 ? u->part_bytes : S3_PART_DEFAULT;
	int r;

	if (part < u->size / S3_PARTS_MAX + 1)
		part = u->size / S3_PARTS_MAX + 1;
	r = u->size <= part ? upload_whole(s3, u, err) : upload_parts(s3, u, (size_t)part, err);
	return r == 0 ? check_stored(s3, u, err) : r;
}

int s3_abort(struct s3 *s3, const char *key, const char *upload_id, struct error *err)
{
	const struct sigv4_pair query = {"uploadId", upload_id};
	cleanup_s3_call struct s3_call c = {
	    .what = {.method = "DELETE", .key = key, .query = &query, .n_query = 1}};

	if (s3_perform(s3, &c, err) < 0)
		return -1;
	if (c.outcome.cause == S3_FINE || c.outcome.cause == S3_NO_UPLOAD ||
	    c.outcome.cause == S3_NO_KEY)
		return 0;
	return s3_call_failed(s3, &c, err);
}

int s3_list_uploads(struct s3 *s3, const char *prefix, s3_item_fn fn, void *arg, struct error *err)
{
	cleanup_free char *key = xstrdup(""), *id = xstrdup("");
	bool more = true;
	int r = 0;

	while (r == 0 && more) {
		struct sigv4_pair query[5] = {{"uploads", ""},
					      {"prefix", prefix},
					      {"encoding-type", "url"},
					      {"key-marker", key},
					      {"upload-id-marker", id}};
		cleanup_s3_call struct s3_call c = {
		    .what = {.method = "GET", .query = query, .n_query = key[0] ? 5 : 3}};
		cleanup_s3_page struct s3_page page = {.n = 0};

		if (s3_perform(s3, &c, err) < 0)
			return -1;
		if (c.outcome.cause != S3_FINE)
			return s3_call_failed(s3, &c, err);
		if (s3_page_parse(c.x.reply.data, c.x.reply.size, &page, err) < 0)
			return -1;
		for (size_t i = 0; r == 0 && i < page.n; i++) {
			if (page.items[i].key && page.items[i].upload_id)
				r = fn(arg, &page.items[i], err);
		}
		more = page.truncated && page.next && page.next_upload &&
		       (strcmp(page.next, key) != 0 || strcmp(page.next_upload, id) != 0);
		if (more) {
			free(key);
			free(id);
			key = TAKE(page.next);
			id = TAKE(page.next_upload);
		}
	}
	return r;
}
