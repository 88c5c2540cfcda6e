#include "net/s3_profile.h"

#include "base/checked.h"
#include "base/files.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { FILE_MAX_BYTES = 1 << 20 };

/* A piece of the text, without spaces around it. */
struct piece {
	const char *at;
	size_t size;
};

static struct piece trimmed(const char *at, const char *end)
{
	while (at < end && isspace((unsigned char)*at))
		at++;
	while (end > at && isspace((unsigned char)end[-1]))
		end--;
	return (struct piece){at, (size_t)(end - at)};
}

static bool is(struct piece p, const char *word)
{
	return p.size == strlen(word) && memcmp(p.at, word, p.size) == 0;
}

/* "[NAME]" or "[profile NAME]". */
static bool is_section(struct piece line, const char *name)
{
	static const char profile[] = "profile";
	struct piece inside;

	if (line.size < 2 || line.at[line.size - 1] != ']')
		return false;
	inside = trimmed(line.at + 1, line.at + line.size - 1);
	if (is(inside, name))
		return true;
	if (inside.size <= strlen(profile) || memcmp(inside.at, profile, strlen(profile)) != 0 ||
	    !isspace((unsigned char)inside.at[strlen(profile)]))
		return false;
	return is(trimmed(inside.at + strlen(profile), inside.at + inside.size), name);
}

/* Every field is a text. */
static const struct setting {
	const char *name;
	size_t offset;
} settings[] = {
    {"aws_access_key_id", offsetof(struct s3_profile, key_id)},
    {"aws_secret_access_key", offsetof(struct s3_profile, secret)},
    {"aws_session_token", offsetof(struct s3_profile, token)},
    {"region", offsetof(struct s3_profile, region)},
    {"endpoint_url", offsetof(struct s3_profile, endpoint)},
    {"credential_process", offsetof(struct s3_profile, process)},
    {"role_arn", offsetof(struct s3_profile, role)},
    {"source_profile", offsetof(struct s3_profile, role_profile)},
    {"credential_source", offsetof(struct s3_profile, role_source)},
    {"web_identity_token_file", offsetof(struct s3_profile, role_web)},
    {"role_session_name", offsetof(struct s3_profile, role_session)},
    {"external_id", offsetof(struct s3_profile, role_external)},
    {"duration_seconds", offsetof(struct s3_profile, role_seconds)},
};

static char **place_at(struct s3_profile *out, size_t offset)
{
	return (char **)((char *)out + offset);
}

static char **place_of(struct s3_profile *out, struct piece key, bool below_s3)
{
	if (below_s3)
		return is(key, "addressing_style") ? &out->addressing : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (is(key, settings[i].name))
			return place_at(out, settings[i].offset);
	}
	return NULL;
}

static bool leads_elsewhere(struct piece key)
{
	static const char *const keys[] = {"mfa_serial", "sso_session", "sso_start_url",
					   "login_session"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (is(key, keys[i]))
			return true;
	}
	return false;
}

/* Where a line stands. */
struct context {
	bool wanted;   /* in a section that is asked for */
	bool below_s3; /* after `s3 =`, whose settings are indented */
};

static void take_line(struct context *c, const char *from, const char *end, const char *name,
		      struct s3_profile *out)
{
	struct piece line = trimmed(from, end), key, value;
	bool indented = from < end && isspace((unsigned char)*from);
	const char *equals;
	char **place;

	if (line.size == 0 || line.at[0] == '#' || line.at[0] == ';')
		return;
	if (line.at[0] == '[') {
		*c = (struct context){.wanted = is_section(line, name)};
		return;
	}
	equals = memchr(line.at, '=', line.size);
	if (!c->wanted || !equals)
		return;
	key = trimmed(line.at, equals);
	value = trimmed(equals + 1, line.at + line.size);
	if (!indented)
		c->below_s3 = is(key, "s3") && value.size == 0;
	if (indented && !c->below_s3)
		return;
	if (!out->elsewhere && leads_elsewhere(key))
		out->elsewhere = xasprintf("%.*s", (int)key.size, key.at);
	place = place_of(out, key, indented);
	if (place && !*place && value.size > 0)
		*place = xasprintf("%.*s", (int)value.size, value.at);
}

void s3_profile_parse(const char *text, const char *name, struct s3_profile *out)
{
	struct context c = {.wanted = false};

	while (*text) {
		const char *end = text + strcspn(text, "\n");

		take_line(&c, text, end, name, out);
		text = *end ? end + 1 : end;
	}
}

/* To be freed; NULL: there is no place for such files. */
static char *path_of(const char *variable, const char *file)
{
	const char *path = getenv(variable), *home = getenv("HOME");

	if (path && path[0])
		return xstrdup(path);
	return home && home[0] ? xasprintf("%s/.aws/%s", home, file) : NULL;
}

static int load_file(const char *path, const char *name, struct s3_profile *out, struct error *err)
{
	struct buffer text = BUFFER_INIT;
	struct error why = ERROR_INIT;
	int r = 0;

	if (!path || !file_exists(path))
		return 0;
	if (file_read_regular(path, FILE_MAX_BYTES, &text, &why) < 0)
		r = error_set(err, ERR_CONFIG, "%s", why.message);
	else if (text.size > 0)
		s3_profile_parse((const char *)text.data, name, out);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buffer_release(&text);
	return r;
}

int s3_profile_load(const char *name, struct s3_profile *out, struct error *err)
{
	cleanup_free char *credentials = path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
	cleanup_free char *config = path_of("AWS_CONFIG_FILE", "config");
	const char *given = getenv("AWS_PROFILE");

	if (!name)
		name = given && given[0] ? given : "default";
	if (load_file(credentials, name, out, err) < 0)
		return -1;
	return load_file(config, name, out, err);
}

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void s3_profile_release(struct s3_profile *profile)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		wipe(place_at(profile, settings[i].offset));
	wipe(&profile->addressing);
	wipe(&profile->elsewhere);
}
