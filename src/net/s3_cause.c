/*
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; MinIO, Ceph and Swift use the same codes. A reply to HEAD
 * has no body, so there the status and the clock have to do.
 */
#include "net/s3_cause.h"

#include "base/checked.h"
#include "net/http_curl.h"

#include <stdio.h>
#include <string.h>

enum { SKEW_MS = 15 * 60 * 1000, HEADER_SIZE = 128 };

static const struct {
	const char *code;
	enum s3_cause cause;
} codes[] = {
    {"NoSuchKey", S3_NO_KEY},
    {"NoSuchBucket", S3_NO_BUCKET},
    {"NoSuchUpload", S3_NO_UPLOAD},
    {"PreconditionFailed", S3_TAKEN},
    {"ConditionalRequestConflict", S3_CONFLICT},
    {"OperationAborted", S3_CONFLICT},
    {"SlowDown", S3_THROTTLED},
    {"SlowDownRead", S3_THROTTLED},
    {"SlowDownWrite", S3_THROTTLED},
    {"RequestLimitExceeded", S3_THROTTLED},
    {"TooManyRequests", S3_THROTTLED},
    {"Throttling", S3_THROTTLED},
    {"ThrottlingException", S3_THROTTLED},
    {"InternalError", S3_UNAVAILABLE},
    {"ServiceUnavailable", S3_UNAVAILABLE},
    {"RequestTimeout", S3_UNAVAILABLE},
    {"IncompleteBody", S3_UNAVAILABLE},
    {"BadDigest", S3_CORRUPTED},
    {"XAmzContentSHA256Mismatch", S3_CORRUPTED},
    {"RequestTimeTooSkewed", S3_SKEWED},
    {"RequestExpired", S3_SKEWED},
    {"ExpiredToken", S3_EXPIRED},
    {"TokenRefreshRequired", S3_EXPIRED},
    {"PermanentRedirect", S3_WRONG_REGION},
    {"TemporaryRedirect", S3_WRONG_REGION},
    {"AuthorizationHeaderMalformed", S3_WRONG_REGION},
    {"IllegalLocationConstraintException", S3_WRONG_REGION},
    {"InvalidAccessKeyId", S3_WRONG_KEYS},
    {"SignatureDoesNotMatch", S3_WRONG_KEYS},
    {"InvalidToken", S3_WRONG_KEYS},
    {"AccessDenied", S3_DENIED},
    {"AllAccessDisabled", S3_DENIED},
    {"AccountProblem", S3_DENIED},
    {"QuotaExceeded", S3_FULL},
    {"XMinioStorageFull", S3_FULL},
    {"InsufficientStorage", S3_FULL},
    {"NotImplemented", S3_UNSUPPORTED},
};

static enum s3_cause cause_of_status(long status)
{
	switch (status) {
	case 404:
		return S3_NO_KEY;
	case 409:
		return S3_CONFLICT;
	case 412:
		return S3_TAKEN;
	case 301:
	case 307:
		return S3_WRONG_REGION;
	case 401:
	case 403:
		return S3_DENIED;
	case 408:
		return S3_UNAVAILABLE;
	case 429:
		return S3_THROTTLED;
	case 501:
		return S3_UNSUPPORTED;
	case 507:
		return S3_FULL;
	default:
		return status >= 500 ? S3_UNAVAILABLE : S3_REFUSED;
	}
}

static enum s3_cause cause_of_code(const struct s3_fault *fault, long status)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (strcmp(codes[i].code, fault->code) == 0)
			return codes[i].cause;
	}
	/* One inside a 200 is of a server that had begun to answer: S3 says that it may be asked again. */
	return status >= 200 && status < 300 ? S3_UNAVAILABLE : cause_of_status(status);
}

/* Short of a reply. */
static enum s3_cause cause_of_result(enum http_result result)
{
	switch (result) {
	case HTTP_UNTRUSTED:
	case HTTP_WRONG_SCHEME:
	case HTTP_BAD_REQUEST:
	case HTTP_NOT_PUBLIC:
	case HTTP_TOO_LARGE:
		return S3_REFUSED;
	default:
		return S3_UNAVAILABLE;
	}
}

static int64_t date_of(const struct http_exchange *x)
{
	char value[HEADER_SIZE];
	int64_t seconds = http_exchange_header(x, "date", value, sizeof(value))
			      ? (int64_t)curl_getdate(value, NULL)
			      : -1;

	return seconds > 0 ? seconds * 1000 : 0;
}

static bool is_skewed(const struct s3_outcome *o, int64_t now_ms)
{
	return o->server_ms > 0 &&
	       (o->server_ms - now_ms > SKEW_MS || now_ms - o->server_ms > SKEW_MS);
}

/* It becomes part of a host's name. */
static bool is_region(const char *s)
{
	for (; *s; s++) {
		bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			      (*s >= '0' && *s <= '9');

		if (!letter && !strchr("-_.", *s))
			return false;
	}
	return true;
}

void s3_outcome_of(const struct http_exchange *x, int64_t now_ms, struct s3_outcome *out)
{
	struct s3_outcome o = {.cause = S3_FINE};
	bool success = x->status >= 200 && x->status < 300;
	bool reads = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;

	if (x->result != HTTP_REPLY) {
		*out = (struct s3_outcome){.cause = cause_of_result(x->result)};
		return;
	}
	o.server_ms = date_of(x);
	/* An object that somebody fetches may be such a document itself. */
	if (!(success && reads) && s3_fault_parse(x->reply.data, x->reply.size, &o.fault))
		o.cause = cause_of_code(&o.fault, x->status);
	else if (!success)
		o.cause = cause_of_status(x->status);
	if (o.cause == S3_WRONG_REGION && o.fault.region[0] == '\0')
		http_exchange_header(x, "x-amz-bucket-region", o.fault.region,
				     sizeof(o.fault.region));
	if (!is_region(o.fault.region))
		o.fault.region[0] = '\0';
	if (o.fault.region[0] && x->status == 400)
		o.cause = S3_WRONG_REGION;
	/* Of AWS; wrong regions are told above. */
	if (o.cause == S3_REFUSED && x->status == 400 && strcmp(x->method, "HEAD") == 0)
		o.cause = S3_EXPIRED;
	/* Some refuse an old signature as if it were a wrong one. */
	if ((o.cause == S3_DENIED || o.cause == S3_WRONG_KEYS || o.cause == S3_REFUSED) &&
	    is_skewed(&o, now_ms))
		o.cause = S3_SKEWED;
	*out = o;
}

bool s3_cause_is_transient(enum s3_cause cause)
{
	return cause == S3_THROTTLED || cause == S3_UNAVAILABLE || cause == S3_CORRUPTED ||
	       cause == S3_CONFLICT;
}

/* For people, after the cause: what the server said. */
static void describe(const struct s3_outcome *o, const struct http_exchange *x, char *out,
		     size_t size)
{
	if (x->result == HTTP_WRONG_SCHEME)
		snprintf(out, size,
			 "the endpoint has https:// and its port no TLS, or the other way round");
	else if (x->result != HTTP_REPLY)
		snprintf(out, size, "%s", x->why);
	else if (o->fault.code[0])
		snprintf(out, size, "status %ld, %s: %.120s", x->status, o->fault.code,
			 o->fault.message);
	else
		snprintf(out, size, "status %ld", x->status);
}

int s3_outcome_error(const struct s3_outcome *o, const struct http_exchange *x, const char *what,
		     struct error *err)
{
	char said[HTTP_ERROR_BODY / 8];

	describe(o, x, said, sizeof(said));
	switch (o->cause) {
	case S3_FINE:
		return error_set(err, ERR_BUG, "%s: nothing failed", what);
	case S3_NO_KEY:
		return error_data(err, "missing", "%s is not there", what);
	case S3_NO_UPLOAD:
		return error_data(err, "missing", "%s: the upload is not there any more", what);
	case S3_TAKEN:
		return error_data(err, "exists", "%s is there already", what);
	case S3_NO_BUCKET:
		return error_set(err, ERR_CONFIG, "%s: the bucket does not exist (%s)", what, said);
	case S3_WRONG_KEYS:
		return error_set(err, ERR_CONFIG, "%s: the credentials are wrong (%s)", what, said);
	case S3_EXPIRED:
		return error_set(err, ERR_CONFIG, "%s: the credentials have expired (%s)", what,
				 said);
	case S3_DENIED:
		return error_set(err, ERR_CONFIG, "%s: the credentials do not allow that (%s)",
				 what, said);
	case S3_SKEWED:
		return error_set(err, ERR_CONFIG,
				 "%s: this machine's clock and the server's differ too much (%s)",
				 what, said);
	case S3_WRONG_REGION:
		return error_set(err, ERR_CONFIG, "%s: the bucket is in region %s (%s)", what,
				 o->fault.region[0] ? o->fault.region : "unknown", said);
	case S3_UNSUPPORTED:
		return error_data(err, "unsupported", "%s: the store cannot do that (%s)", what,
				  said);
	case S3_FULL:
		return error_set(err, ERR_TRANSIENT, "%s: the store is full (%s)", what, said);
	case S3_REFUSED:
		return x->result == HTTP_REPLY
			   ? error_data(err, "s3", "%s: refused (%s)", what, said)
			   : error_set(err, ERR_CONFIG, "%s: %s", what, said);
	case S3_CONFLICT:
	case S3_THROTTLED:
	case S3_UNAVAILABLE:
	case S3_CORRUPTED:
		break;
	}
	return error_set(err, ERR_TRANSIENT, "%s: %s", what, said);
}
