/*
 * What failed, in one line, and what the caller does about it.
 *
 * Every function that can fail returns int and takes `struct error *err` last:
 *	0    ok
 *	< 0  failed, *err is filled, out-parameters are untouched
 *	> 0  an outcome documented for that one function (queue empty, end of source)
 *
 * Making an error is returning it:
 *	return error_set(err, ERR_CONFIG, "%s: block_out_channels is empty", path);
 *	return error_sys(err, "open '%s'", path);           adds ": " and strerror(errno)
 *	return error_data(err, "truncated", "ends at byte %zu of %zu", got, want);
 *	return error_wrap(err, "%s", path);                 puts "path: " in front, on the way up
 *
 * The message is a fixed array: nothing to free, and a struct error can be copied. Setting an error
 * that is already set is a bug (assert). Libraries never print; only daemon/ does.
 */
#ifndef LATENTD_BASE_ERROR_H
#define LATENTD_BASE_ERROR_H

/* The code says what the caller does. */
enum error_code {
	ERR_NONE = 0,
	ERR_TRANSIENT, /* the same call may succeed later: retry */
	ERR_DATA,      /* this input is bad; others are not. `reason` says how */
	ERR_CONFIG,    /* what the user asked for cannot be done as asked */
	ERR_IO,	       /* the system failed: disk, permission, descriptor */
	ERR_NOMEM,     /* a large, input-sized allocation failed */
	ERR_BUG,       /* cannot happen: a programming error */
};

struct error {
	enum error_code code;
	char reason[24]; /* ERR_DATA only: one word, `truncated`, `unsupported`, `too_large`, ... */
	char message[512];
};

#define ERROR_INIT                                                                                 \
	{                                                                                          \
		ERR_NONE, "", ""                                                                   \
	}

/* All return -1. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* ERR_IO (ENOMEM: ERR_NOMEM) with strerror(errno) behind the text. */
int error_sys(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* ERR_DATA with @reason, a word of at most 23 bytes. */
int error_data(struct error *err, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "text: " in front of the message of an error that is set; code and reason stay. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Back to empty, to use the struct again. */
void error_clear(struct error *err);

#endif
