#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static __attribute__((format(printf, 3, 0))) void
error_format(struct error *err, enum error_code code, const char *fmt, va_list args)
{
	assert(err->code == ERR_NONE);
	assert(code != ERR_NONE);
	err->code = code;
	err->reason[0] = '\0';
	vsnprintf(err->message, sizeof(err->message), fmt, args);
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_format(err, code, fmt, args);
	va_end(args);
	return -1;
}

int error_sys(struct error *err, const char *fmt, ...)
{
	int saved = errno;
	va_list args;
	size_t used;

	va_start(args, fmt);
	error_format(err, saved == ENOMEM ? ERR_NOMEM : ERR_IO, fmt, args);
	va_end(args);
	used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror(saved));
	return -1;
}

int error_data(struct error *err, const char *reason, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_format(err, ERR_DATA, fmt, args);
	va_end(args);
	assert(strlen(reason) < sizeof(err->reason));
	snprintf(err->reason, sizeof(err->reason), "%s", reason);
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char inner[sizeof(err->message)];
	va_list args;
	size_t used;

	assert(err->code != ERR_NONE);
	memcpy(inner, err->message, sizeof(inner));
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s", inner);
	return -1;
}

void error_clear(struct error *err)
{
	err->code = ERR_NONE;
	err->reason[0] = '\0';
	err->message[0] = '\0';
}
