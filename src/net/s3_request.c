#include "net/s3_request.h"

#include "base/checked.h"
#include "base/text.h"
#include "net/http_url.h"
#include "net/s3_profile.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#define SCHEME "s3://"

bool s3_is_url(const char *path)
{
	return strncasecmp(path, SCHEME, strlen(SCHEME)) == 0;
}

/* What AWS and others allow, loosely: it goes into host names and paths as it is. */
static bool is_bucket_name(const char *s, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
			      (s[i] >= '0' && s[i] <= '9');

		if (!letter && (i == 0 || (s[i] != '-' && s[i] != '.' && s[i] != '_')))
			return false;
	}
	return size > 0 && size <= 255;
}

int s3_url_parse(const char *url, char **bucket, char **key, struct error *err)
{
	const char *name = s3_is_url(url) ? url + strlen(SCHEME) : "";
	size_t length = strcspn(name, "/");
	char quoted[TEXT_QUOTE_SIZE];

	if (!is_bucket_name(name, length))
		return error_set(err, ERR_CONFIG, "%s is no address of the form s3://BUCKET/PREFIX",
				 text_quote(url, quoted));
	*bucket = xasprintf("%.*s", (int)length, name);
	*key = xstrdup(name[length] == '/' ? name + length + 1 : "");
	return 0;
}

/* -- the bucket ------------------------------------------------------------------------------------- */

static const char *setting(const char *given, const char *variable)
{
	const char *value = given ? given : getenv(variable);

	return value && value[0] ? value : NULL;
}

static bool has_dots(const char *s)
{
	return strchr(s, '.') != NULL;
}

/* Of AWS: the partition in China has a name of its own. */
static char *aws_origin(const char *region)
{
	return xasprintf("https://s3.%s.amazonaws.com%s", region,
			 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

/* The host with its port, where that is not the scheme's, and the path behind it, both of @origin. */
static void make_names(struct s3_bucket *b)
{
	const char *at = strstr(b->origin, "://") + 3, *path = at + strcspn(at, "/");
	const char *usual = http_url_is_https(b->origin) ? ":443" : ":80";
	size_t host = (size_t)(path - at), tail = strlen(usual);

	if (host > tail && memcmp(path - tail, usual, tail) == 0)
		host -= tail;
	free(b->host);
	free(b->base);
	b->host = b->path_style ? xasprintf("%.*s", (int)host, at)
				: xasprintf("%s.%.*s", b->name, (int)host, at);
	b->base = b->path_style ? xasprintf("%s/%s", path, b->name) : xstrdup(path);
}

static int check_endpoint(const char *endpoint, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	if (http_url_is_valid(endpoint) && !strpbrk(endpoint, "?#"))
		return 0;
	return error_set(err, ERR_CONFIG, "%s is no endpoint: https://HOST[:PORT] is wanted",
			 text_quote(endpoint, quoted));
}

static int set_addressing(struct s3_bucket *b, const char *addressing, struct error *err)
{
	if (!addressing || strcmp(addressing, "auto") == 0)
		b->path_style = !b->aws || has_dots(b->name); /* no certificate is for a.b.host */
	else if (strcmp(addressing, "path") == 0)
		b->path_style = true;
	else if (strcmp(addressing, "virtual") != 0)
		return error_set(err, ERR_CONFIG, "S3 addressing is auto, path or virtual");
	return 0;
}

static const char *or_else(const char *a, const char *b)
{
	return a ? a : b;
}

int s3_bucket_init(struct s3_bucket *bucket, const struct s3_place *place, struct error *err)
{
	cleanup_s3_profile struct s3_profile profile = S3_PROFILE_INIT;
	const char *endpoint = setting(place->endpoint, "AWS_ENDPOINT_URL_S3");
	const char *region = setting(place->region, "AWS_REGION");
	struct s3_bucket b = {.name = NULL};
	char quoted[TEXT_QUOTE_SIZE];

	if (!is_bucket_name(place->bucket, strlen(place->bucket)))
		return error_set(err, ERR_CONFIG, "%s is no name of a bucket",
				 text_quote(place->bucket, quoted));
	if (s3_profile_load(place->profile, &profile, err) < 0)
		return -1;
	endpoint = or_else(setting(endpoint, "AWS_ENDPOINT_URL"), profile.endpoint);
	region = or_else(setting(region, "AWS_DEFAULT_REGION"), profile.region);
	b.aws = !endpoint;
	if (endpoint && check_endpoint(endpoint, err) < 0)
		return -1;
	b.name = xstrdup(place->bucket);
	b.region = xstrdup(or_else(region, "us-east-1"));
	b.origin = endpoint ? xstrdup(endpoint) : aws_origin(b.region);
	while (b.origin[strlen(b.origin) - 1] == '/')
		b.origin[strlen(b.origin) - 1] = '\0';
	if (set_addressing(&b, or_else(place->addressing, profile.addressing), err) < 0) {
		s3_bucket_release(&b);
		return -1;
	}
	make_names(&b);
	*bucket = b;
	return 0;
}

void s3_bucket_set_region(struct s3_bucket *b, const char *region)
{
	free(b->region);
	b->region = xstrdup(region);
	if (!b->aws)
		return;
	free(b->origin);
	b->origin = aws_origin(region);
	make_names(b);
}

void s3_bucket_release(struct s3_bucket *b)
{
	free(b->name);
	free(b->region);
	free(b->origin);
	free(b->host);
	free(b->base);
	*b = (struct s3_bucket){.name = NULL};
}

/* -- requests --------------------------------------------------------------------------------------- */

/* libcurl, as every client, takes such parts out of a path, which then is not what was signed. */
static int check_key(const char *key, struct error *err)
{
	char quoted[TEXT_QUOTE_SIZE];

	for (const char *part = key;; part++) {
		size_t length = strcspn(part, "/");

		if ((length == 1 && part[0] == '.') || (length == 2 && memcmp(part, "..", 2) == 0))
			return error_data(err, "unsupported",
					  "the key %s cannot be written as a URL",
					  text_quote(key, quoted));
		part += length;
		if (*part == '\0')
			return 0;
	}
}

/* The request as it is signed. */
struct draft {
	struct buffer path;
	struct sigv4_pair headers[S3_HEADERS_MAX + 4];
	size_t n;
	char time[SIGV4_TIME_SIZE], body_hash[SHA256_HEX_SIZE];
};

static void add_header(struct draft *d, const char *name, const char *value)
{
	assert(d->n < ARRAY_SIZE(d->headers));
	d->headers[d->n++] = (struct sigv4_pair){name, value};
}

static void make_draft(struct draft *d, const struct s3_bucket *b, const struct s3_what *what,
		       const struct s3_keys *keys, int64_t wall_ms)
{
	struct sha256 hash = sha256_of(what->body ? what->body : "", what->body_size);

	buffer_append_string(&d->path, b->base);
	if (what->key || d->path.size == 0)
		buffer_append_string(&d->path, "/");
	if (what->key)
		sigv4_uri_encode(&d->path, what->key, strlen(what->key), true);
	sigv4_time(wall_ms, d->time);
	sha256_hex(&hash, d->body_hash);
	add_header(d, "host", b->host);
	if (keys) {
		add_header(d, "x-amz-date", d->time);
		add_header(d, "x-amz-content-sha256", d->body_hash);
		if (keys->token)
			add_header(d, "x-amz-security-token", keys->token);
	}
	for (size_t i = 0; i < what->n_headers; i++)
		add_header(d, what->headers[i].name, what->headers[i].value);
}

static char *authorization(const struct draft *d, const struct s3_bucket *b,
			   const struct s3_what *what, const struct s3_keys *keys)
{
	const struct sigv4_request request = {.method = what->method,
					      .path = (const char *)d->path.data,
					      .query = what->query,
					      .n_query = what->n_query,
					      .headers = d->headers,
					      .n_headers = d->n,
					      .body_hash = d->body_hash,
					      .time = d->time,
					      .region = b->region,
					      .service = "s3"};
	const struct sigv4_credentials credentials = {keys->key_id, keys->secret};
	cleanup_buffer struct buffer value = BUFFER_INIT;

	sigv4_authorization(&request, &credentials, &value);
	return xasprintf("Authorization: %s", (const char *)value.data);
}

static char *make_url(const struct s3_bucket *b, const struct s3_what *what, const char *path)
{
	cleanup_buffer struct buffer query = BUFFER_INIT;
	const char *scheme = http_url_is_https(b->origin) ? "https" : "http";

	sigv4_query_format(&query, what->query, what->n_query);
	return xasprintf("%s://%s%s%s%s", scheme, b->host, path, query.size ? "?" : "",
			 query.size ? (const char *)query.data : "");
}

int s3_request_make(const struct s3_bucket *b, const struct s3_what *what,
		    const struct s3_keys *keys, int64_t wall_ms, struct s3_request *out,
		    struct error *err)
{
	struct draft d = {.path = BUFFER_INIT};
	struct s3_request request = {.url = NULL};
	size_t n = 0;

	assert(what->n_headers <= S3_HEADERS_MAX);
	if (what->key && check_key(what->key, err) < 0)
		return -1;
	make_draft(&d, b, what, keys, wall_ms);
	for (size_t i = 0; i < d.n; i++)
		request.lines[n++] = xasprintf("%s: %s", d.headers[i].name, d.headers[i].value);
	if (keys)
		request.lines[n++] = authorization(&d, b, what, keys);
	request.url = make_url(b, what, (const char *)d.path.data);
	buffer_release(&d.path);
	*out = request;
	return 0;
}

void s3_request_release(struct s3_request *request)
{
	free(request->url);
	for (size_t i = 0; i < ARRAY_SIZE(request->lines); i++) {
		if (request->lines[i])
			explicit_bzero(request->lines[i], strlen(request->lines[i]));
		free(request->lines[i]);
	}
	*request = (struct s3_request){.url = NULL};
}
