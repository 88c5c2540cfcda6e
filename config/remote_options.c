#include "config/remote_options.h"

#include "base/checked.h"
#include "config/vae_presets.h"

#include <string.h>
#include <strings.h>

#define DAY_MS ((uint64_t)24 * 3600000)

static const char *const wires[] = {"auto", "exact", "typed", NULL};
static const char *const bodies[] = {"png", "tensor", "float16", "float32", "uint8", NULL};

#define FIELD(f) offsetof(struct remote_options, f)

static const struct setting rows[] = {
    {"wire", SETTING_ENUM, FIELD(wire), .fallback = "auto", .choices = wires, .of = "remote",
     .reloadable = true,
     .help = "headers of a request: exact as diffusers sends them, typed with a content type"},
    {"send", SETTING_ENUM, FIELD(send), .fallback = "png", .choices = bodies, .of = "remote",
     .reloadable = true,
     .help = "what an image is sent as: a PNG or a tensor, of float16 (rounds) unless said; uint8: "
	     "latentd only"},
    {"connect-timeout", SETTING_DURATION, FIELD(connect_timeout), .fallback = "10s", .min = 100,
     .max = DAY_MS, .value_name = "TIME", .of = "remote", .reloadable = true,
     .help = "longest wait for a connection to an endpoint"},
    {"timeout", SETTING_DURATION, FIELD(timeout), .fallback = "120s", .min = 100, .max = DAY_MS,
     .value_name = "TIME", .of = "remote", .reloadable = true,
     .help = "longest wait for an endpoint's whole reply"},
    {"retries", SETTING_COUNT, FIELD(retries), .fallback = "8", .max = 100, .value_name = "N",
     .of = "remote", .reloadable = true,
     .help = "how often an image is sent again before it goes back to the queue"},
    {"scale-up-timeout", SETTING_DURATION, FIELD(scale_up_timeout), .fallback = "600s",
     .max = DAY_MS, .value_name = "TIME", .of = "remote", .reloadable = true,
     .help = "how long an endpoint that is starting may hold a request; 0: do not ask"},
    {"ca-file", SETTING_PATH, FIELD(ca_file), .value_name = "FILE", .of = "remote",
     .reloadable = true, .help = "certificates that endpoints are checked against (the system's)"},
    {"proxy", SETTING_STRING, FIELD(proxy), .valid = remote_proxy_valid,
     .expected = "none, or " REMOTE_URL_EXPECTED, .value_name = "URL", .of = "remote",
     .reloadable = true,
     .help = "proxy to reach endpoints by, or none (https_proxy, http_proxy and no_proxy of the "
	     "environment)"},
    {"proxy-auth-file", SETTING_PATH, FIELD(proxy_auth_file), .value_name = "FILE", .of = "remote",
     .reloadable = true, .help = "file with USER:PASSWORD for the proxy"},
    {"max-requests-per-hour", SETTING_COUNT, FIELD(max_requests_per_hour), .fallback = "0",
     .value_name = "N", .of = "remote", .reloadable = true,
     .help = "cost guard: pauses after so many requests in an hour; 0: never"},
    {"max-bytes-per-day", SETTING_BYTES, FIELD(max_bytes_per_day), .fallback = "0",
     .value_name = "SIZE", .of = "remote", .reloadable = true,
     .help = "cost guard: pauses after so much was sent and received in a day; 0: never"},
    {"allow-http", SETTING_FLAG, FIELD(allow_http), .fallback = "false", .of = "remote",
     .reloadable = true, .help = "send tokens over http, which anybody on the way can read"},
};

const struct settings_group remote_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

#define ENDPOINT(f) offsetof(struct remote_endpoint, f)

static const struct setting endpoint_rows[] = {
    {"url", SETTING_STRING, ENDPOINT(url), .valid = remote_url_valid,
     .expected = REMOTE_URL_EXPECTED, .required = true, .example = "https://gpu7:8188/",
     .reloadable = true, .help = "where it is"},
    {"token-file", SETTING_PATH, ENDPOINT(token_file), .example = "/etc/latentd/token",
     .reloadable = true, .help = "file with the token that it asks for (Authorization: Bearer)"},
    {"max-in-flight", SETTING_COUNT, ENDPOINT(max_in_flight), .fallback = "64", .min = 1,
     .max = 1024, .reloadable = true, .help = "most requests at once; how many is found by trying"},
};

const struct settings_group remote_endpoint_settings = {endpoint_rows,
							ARRAY_SIZE(endpoint_rows),
							sizeof(struct remote_endpoint),
							ENDPOINT(place),
							"url",
							true};

bool remote_proxy_valid(const char *url)
{
	return strcmp(url, REMOTE_PROXY_NONE) == 0 || remote_url_valid(url);
}

const char *remote_proxy_of(const struct remote_options *o)
{
	return o->proxy && strcmp(o->proxy, REMOTE_PROXY_NONE) == 0 ? "" : o->proxy;
}

const char *remote_send_name(enum remote_send send)
{
	return bodies[send];
}

/* -- URLs ---------------------------------------------------------------------------------------- */

/* Behind the scheme; NULL: neither http nor https. */
static const char *behind_scheme(const char *url, bool *encrypted)
{
	*encrypted = strncasecmp(url, "https://", 8) == 0;
	if (*encrypted)
		return url + 8;
	return strncasecmp(url, "http://", 7) == 0 ? url + 7 : NULL;
}

/* Bytes of host and port. */
static size_t authority_length(const char *authority)
{
	return strcspn(authority, "/");
}

/* ":8188", or nothing. */
static bool port_valid(const char *port, size_t n)
{
	unsigned long number = 0;

	if (n == 0)
		return true;
	for (size_t i = 1; i < n; i++) {
		if (port[i] < '0' || port[i] > '9' || n > 6)
			return false;
		number = number * 10 + (unsigned long)(port[i] - '0');
	}
	return n > 1 && number > 0 && number < 65536;
}

/* Bytes of the host in @authority: a name, or an address with [] around it; 0: neither. */
static size_t host_length(const char *authority, size_t n)
{
	const char *end = *authority == '[' ? memchr(authority, ']', n) : NULL;

	if (*authority == '[')
		return end ? (size_t)(end - authority) + 1 : 0;
	return strcspn(authority, ":/");
}

bool remote_url_valid(const char *url)
{
	bool encrypted = false;
	const char *authority = behind_scheme(url, &encrypted);
	size_t n, host;

	if (!authority)
		return false;
	for (const char *c = url; *c; c++) {
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f ||
		    strchr("@?#\\\"<>^`{|}", *c))
			return false;
	}
	n = authority_length(authority);
	host = host_length(authority, n);
	return host > 0 && host <= n && (host == n || authority[host] == ':') &&
	       port_valid(authority + host, n - host);
}

bool remote_url_same(const char *a, const char *b)
{
	bool encrypted[2] = {false, false};
	const char *rest[2] = {behind_scheme(a, &encrypted[0]), behind_scheme(b, &encrypted[1])};
	size_t host[2], length[2];

	if (!rest[0] || !rest[1] || encrypted[0] != encrypted[1])
		return false;
	for (size_t i = 0; i < 2; i++) {
		host[i] = authority_length(rest[i]);
		length[i] = strlen(rest[i]);
		while (length[i] > host[i] && rest[i][length[i] - 1] == '/')
			length[i]--;
	}
	return host[0] == host[1] && length[0] == length[1] &&
	       strncasecmp(rest[0], rest[1], host[0]) == 0 &&
	       memcmp(rest[0] + host[0], rest[1] + host[0], length[0] - host[0]) == 0;
}

static bool is_loopback(const char *host, size_t n)
{
	return (n == 9 && strncasecmp(host, "localhost", n) == 0) ||
	       (n >= 4 && strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n) ||
	       (n == 5 && strncmp(host, "[::1]", n) == 0);
}

bool remote_url_is_open(const char *url)
{
	bool encrypted = false;
	const char *authority = behind_scheme(url, &encrypted);

	return !encrypted &&
	       !is_loopback(authority, host_length(authority, authority_length(authority)));
}

/* -- everything ---------------------------------------------------------------------------------- */

int remote_config_check(const struct remote_config *c, size_t *which, struct error *err)
{
	*which = 0;
	if (c->n_endpoints == 0)
		return error_set(err, ERR_CONFIG,
				 "endpoints: none: expected one like {url: \"https://gpu7/\"}");
	for (size_t i = 0; i < c->n_endpoints; i++) {
		const struct remote_endpoint *e = &c->endpoints[i];

		*which = i;
		if (e->token_file && !c->options.allow_http && remote_url_is_open(e->url))
			return error_set(err, ERR_CONFIG,
					 "url: a token would travel to %s unencrypted: expected "
					 "https, or allow_http",
					 e->url);
		for (size_t k = 0; k < i; k++) {
			if (remote_url_same(e->url, c->endpoints[k].url))
				return error_set(err, ERR_CONFIG,
						 "url: %s stands there twice: expected each "
						 "endpoint once, with a larger max_in_flight",
						 e->url);
		}
	}
	return 0;
}

int remote_model_check(const struct remote_model *model, struct error *err)
{
	bool numbers = model->latent_channels > 0 || model->scaling_factor != 0 ||
		       model->shift_factor != 0 || model->size_multiple > 0;

	if (vae_preset_find(model->name)) {
		if (numbers)
			return error_set(err, ERR_CONFIG,
					 "model: %s is a known model, whose numbers are known: "
					 "expected its name alone, or another name",
					 model->name);
		return 0;
	}
	if (model->latent_channels == 0 || model->scaling_factor == 0)
		return error_set(err, ERR_CONFIG,
				 "model: %s is none that `latentctl model list` names: expected "
				 "one of those, or latent_channels and scaling_factor beside it",
				 model->name);
	return 0;
}
