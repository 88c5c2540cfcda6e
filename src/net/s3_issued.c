#include "net/s3_issued.h"

#include "base/checked.h"
#include "net/s3_xml.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NAME_SIZE = 256, TOKEN_SIZE = S3_XML_VALUE_MAX + 1 };

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void s3_issued_release(struct s3_issued *issued)
{
	wipe(&issued->key_id);
	wipe(&issued->secret);
	wipe(&issued->token);
}

/* "Z", "", "+01:00" and the like: minutes before UTC. False: none of them. */
static bool parse_zone(const char *s, int *minutes)
{
	int hours = 0, rest = 0, end = 0;

	*minutes = 0;
	if (s[0] == '\0' || strcmp(s, "Z") == 0)
		return true;
	if (sscanf(s + 1, "%2d:%2d%n", &hours, &rest, &end) != 2 || s[1 + end] != '\0' ||
	    (s[0] != '+' && s[0] != '-'))
		return false;
	*minutes = (hours * 60 + rest) * (s[0] == '+' ? 1 : -1);
	return true;
}

/* "2026-01-31T23:59:59Z", with a fraction and another zone too. */
static bool parse_time(const char *s, int64_t *ms)
{
	struct tm tm = {.tm_year = 0};
	int end = 0, zone = 0;

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6)
		return false;
	s += end;
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	if (!parse_zone(s, &zone))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ms = ((int64_t)timegm(&tm) - zone * 60) * 1000;
	return true;
}

/* Empty texts are none, as NULL is. */
static int take(const char *key, const char *secret, const char *token, const char *expires,
		struct s3_issued *out, struct error *err)
{
	int64_t expires_ms = INT64_MAX;

	if (!key || !secret || !key[0] || !secret[0])
		return error_data(err, "protocol", "what it answers are no credentials");
	if (expires && expires[0] && !parse_time(expires, &expires_ms))
		return error_data(err, "protocol", "its credentials expire at no time of ISO 8601");
	*out = (struct s3_issued){.key_id = xstrdup(key),
				  .secret = xstrdup(secret),
				  .token = token && token[0] ? xstrdup(token) : NULL,
				  .expires_ms = expires_ms};
	return 0;
}

static const char *text_of(const json_t *root, const char *name)
{
	return json_string_value(json_object_get(root, name));
}

static int take_json(const json_t *root, const char *token, struct s3_issued *out,
		     struct error *err)
{
	return take(text_of(root, "AccessKeyId"), text_of(root, "SecretAccessKey"),
		    text_of(root, token), text_of(root, "Expiration"), out, err);
}

int s3_issued_parse(const void *json, size_t size, struct s3_issued *out, struct error *err)
{
	json_t *root = json_loadb(json, size, 0, NULL);
	int r = take_json(root, "Token", out, err);

	json_decref(root);
	return r;
}

int s3_issued_parse_program(const void *json, size_t size, struct s3_issued *out, struct error *err)
{
	json_t *root = json_loadb(json, size, 0, NULL);
	const json_t *version = json_object_get(root, "Version");
	int r;

	if (!root)
		r = error_data(err, "protocol", "what it writes is no JSON");
	else if (json_integer_value(version) != 1)
		r = error_data(err, "protocol", "what it writes is not of Version 1");
	else
		r = take_json(root, "SessionToken", out, err);
	json_decref(root);
	return r;
}

int s3_issued_parse_sts(const void *xml, size_t size, struct s3_issued *out, struct error *err)
{
	char key[NAME_SIZE], secret[NAME_SIZE], expires[NAME_SIZE];
	cleanup_free char *token = xcalloc(TOKEN_SIZE, 1);
	int r;

	if (s3_value_parse(xml, size, "AccessKeyId", key, sizeof(key)) &&
	    s3_value_parse(xml, size, "SecretAccessKey", secret, sizeof(secret)) &&
	    s3_value_parse(xml, size, "SessionToken", token, TOKEN_SIZE) &&
	    s3_value_parse(xml, size, "Expiration", expires, sizeof(expires)))
		r = take(key, secret, token, expires, out, err);
	else
		r = error_data(err, "protocol", "what it answers are no credentials");
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(token, TOKEN_SIZE);
	return r;
}
