#include "config/api_config.h"

#include "base/checked.h"
#include "base/files.h"
#include "config/secret_file.h"
#include "config/serve_options.h"

#include <string.h>
#include <sys/un.h>

#define FIELD(f) offsetof(struct api_config, f)

/* Letters, digits, dots and hyphens, as names of machines have them; no port. */
static bool is_host(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-");

	return n > 0 && n <= 253 && text[n] == '\0' && *text != '.' && *text != '-';
}

static const struct setting rows[] = {
    {"socket", SETTING_PATH, FIELD(socket), .fallback = "/run/latentd/latentd.sock",
     .help = "Unix socket that latentctl talks to"},
    {"mode", SETTING_MODE, FIELD(mode), .fallback = "0660",
     .help = "its permissions: who may write to it may steer"},
    {"group", SETTING_STRING, FIELD(group), .not_empty = true, .example = "latentd",
     .help = "its group (the daemon's)"},
    {"listen", SETTING_STRING, FIELD(listen), .valid = serve_address_valid,
     .expected = "HOST:PORT, like 127.0.0.1:8190", .example = "127.0.0.1:8190",
     .help = "the API and the dashboard over TCP too: at 127.0.0.1 whoever is on this machine may "
	     "read; other addresses need a token, and TLS here or in a proxy"},
    {"token-file", SETTING_PATH, FIELD(token_file), .example = "/etc/latentd/api-token",
     .help =
	 "over TCP only who sends `Authorization: Bearer` and its contents may change anything, "
	 "and from other machines read; without it nobody"},
    {"tls-cert", SETTING_PATH, FIELD(tls_cert), .example = "/etc/latentd/cert.pem",
     .help = "certificate chain (PEM): HTTPS at `listen`"},
    {"tls-key", SETTING_PATH, FIELD(tls_key), .example = "/etc/latentd/key.pem", .help = "its key"},
    {"behind-proxy", SETTING_FLAG, FIELD(behind_proxy), .fallback = "false",
     .help = "`listen` is reached only through a proxy that has TLS; its clients need the token to "
	     "read, too. What it says of them is not believed"},
    {"hosts", SETTING_TEXTS, FIELD(hosts), .valid = is_host,
     .expected = "a name in small letters without a port", .example = "latents.example.org",
     .help = "names that browsers have for it, beside localhost and addresses"},
};

const struct settings_group api_settings = {.rows = rows, .n = ARRAY_SIZE(rows)};

/* What a name of elsewhere resolves to shows when it is opened. */
static bool is_loopback(const char *listen)
{
	return strncmp(listen, "localhost:", 10) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
	       (strncmp(listen, "127.", 4) == 0 && listen[strspn(listen, "0123456789.")] == ':');
}

int api_config_check(const struct api_config *c, const char **which, struct error *err)
{
	size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	bool here = !c->listen || is_loopback(c->listen);

	*which = "socket";
	if (strlen(c->socket) > room)
		return error_set(err, ERR_CONFIG,
				 "socket: a path of %zu bytes: expected at most %zu",
				 strlen(c->socket), room);
	*which = c->tls_cert ? "tls_cert" : "tls_key";
	if (!c->tls_cert != !c->tls_key)
		return error_set(err, ERR_CONFIG, "tls_cert and tls_key: expected both or none");
	*which = "listen";
	if ((!here || c->behind_proxy) && !c->token_file)
		return error_set(err, ERR_CONFIG,
				 "listen: other machines reach %s: expected token_file, and TLS",
				 c->listen);
	if (!here && !c->tls_cert && !c->behind_proxy)
		return error_set(err, ERR_CONFIG,
				 "listen: other machines reach %s without TLS: expected tls_cert "
				 "and tls_key, or behind_proxy: true where only a proxy with TLS "
				 "can reach it",
				 c->listen);
	return 0;
}

int api_config_check_files(const struct api_config *c, const char **which, struct error *err)
{
	*which = "token_file";
	if (c->token_file && secret_file_check(*which, c->token_file, err) < 0)
		return -1;
	*which = "tls_key";
	if (c->tls_key && secret_file_check(*which, c->tls_key, err) < 0)
		return -1;
	*which = "tls_cert";
	if (c->tls_cert && !file_exists(c->tls_cert))
		return error_set(err, ERR_CONFIG, "%s: there is no file %s", *which, c->tls_cert);
	return 0;
}
