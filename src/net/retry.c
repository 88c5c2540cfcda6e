#include "net/retry.h"

enum { BASE_MS = 500, MOST_MS = 60000, MOST_DOUBLINGS = 7 };

static enum retry_class class_of_server_error(long status, int64_t retry_after_ms)
{
	switch (status) {
	case 501: /* not implemented */
	case 505: /* HTTP version */
		return RETRY_STOP;
	case 503:
		return retry_after_ms > 0 ? RETRY_THROTTLED : RETRY_STARTING;
	case 502:
		return RETRY_STARTING;
	case 504:
	case 524: /* of proxies: the server behind them took too long */
		return RETRY_TIMED_OUT;
	default:
		return RETRY_LATER;
	}
}

static enum retry_class class_of_status(long status, int64_t retry_after_ms)
{
	if (status >= 500)
		return class_of_server_error(status, retry_after_ms);
	if (status >= 300 && status < 400)
		return RETRY_STOP;
	if (status < 300)
		return RETRY_NOT_NEEDED;
	switch (status) {
	case 408:
	case 425:
	case 499: /* nginx: the client went away, which it did not */
		return RETRY_LATER;
	case 429:
		return RETRY_THROTTLED;
	case 413:
	case 415:
	case 422:
		return RETRY_REFUSED;
	case 401:
	case 402:
	case 403:
	case 404:
	case 405:
	case 407:
	case 410:
	case 411:
	case 414:
	case 421:
	case 426:
	case 431:
	case 451:
		return RETRY_STOP;
	default:
		return RETRY_ELSEWHERE;
	}
}

/* Others than it may be why it cannot, as with 502 to 504. */
static enum retry_class class_of_proxy(long status)
{
	return status >= 400 && status < 500 && status != 429 && status != 408 ? RETRY_STOP
									       : RETRY_LATER;
}

enum retry_class retry_class_of(enum http_result result, long status, int64_t retry_after_ms)
{
	switch (result) {
	case HTTP_REPLY:
		return class_of_status(status, retry_after_ms);
	case HTTP_TIMEOUT:
		return RETRY_TIMED_OUT;
	case HTTP_PROXY_REFUSES:
		return class_of_proxy(status);
	case HTTP_WRONG_SCHEME:
	case HTTP_NOT_PUBLIC:
	case HTTP_UNTRUSTED:
	case HTTP_BAD_REQUEST:
		return RETRY_STOP;
	case HTTP_NO_NAME:
	case HTTP_NOT_REACHED:
	case HTTP_BROKEN:
	case HTTP_NO_HTTP:
	case HTTP_TOO_LARGE:
		break;
	}
	return RETRY_LATER;
}

/* splitmix64. */
double retry_random(struct retry_random *random)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	x ^= x >> 31;
	return (double)(x >> 11) * 0x1p-53;
}

int64_t retry_pause_ms(size_t tries, struct retry_random *random)
{
	size_t doublings = tries > MOST_DOUBLINGS ? MOST_DOUBLINGS : tries - (tries > 0);
	int64_t most = (int64_t)BASE_MS << doublings;

	if (most > MOST_MS)
		most = MOST_MS;
	return (int64_t)((double)most * retry_random(random));
}
