#include "encoder/remote_access.h"

#include "base/checked.h"
#include "base/files.h"
#include "base/text.h"

#include <string.h>
#include <strings.h>

enum { TOKEN_MAX = 16 << 10 };

static const char bearer_start[] = "Authorization: Bearer ";

/* The host's first byte; NULL: no http or https URL. */
static const char *host_of(const char *url)
{
	if (strncasecmp(url, "http://", 7) == 0)
		return url + 7;
	return strncasecmp(url, "https://", 8) == 0 ? url + 8 : NULL;
}

char *remote_url_shown(const char *url)
{
	const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;
	size_t authority, whole, user = 0;

	authority = strcspn(host, "/?#");
	whole = strcspn(host, "?#");
	for (size_t i = 0; i < authority; i++) {
		if (host[i] == '@')
			user = i + 1;
	}
	return xasprintf("%.*s%.*s", (int)(host - url), url, (int)(whole - user), host + user);
}

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* The first line of a file, at least one byte of printable ASCII without spaces, to be wiped. */
static int read_secret(const char *path, const char *what, const char *expected, char **out,
		       struct error *err)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char quoted[TEXT_QUOTE_SIZE];
	size_t n;

	if (file_read_all(path, TOKEN_MAX, &text, err) < 0) {
		err->code = ERR_CONFIG;
		return error_wrap(err, "%s", what);
	}
	for (n = 0; n < text.size && text.data[n] > 0x20 && text.data[n] < 0x7f; n++)
		continue;
	if (n == 0 || (n < text.size && text.data[n] != '\r' && text.data[n] != '\n')) {
		explicit_bzero(text.data, text.size);
		return error_set(err, ERR_CONFIG, "%s %s: its first line must be %s", what,
				 text_quote(path, quoted), expected);
	}
	*out = xasprintf("%.*s", (int)n, (const char *)text.data);
	explicit_bzero(text.data, text.size);
	return 0;
}

/* The header line, to be wiped. */
static int read_bearer(const char *path, char **out, struct error *err)
{
	char *token = NULL;

	if (read_secret(path, "token file", "the token, printable ASCII without spaces", &token,
			err) < 0)
		return -1;
	*out = xasprintf("%s%s", bearer_start, token);
	wipe(token);
	return 0;
}

int remote_proxy_init(struct remote_proxy *p, const char *url, const char *auth_file,
		      struct error *err)
{
	static const char expected[] = "USER:PASSWORD, printable ASCII without spaces";
	struct remote_proxy made = {.url = url};
	char quoted[TEXT_QUOTE_SIZE], *colon;

	if (auth_file && read_secret(auth_file, "proxy auth file", expected, &made.user, err) < 0)
		return -1;
	colon = made.user ? strchr(made.user, ':') : NULL;
	if (made.user && (!colon || colon == made.user)) {
		remote_proxy_release(&made);
		return error_set(err, ERR_CONFIG, "proxy auth file %s: its first line must be %s",
				 text_quote(auth_file, quoted), expected);
	}
	if (colon) {
		made.password = xstrdup(colon + 1);
		explicit_bzero(colon, strlen(colon));
	}
	*p = made;
	return 0;
}

void remote_proxy_release(struct remote_proxy *p)
{
	wipe(p->user);
	wipe(p->password);
	*p = (struct remote_proxy){.url = NULL};
}

int remote_access_init(struct remote_access *a, const char *url, const char *token_file,
		       struct error *err)
{
	const char *host = url ? host_of(url) : NULL;
	char *bearer = NULL;

	if (!host || strcspn(host, "/?#") == 0) {
		cleanup_free char *shown = remote_url_shown(url ? url : "");

		return error_set(err, ERR_CONFIG,
				 "endpoint '%s': expected http:// or https:// and a host", shown);
	}
	if (token_file && read_bearer(token_file, &bearer, err) < 0)
		return -1;
	*a = (struct remote_access){
	    .url = xstrdup(url),
	    .shown = remote_url_shown(url),
	    .token_file = token_file ? xstrdup(token_file) : NULL,
	    .bearer = bearer,
	};
	return 0;
}

void remote_access_release(struct remote_access *a)
{
	free(a->url);
	free(a->shown);
	free(a->token_file);
	wipe(a->bearer);
	*a = (struct remote_access){.url = NULL};
}

void remote_access_target(const struct remote_access *a, const char *query, struct buffer *out)
{
	size_t end = strcspn(a->url, "#");
	bool has_query = memchr(a->url, '?', end) != NULL;

	buffer_reset(out);
	buffer_append(out, a->url, end);
	if (*query)
		buffer_appendf(out, "%s%s", has_query ? "&" : "?", query);
}

bool remote_access_reload(struct remote_access *a)
{
	struct error ignored = ERROR_INIT;
	char *bearer = NULL;

	if (!a->token_file || read_bearer(a->token_file, &bearer, &ignored) < 0)
		return false;
	if (a->bearer && strcmp(bearer, a->bearer) == 0) {
		wipe(bearer);
		return false;
	}
	wipe(a->bearer);
	a->bearer = bearer;
	return true;
}

void remote_access_mask(const struct remote_access *a, char *text)
{
	const char *token = a->bearer ? a->bearer + sizeof(bearer_start) - 1 : NULL;
	size_t length = token ? strlen(token) : 0;

	for (char *at = text; token && (at = strstr(at, token)); at += length)
		memset(at, '*', length);
}
